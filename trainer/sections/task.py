"""[task]: what the encoder is trained to do."""

from typing import Literal

from trainer.sections.section import Section


class TaskConfig(Section):
    kind: Literal["masked-lm"] = "masked-lm"
    """'masked-lm': predict the pieces behind the masks (BERT)."""
