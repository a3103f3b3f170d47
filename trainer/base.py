"""A finished, shallower run that another one grows from."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from schemas.manifest import file_digest
from trainer.checkpoint import CheckpointError, load_newest
from trainer.config import ConfigError, TrainConfig
from trainer.model.config import ModelConfig
from trainer.run import RunDirectory, RunError, load_model

FREE = {"layers", "dropout", "init_std", "residual_init", "position_std", "position_start", "attention"}
"""Keys of [model] in which the two runs may differ: they change neither shapes nor what a trained layer
computes."""


@dataclass(frozen=True)
class Base:
    layers: int
    weights: dict[str, Tensor]
    """The final ones: the average, where the run kept one."""
    flops: float
    """What the run has taken; 0 where its result.json does not say."""
    optimizer: dict[str, Tensor]
    """State of its last checkpoint; empty where there is none, or where it is not carried."""


def load_base(config: TrainConfig, model: ModelConfig, data: dict[str, Any]) -> Base:
    """What `growth.base` gives to a run that ends as `model`, on these data (`trainer.resume.data_identity`).

    Raises ConfigError naming the key and what differs; RunError or CheckpointError where the run cannot be read.
    """
    growth, directory = config.growth, RunDirectory(config.growth.base)
    key = f"key 'growth.base': {growth.base}"
    try:
        base = load_model(directory.path)
    except (RunError, CheckpointError) as error:
        raise type(error)(f"key 'growth.base': {error}") from error
    shape = base.encoder.config
    first = growth.stages(model.layers)[0][1]
    if shape.layers > first or (shape.layers == first and len(growth.depths) < 2):
        raise ConfigError(f"{key} has {shape.layers} layers, this run begins with {first}; there is nothing to grow")
    if base.kind != config.task.kind:
        raise ConfigError(f"{key} was trained by task {base.kind}, this run has task.kind = {config.task.kind}")
    ours, theirs = decisive(model), decisive(shape)
    if differing := [name for name in ours if ours[name] != theirs[name]]:
        told = "; ".join(f"model.{name} is {ours[name]!r}, the base has {theirs[name]!r}" for name in differing)
        raise ConfigError(f"{key} is of another shape: {told}")
    known = file_digest(directory.vocabulary) if directory.vocabulary.is_file() else None
    if known != data["vocabulary"]:
        raise ConfigError(f"{key} was trained with another vocabulary than these shards have")
    optimizer: dict[str, Tensor] = {}
    newest = load_newest(directory.checkpoints, warn=lambda text: None)
    if model.notes is not None and (newest is None or newest.state.data["train"] != data["train"]):
        raise ConfigError(f"{key} took its notes from other shards, or has no checkpoint that says from which")
    if newest is not None and growth.optimizer == "carry":
        kind = newest.state.config["optimizer"]["kind"]
        if kind != config.optimizer.kind:
            raise ConfigError(
                f"key 'growth.optimizer': carry needs the base's optimizer.kind ({kind}), this run has "
                f"{config.optimizer.kind}; use growth.optimizer = reset"
            )
        optimizer = newest.optimizer
    spent = directory.read_result() or {}
    flops = spent.get("flops", 0.0) + spent.get("flops_base", 0.0)
    return Base(shape.layers, base.state_dict(), flops, optimizer)


def decisive(model: ModelConfig) -> dict[str, Any]:
    """What decides a trained layer's shapes and what it computes, by key of [model]."""
    return {name: value for name, value in model.model_dump(mode="json").items() if name not in FREE}
