"""What a run must find again before it may go on."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from schemas.manifest import file_digest
from trainer.checkpoint import RunState
from trainer.config import ConfigError, TrainConfig, flat, make_config
from trainer.data.open import corpora_identity
from trainer.data.shards import Corpus
from trainer.model.config import ModelConfig

CHANGEABLE = {
    "schedule.steps",
    "schedule.tokens",
    "schedule.seconds",
    "checkpoint.every_steps",
    "checkpoint.keep",
    "checkpoint.best",
    "evaluate.every_steps",
    "evaluate.samples",
    "data.workers",
    "data.cache",
    "data.cache_gb",
    "system.device",
    "system.threads",
    "system.compile",
    "system.recompute",
    "system.strategy",
    "guard.rollbacks",
    "system.accumulate",
    "system.log_every",
}
"""Config keys that a resumed run may set anew; every other one would make it another run."""


MOVABLE = {"distillation.teacher", "distillation.logits"}
"""Places of what may have been moved; whether it is the same is asked by its digest (`trainer.distillation`)."""


class ResumeError(ConfigError):
    """The run cannot go on with this config or corpus. The message names the keys."""


def data_identity(shards: Path, train: Sequence[Corpus], valid: Sequence[Corpus]) -> dict[str, Any]:
    """The corpora by content: two equal ones may lie in different places."""
    vocabulary = shards / "vocabulary" / "siliang.model"
    return {
        "train": corpora_identity(train),
        "valid": corpora_identity(valid),
        "vocabulary": file_digest(vocabulary) if vocabulary.is_file() else None,
        "vocabulary_size": train[0].vocabulary_size,
    }


def _settings(config: TrainConfig, model: dict[str, Any]) -> dict[str, Any]:
    """By key; the model as it comes out, whatever preset and overrides it was written as."""
    keys = {key: value for key, value in flat(config).items() if not key.startswith("model.")}
    return keys | {f"model.{key}": value for key, value in model.items()}


def _differing(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    return [key for key in sorted(old.keys() | new.keys()) if old.get(key) != new.get(key)]


def check_compatible(state: RunState, config: TrainConfig, model: ModelConfig, data: dict[str, Any], name: str) -> None:
    """`model` is the one that the run ends with.

    Raises ResumeError naming every key in which the run and what it is asked to go on with differ.
    """
    if corpora := _differing(state.data, data):
        told = ", ".join(f"data {key}" for key in corpora)
        raise ResumeError(f"{name}: was trained on other shards ({told} differ); use those, or another --output")
    try:
        model_before = ModelConfig.model_validate(state.model).model_dump(mode="json")
    except ValidationError as error:
        raise ResumeError(
            f"{name}: its model is not one of this version of siliang ({error.errors()[0]['msg']})"
        ) from error
    before = make_config(state.config, name)
    if before.growth.grows:
        model_before["layers"] = before.encoder(model.vocabulary_size).layers
    old = _settings(before, model_before)
    new = _settings(config, model.model_dump(mode="json"))
    moved = {key for key in MOVABLE if old[key] and new[key]}
    if keys := [key for key in _differing(old, new) if key not in CHANGEABLE | moved]:
        told = "; ".join(f"{key} is {new.get(key)!r}, the run has {old.get(key)!r}" for key in keys)
        raise ResumeError(f"{name}: cannot be resumed with this config: {told}")


def finished(state: RunState, config: TrainConfig) -> bool:
    """Whether the schedule has no step left."""
    schedule = config.schedule
    return getattr(state, {"steps": "step"}.get(schedule.by, schedule.by)) >= getattr(schedule, schedule.by)
