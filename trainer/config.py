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
from trainer.preset_training import PRESET_TRAINING


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


class SourceConfig(_Section):
    """One corpus of a mixture: a `[[data.sources]]` table."""

    path: str
    """Output of `siliang-pipeline prepare`: a directory, or a URL (s3://, gs://, https://)."""
    weight: float | None = Field(default=None, ge=0)
    """Its share of the rows is its weight over the sum of all; without one, its tokens times its epochs."""
    epochs: int | None = Field(default=None, ge=1)
    """Times that it is passed; then the other sources take its place. Without one it is passed again and again."""


class WeightsConfig(_Section):
    """New weights of all sources from a step on: a `[[data.weights]]` table."""

    step: int = Field(ge=1)
    weights: list[float]
    """One for each source, in their order."""


class DataConfig(_Section):
    sequence_length: int = Field(default=128, ge=3, le=1 << 16)
    """Tokens of a row; documents are packed into rows, [CLS] and [SEP] around each."""
    batch_rows: int = Field(default=16, ge=1)
    """Rows of one optimiser step, over all micro-batches and processes."""
    sources: list[SourceConfig] = []
    """More corpora beside those of the command line, or weights and epochs of those."""
    weights: list[WeightsConfig] = []
    """Weights of the sources that hold from a step on."""
    order: Literal["full", "blocks"] = "full"
    """'full' shuffles all documents; 'blocks' runs of `block_documents` of them, 16 runs together, so that what is read
    at a time lies in few shards (remote or spinning storage)."""
    block_documents: int = Field(default=1024, ge=1)
    curriculum_epochs: int = Field(default=0, ge=0)
    """Epochs in which short documents come before long ones."""
    cache: str = "~/.cache/siliang"
    """Where shards of remote corpora are kept."""
    cache_gb: float = Field(default=50.0, gt=0)
    """Bound of each remote corpus's shards there, in 10^9 bytes."""
    mask_rate: float = Field(default=0.15, gt=0, le=1)
    """Share of the tokens that is predicted."""
    mask_rate_final: float | None = Field(default=None, gt=0, le=1)
    """The rate goes linearly to this one over the first `mask_rate_steps` steps (0.30 to 0.15 is usual)."""
    mask_rate_steps: int = Field(default=0, ge=0)
    mask_unit: Literal["piece", "word", "span"] = "piece"
    """What is chosen: single pieces, whole words, or spans of words of geometric length (SpanBERT)."""
    mask_rare: Literal["plain", "mask", "spare"] = "plain"
    """Rare words of the shards: like any other, masked before all others, or never masked."""
    mask_share: float = Field(default=0.8, ge=0, le=1)
    """Of those, the share that becomes [MASK]; what is neither masked nor random stays as it is."""
    random_share: float = Field(default=0.1, ge=0, le=1)
    window_documents: int = Field(default=1024, ge=1)
    """Consecutive documents of the shuffled order that are packed together."""
    workers: int = Field(default=0, ge=0, le=64)
    """Loader workers. The batches are the same for any number."""

    def masking(self) -> Masking:
        return Masking(
            rate=self.mask_rate,
            mask_share=self.mask_share,
            random_share=self.random_share,
            unit=self.mask_unit,
            rare=self.mask_rare,
            final_rate=self.mask_rate_final,
            schedule_rows=self.mask_rate_steps * self.batch_rows,
        )

    @model_validator(mode="after")
    def _schedules(self) -> "DataConfig":
        if (self.mask_rate_final is None) != (self.mask_rate_steps == 0):
            raise ValueError("mask_rate_final and mask_rate_steps go together")
        if self.mask_rate_steps * self.batch_rows >= 1 << 30:
            raise ValueError("mask_rate_steps times batch_rows must be below 2^30")
        steps = [change.step for change in self.weights]
        if steps != sorted(set(steps)):
            raise ValueError(f"weights change at steps {steps}: they must rise")
        if len({source.path for source in self.sources}) < len(self.sources):
            raise ValueError("sources: a path is given twice")
        return self

    @model_validator(mode="after")
    def _shares(self) -> "DataConfig":
        if self.mask_share + self.random_share > 1 + 1e-9:
            raise ValueError("mask_share + random_share must not be above 1")
        return self


