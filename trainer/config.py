"""The trainer's typed config: TOML into frozen models. An unknown key or a value out of range is an error.

Layers, later ones win: defaults < preset < TOML file < `--set key=value`.
"""

import json
import tomllib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from trainer.data.masking import Masking
from trainer.model.config import ModelConfig
from trainer.model.presets import PRESETS


class ConfigError(ValueError):
    """A config that cannot be used; the message names the key and what is allowed."""


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ModelSection(BaseModel):
    """A preset's name; every further key overrides a field of ModelConfig."""

    model_config = ConfigDict(frozen=True, extra="allow")

    preset: str = "tiny"

    @property
    def overrides(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


class DataConfig(_Section):
    sequence_length: int = Field(default=128, ge=3, le=1 << 16)
    """Tokens of a row; documents are packed into rows, [CLS] and [SEP] around each."""
    batch_rows: int = Field(default=16, ge=1)
    """Rows of one optimiser step, over all micro-batches and processes."""
    mask_rate: float = Field(default=0.15, gt=0, le=1)
    """Share of the tokens that is predicted."""
    mask_share: float = Field(default=0.8, ge=0, le=1)
    """Of those, the share that becomes [MASK]; what is neither masked nor random stays as it is."""
    random_share: float = Field(default=0.1, ge=0, le=1)
    window_documents: int = Field(default=1024, ge=1)
    """Consecutive documents of the shuffled order that are packed together."""
    workers: int = Field(default=0, ge=0, le=64)
    """Loader workers. The batches are the same for any number."""

    def masking(self) -> Masking:
        return Masking(rate=self.mask_rate, mask_share=self.mask_share, random_share=self.random_share)

    @model_validator(mode="after")
    def _shares(self) -> "DataConfig":
        if self.mask_share + self.random_share > 1 + 1e-9:
            raise ValueError("mask_share + random_share must not be above 1")
        return self


class OptimizerConfig(_Section):
    """AdamW."""

    learning_rate: float = Field(default=1e-3, gt=0)
    """Peak of the schedule."""
    betas: tuple[float, float] = (0.9, 0.98)
    eps: float = Field(default=1e-6, gt=0)
    weight_decay: float = Field(default=0.01, ge=0)
    decay: Literal["matrices", "all"] = "matrices"
    """'matrices' spares biases, norms and other 1-d parameters; 'all' is fairseq's way."""
    clip_norm: float = Field(default=1.0, ge=0)
    """Common L2 norm that gradients are scaled down to; 0 switches clipping off."""

    @model_validator(mode="after")
    def _betas(self) -> "OptimizerConfig":
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError("betas must lie in [0, 1)")
        return self


class ScheduleConfig(_Section):
    """Length of the run and the learning rate over it.

    A run by steps is reproducible bit for bit on one machine. A run by seconds is not: its learning rate follows the
    clock (training seconds: steps and their data, without evaluation and checkpoints), and so does its end.
    """

    by: Literal["steps", "seconds"] = "steps"
    steps: int = Field(default=5000, ge=1)
    seconds: float = Field(default=1200.0, gt=0)
    warmup: float = Field(default=0.02, ge=0, lt=1)
    """Share of the run over which the rate rises from 0 to its peak."""
    decay: Literal["linear", "cosine", "constant"] = "linear"
    final: float = Field(default=0.0, ge=0, le=1)
    """Share of the peak rate that is left at the end."""


class CheckpointConfig(_Section):
    every_steps: int = Field(default=500, ge=1)
    keep: int = Field(default=3, ge=1)
    """Newest checkpoints that are kept."""


class EvaluateConfig(_Section):
    every_steps: int = Field(default=500, ge=1)
    rows: int = Field(default=512, ge=1)
    """Rows of the validation split that the held-out loss is taken on; the masks on them never change."""


class SystemConfig(_Section):
    device: str = "auto"
    """auto (CUDA where it is, else the CPU), cpu, cuda or cuda:N."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """'auto' takes what a short matmul at the start of the run finds faster; a resumed run keeps it."""
    threads: int = Field(default=0, ge=0, le=4096)
    """torch's CPU threads; 0 leaves torch's own choice. Another number may change last bits."""
    compile: bool = False
    """torch.compile; where that fails the run goes on without it and says so."""
    accumulate: int = Field(default=1, ge=1)
    """Micro-batches that a step's rows are split in, to save memory; the result stays that of the whole batch."""
    log_every: int = Field(default=20, ge=1)
    """Steps between two records of the log."""
    seed: int = Field(default=0, ge=0, lt=1 << 63)


class TrainConfig(_Section):
    """Everything that decides a training run but the shards."""

    model: ModelSection = ModelSection()
    data: DataConfig = DataConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    system: SystemConfig = SystemConfig()

    @model_validator(mode="after")
    def _accumulate(self) -> "TrainConfig":
        if self.data.batch_rows % self.system.accumulate:
            raise ValueError(
                f"system.accumulate ({self.system.accumulate}) must divide data.batch_rows ({self.data.batch_rows})"
            )
        return self

    def encoder(self, vocabulary_size: int) -> ModelConfig:
        """The preset with its overrides; `max_length` is the sequence length unless it is set.

        Raises ConfigError naming the key of [model] that is wrong.
        """
        if self.model.preset not in PRESETS:
            raise ConfigError(f"key 'model.preset': no preset '{self.model.preset}'; allowed: {', '.join(PRESETS)}")
        fields = {**PRESETS[self.model.preset], "max_length": self.data.sequence_length, **self.model.overrides}
        try:
            config = ModelConfig.model_validate({**fields, "vocabulary_size": vocabulary_size})
        except ValidationError as error:
            allowed = ["preset", *(name for name in ModelConfig.model_fields if name != "vocabulary_size")]
            lines = [_problem(problem, ["model", *map(str, problem["loc"])], allowed) for problem in error.errors()]
            raise ConfigError("\n".join(lines)) from error
        if config.max_length < self.data.sequence_length:
            raise ConfigError(
                f"key 'model.max_length': {config.max_length} is below data.sequence_length {self.data.sequence_length}"
            )
        return config


PRESET_TRAINING: dict[str, dict[str, dict[str, Any]]] = {
    "tiny": {
        "data": {"sequence_length": 64, "batch_rows": 16},
        "optimizer": {"learning_rate": 1e-3},
        "schedule": {"steps": 10_000},
        # Its products are too small to share: a second thread gains little on an idle machine, and where something
        # else uses that core each step waits for it (30,340 tokens/s became 1,496).
        "system": {"threads": 1},
    },
    "small": {
        "data": {"sequence_length": 128, "batch_rows": 32},
        "optimizer": {"learning_rate": 7e-4},
        "schedule": {"steps": 50_000, "warmup": 0.05},
    },
    "base": {
        "data": {"sequence_length": 512, "batch_rows": 256},
        "optimizer": {"learning_rate": 4e-4},
        "schedule": {"steps": 100_000, "warmup": 0.05},
        "checkpoint": {"every_steps": 2000},
        "evaluate": {"every_steps": 2000},
        "system": {"accumulate": 8},
    },
}
"""Training settings that go with a model preset; small batches and 1e-3 leave the plateau soonest at tiny scale."""


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


def to_toml(config: TrainConfig) -> str:
    """TOML that `build_config` reads back to an equal config."""
    blocks = []
    for section, table in config.model_dump(mode="json").items():
        # Strings, numbers, booleans and lists of them are written the same in JSON and TOML.
        lines = [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in table.items()]
        blocks.append("\n".join([f"[{section}]", *lines]))
    return "\n\n".join(blocks) + "\n"
