"""The trainer's typed config: TOML into frozen models. An unknown key or a value out of range is an error.

Layers, later ones win: defaults < preset < TOML file < `--set key=value`.
"""

import json
import math
import tomllib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError, model_validator

from trainer.model.config import ModelConfig
from trainer.model.presets import PRESETS
from trainer.preset_training import PRESET_TRAINING
from trainer.sections.data import DataConfig
from trainer.sections.distillation import DistillationConfig
from trainer.sections.growth import GrowthConfig
from trainer.sections.model import ModelSection
from trainer.sections.notes import NotesSection
from trainer.sections.optimizer import OptimizerConfig, ScheduleConfig
from trainer.sections.section import Section
from trainer.sections.system import CheckpointConfig, EvaluateConfig, GuardConfig, SystemConfig
from trainer.sections.task import TaskConfig


class ConfigError(ValueError):
    """A config that cannot be used; the message names the key and what is allowed."""


class TrainConfig(Section):
    """Everything that decides a training run but the shards."""

    model: ModelSection = ModelSection()
    task: TaskConfig = TaskConfig()
    data: DataConfig = DataConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    notes: NotesSection = NotesSection()
    growth: GrowthConfig = GrowthConfig()
    distillation: DistillationConfig = DistillationConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    guard: GuardConfig = GuardConfig()
    system: SystemConfig = SystemConfig()

    @model_validator(mode="after")
    def _accumulate(self) -> "TrainConfig":
        if self.data.batch_rows % self.system.accumulate:
            raise ValueError(
                f"system.accumulate ({self.system.accumulate}) must divide data.batch_rows ({self.data.batch_rows})"
            )
        start = self.schedule.batch_start
        if self.schedule.batch_ramp and (self.data.batch_rows % start or start % self.micro_rows):
            raise ValueError(
                f"schedule.batch_start ({start}) must divide data.batch_rows ({self.data.batch_rows}) and be a "
                f"multiple of the micro-batch, data.batch_rows / system.accumulate ({self.micro_rows})"
            )
        return self

    @model_validator(mode="after")
    def _notes(self) -> "TrainConfig":
        if self.notes.enabled and self.data.mask_rare == "mask":
            raise ValueError(
                "notes.enabled with data.mask_rare = 'mask': the words that have notes would hardly ever be visible; "
                "set data.mask_rare = 'plain' or 'spare'"
            )
        return self

    @model_validator(mode="after")
    def _growth(self) -> "TrainConfig":
        first = [0, *(math.ceil(share * self.schedule.steps) for share in self.growth.at), self.schedule.steps]
        if self.schedule.by == "steps" and any(b <= a for a, b in pairwise(first)):
            raise ValueError(
                f"key 'growth.at': {self.growth.at} leaves a depth without a step of the {self.schedule.steps} of "
                "schedule.steps"
            )
        return self

    @model_validator(mode="after")
    def _task(self) -> "TrainConfig":
        if self.task.difficulty == "mask-rate" and self.data.mask_rate_final is not None:
            raise ValueError("task.difficulty 'mask-rate' and data.mask_rate_final both set the rate; leave one out")
        return self

    @model_validator(mode="after")
    def _distillation(self) -> "TrainConfig":
        if not self.distillation.enabled:
            return self
        if self.task.kind != "masked-lm":
            raise ValueError(f"[distillation] is for task.kind masked-lm, not '{self.task.kind}'")
        if self.growth.grows:
            raise ValueError("[distillation] and [growth] do not go together: a student keeps its depth")
        if self.distillation.attention and self.system.strategy == "fsdp":
            raise ValueError("distillation.attention reads a layer's parts one by one; it needs system.strategy = ddp")
        return self

    @property
    def micro_rows(self) -> int:
        """Rows of a micro-batch, over all processes."""
        return self.data.batch_rows // self.system.accumulate

    def encoder(self, vocabulary_size: int, words: int | None = None) -> ModelConfig:
        """The preset with its overrides; `max_length` is the sequence length unless it is set. With `words` in the
        corpus's notes it has a dictionary of them where [notes] asks for one.

        Raises ConfigError naming the key of [model] that is wrong.
        """
        if self.model.preset not in PRESETS:
            raise ConfigError(f"key 'model.preset': no preset '{self.model.preset}'; allowed: {', '.join(PRESETS)}")
        fields = {**PRESETS[self.model.preset], "max_length": self.data.sequence_length, **self.model.overrides}
        elsewhere = {
            "vocabulary_size": "",
            "notes": "; notes have a section",
            "shapes": "; `compress prune` makes them",
        }
        allowed = ["preset", *(name for name in ModelConfig.model_fields if name not in elsewhere)]
        for name in ("notes", "shapes"):
            if name in fields:
                raise ConfigError(f"unknown key 'model.{name}'; allowed here: {', '.join(allowed)}{elsewhere[name]}")
        try:
            config = ModelConfig.model_validate({**fields, "vocabulary_size": vocabulary_size})
            if words is not None and self.notes.enabled:
                notes = self.notes.model(words, config.embedding_norm)
                config = config.model_copy(update={"notes": notes})
        except ValidationError as error:
            lines = [_problem(problem, ["model", *map(str, problem["loc"])], allowed) for problem in error.errors()]
            raise ConfigError("\n".join(lines)) from error
        if self.task.controlled:
            try:
                self.task.controller(config)
            except ValidationError as error:
                raise ConfigError(f"key 'task': the controller: {error.errors()[0]['msg']}") from error
            except ValueError as error:
                raise ConfigError(str(error)) from error
        if config.max_length < self.data.sequence_length:
            raise ConfigError(
                f"key 'model.max_length': {config.max_length} is below data.sequence_length {self.data.sequence_length}"
            )
        growth = self.growth
        if growth.depths and growth.depths[-1] != config.layers:
            raise ConfigError(
                f"key 'growth.depths': the last depth of {growth.depths} must be model.layers ({config.layers})"
            )
        if growth.grows and growth.rule == "identity" and config.norm == "post":
            raise ConfigError(
                "key 'growth.rule': 'identity' needs model.norm = pre or pre-extra: after Post-LN's norm a layer whose "
                "branches are zero still changes what it gets; use stack or interleave"
            )
        return config