class OptimizerConfig(_Section):
    """AdamW, or Muon for the layers' matrices and AdamW for the rest."""

    kind: Literal["adamw", "muon"] = "adamw"
    learning_rate: float = Field(default=1e-3, gt=0)
    """Peak of the schedule."""
    muon_learning_rate: float = Field(default=0.02, gt=0)
    """Peak of the schedule for the matrices that Muon updates."""
    muon_momentum: float = Field(default=0.95, ge=0, lt=1)
    betas: tuple[float, float] = (0.9, 0.98)
    eps: float = Field(default=1e-6, gt=0)
    weight_decay: float = Field(default=0.01, ge=0)
    decay: Literal["matrices", "all"] = "matrices"
    """'matrices' spares biases, norms and other 1-d parameters; 'all' is fairseq's way."""
    clip_norm: float = Field(default=1.0, ge=0)
    """Common L2 norm that gradients are scaled down to; 0 switches clipping off."""
    ema: float = Field(default=0.0, ge=0, lt=1)
    """Decay of an exponential moving average of the weights (0: none; 0.999 is usual). Held-out losses and the final
    model are then those of the average."""

    @model_validator(mode="after")
    def _betas(self) -> "OptimizerConfig":
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError("betas must lie in [0, 1)")
        return self


class ScheduleConfig(_Section):
    """Length of the run, the learning rate and the batch size over it.

    A run by steps or tokens is reproducible bit for bit on one machine. A run by seconds is not: its learning rate
    follows the clock (training seconds: steps and their data, without evaluation and checkpoints), and so does its end.
    """

    by: Literal["steps", "tokens", "seconds"] = "steps"
    steps: int = Field(default=5000, ge=1)
    tokens: int = Field(default=10_000_000, ge=1)
    seconds: float = Field(default=1200.0, gt=0)
    warmup: float = Field(default=0.02, ge=0, lt=1)
    """Share of the run over which the rate rises to its peak."""
    decay: Literal["linear", "cosine", "constant", "wsd", "one-cycle"] = "linear"
    """What follows the warm-up. 'wsd' (warm-up, stable, decay) keeps the peak until the last `cooldown` of the run;
    'one-cycle' rises from a 25th of the peak and falls, both by a cosine (Smith 2018)."""
    cooldown: float = Field(default=0.2, gt=0, le=1)
    """Share of the run over which 'wsd' falls."""
    final: float = Field(default=0.0, ge=0, le=1)
    """Share of the peak rate that is left at the end."""
    batch_ramp: float = Field(default=0.0, ge=0, le=1)
    """Share of the run over which a step grows from `batch_start` rows to data.batch_rows; 0: the full batch always."""
    batch_start: int = Field(default=1, ge=1)
    """Rows of the first step of a ramp; the batch grows by as many at a time."""


class CheckpointConfig(_Section):
    every_steps: int = Field(default=500, ge=1)
    keep: int = Field(default=3, ge=1)
    """Newest checkpoints that are kept."""
    best: bool = True
    """Keep the checkpoint of the lowest held-out loss as well, among those saved at a step that was evaluated."""


class GuardConfig(_Section):
    """What happens to a step whose loss or gradient is not finite, or whose gradient is a spike."""

    spike: float = Field(default=25.0, ge=0)
    """A gradient norm above this many times its running mean is a spike; 0: none is."""
    patience: int = Field(default=3, ge=1)
    """Steps in a row that are skipped before the run goes back to its last checkpoint."""
    rollbacks: int = Field(default=3, ge=0)
    """Times that a run goes back before it fails."""


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
    deterministic: bool = False
    """Deterministic kernels on CUDA as well, where they are slower and partly missing; the CPU always uses them."""
    recompute: bool = False
    """Activation checkpointing: each layer's forward is done again in the backward, for a third more operations and
    memory of one layer."""
    strategy: Literal["ddp", "fsdp"] = "ddp"
    """Under torchrun with several processes: every process holds the whole model, or a shard of it."""
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

    @property
    def micro_rows(self) -> int:
        """Rows of a micro-batch, over all processes."""
        return self.data.batch_rows // self.system.accumulate

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
