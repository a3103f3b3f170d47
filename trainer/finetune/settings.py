"""Flat settings from a TOML file and `--set key=value`; later ones win."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from trainer.config import ConfigError, merge, parse_override, read_toml
from trainer.sections.finetune import FinetuneConfig
from trainer.sections.section import Section

SectionType = TypeVar("SectionType", bound=Section)


def build_section(
    form: type[SectionType],
    path: str | Path | None = None,
    overrides: Iterable[str] = (),
    chosen: Mapping[str, Any] | None = None,
) -> SectionType:
    """`chosen` comes last: what has an option of its own. Raises ConfigError naming every bad key."""
    values: dict[str, Any] = read_toml(path) if path is not None else {}
    for text in overrides:
        values = merge(values, parse_override(text))
    try:
        return form.model_validate(merge(values, chosen or {}))
    except ValidationError as error:
        lines = []
        for problem in error.errors():
            key = ".".join(map(str, problem["loc"]))
            message = problem["msg"].removeprefix("Value error, ")
            if problem["type"] == "extra_forbidden":
                message = f"unknown key; allowed: {', '.join(form.model_fields)}"
            lines.append(f"key '{key}': {message}" if key else message)
        raise ConfigError("\n".join(lines)) from error


def build_settings(
    path: str | Path | None = None, overrides: Iterable[str] = (), chosen: Mapping[str, Any] | None = None
) -> FinetuneConfig:
    """Of a fine-tuning. Raises ConfigError."""
    return build_section(FinetuneConfig, path, overrides, chosen)