def _section_fields(location: Iterable[str]) -> list[str]:
    fields: Mapping[str, Any] = TrainConfig.model_fields
    for part in location:
        annotation = fields[part].annotation if part in fields else None
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            break
        fields = annotation.model_fields
    return list(fields)


def _problem(problem: Mapping[str, Any], location: list[str], allowed: list[str]) -> str:
    key = ".".join(location)
    if problem["type"] == "extra_forbidden":
        return f"unknown key '{key}'; allowed here: {', '.join(allowed)}"
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "value_error":
        return f"key '{key}': {message}" if key else message
    return f"key '{key}': {message} (found {problem['input']!r})"


def make_config(values: Mapping[str, Any], name: str = "config") -> TrainConfig:
    """Validates all of it, the model's section included. Raises ConfigError naming every bad key."""
    try:
        config = TrainConfig.model_validate(values)
        config.encoder(vocabulary_size=1 << 14)
    except ValidationError as error:
        lines = []
        for problem in error.errors():
            location = [str(part) for part in problem["loc"]]
            lines.append(f"{name}: " + _problem(problem, location, _section_fields(location[:-1])))
        raise ConfigError("\n".join(lines)) from error
    except ConfigError as error:
        raise ConfigError("\n".join(f"{name}: {line}" for line in str(error).splitlines())) from error
    return config


def read_toml(path: str | Path) -> dict[str, Any]:
    """Raises ConfigError where the file cannot be read or is not TOML."""
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid TOML ({error})") from error


def parse_override(text: str) -> dict[str, Any]:
    """'optimizer.learning_rate=3e-4' -> nested dict. The value is TOML, or else a plain string."""
    key, equals, value = text.partition("=")
    parts = [part.strip() for part in key.split(".")]
    if not equals or not all(parts):
        raise ConfigError(f"--set {text}: expected section.key=value, such as optimizer.learning_rate=3e-4")
    parsed: Any = value.strip()
    with suppress(tomllib.TOMLDecodeError):
        parsed = tomllib.loads(f"value = {parsed}")["value"]
    for part in reversed(parts):
        parsed = {part: parsed}
    return parsed


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`over` on top of `base`, table by table."""
    merged = dict(base)
    for key, value in over.items():
        known = merged.get(key)
        both = isinstance(known, Mapping) and isinstance(value, Mapping)
        merged[key] = merge(known, value) if both else value  # type: ignore[arg-type]
    return merged


def build_config(
    path: str | Path | None = None,
    preset: str | None = None,
    overrides: Iterable[str] = (),
    base: Mapping[str, Any] | None = None,
) -> TrainConfig:
    """The config of a run. `base` (of a resumed run) stands in place of the defaults and the preset's settings.

    Raises ConfigError.
    """
    values: dict[str, Any] = dict(base or {})
    if path is not None:
        values = merge(values, read_toml(path))
    if preset is not None:
        values = merge(values, {"model": {"preset": preset}})
    for text in overrides:
        values = merge(values, parse_override(text))
    section = values.get("model")
    name = section.get("preset", "tiny") if isinstance(section, Mapping) else "tiny"
    if base is None and isinstance(name, str):
        values = merge(PRESET_TRAINING.get(name, {}), values)
    return make_config(values, str(path) if path is not None else "config")


def flat(config: TrainConfig) -> dict[str, Any]:
    """'section.key' -> value, as JSON would hold it."""
    values = config.model_dump(mode="json")
    return {f"{section}.{key}": value for section, table in values.items() for key, value in table.items()}


def _toml_value(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key} = {_toml_value(v)}" for key, v in value.items() if v is not None) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml_value, value)) + "]"
    # Strings, numbers and booleans are written the same in JSON and TOML.
    return json.dumps(value, ensure_ascii=False)


def to_toml(config: TrainConfig) -> str:
    """TOML that `build_config` reads back to an equal config."""
    blocks = []
    for section, table in config.model_dump(mode="json").items():
        lines = [f"{key} = {_toml_value(value)}" for key, value in table.items() if value is not None]
        blocks.append("\n".join([f"[{section}]", *lines]))
    return "\n\n".join(blocks) + "\n"
