"""[model]: a preset and what overrides it."""

from typing import Any

from pydantic import BaseModel, ConfigDict


class ModelSection(BaseModel):
    """A preset's name; every further key overrides a field of ModelConfig."""

    model_config = ConfigDict(frozen=True, extra="allow", use_attribute_docstrings=True)

    preset: str = "tiny"

    @property
    def overrides(self) -> dict[str, Any]:
        return dict(self.model_extra or {})
