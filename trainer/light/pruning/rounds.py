"""Pruning in rounds: measure, cut, train what is left."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from torch import Tensor

from trainer.light.pruning.importance import Importance
from trainer.light.pruning.selection import Sizes, select
from trainer.light.pruning.surgery import Kept, cut_config, cut_tensors
from trainer.model.config import ModelConfig
from trainer.sections.pruning import PruneConfig


@dataclass(frozen=True)
class Weights:
    """A model as numbers."""

    config: ModelConfig
    tensors: dict[str, Tensor]
    """By name, those of the encoder below `encoder.`."""


class Subject(Protocol):
    """What is pruned: a classifier, or the model of a run."""

    def importance(self, weights: Weights) -> Importance: ...

    def recover(self, weights: Weights, number: int, last: bool) -> Weights:
        """Trained after round `number`, from 0."""
        ...

    def score(self, weights: Weights) -> dict[str, float]:
        """On held-out texts."""
        ...


@dataclass
class History:
    """How it went, by round."""

    shapes: list[list[dict[str, Any]]] = field(default_factory=list)
    """Heads and inner features of each layer."""
    cut: list[dict[str, float]] = field(default_factory=list)
    """Scores right after the cut."""
    recovered: list[dict[str, float]] = field(default_factory=list)

    def told(self) -> dict[str, Any]:
        return asdict(self)


def prune(
    subject: Subject, weights: Weights, sizes: Sizes, config: PruneConfig, tell: Callable[[int, str], None]
) -> tuple[Weights, History]:
    """`tell` is told of each round with what it came to."""
    whole, history = weights.config, History()
    for number in range(config.rounds):
        last = number + 1 == config.rounds
        share = (number + 1) / config.rounds
        found = subject.importance(weights)
        goal = sizes.after(share, whole.layers)
        kept = select(found, weights.config, whole, goal, config.scope, config.multiple)
        weights = cut(weights, kept)
        history.cut.append(subject.score(weights))
        weights = subject.recover(weights, number, last)
        history.recovered.append(subject.score(weights))
        shapes = [weights.config.shape(k) for k in range(weights.config.layers)]
        history.shapes.append([shape.model_dump(mode="json") for shape in shapes])
        heads, columns = sum(len(s.heads) for s in shapes), sum(s.feed_forward for s in shapes)
        scores = ", ".join(
            f"{name} {history.cut[-1][name]:.4f} -> {v:.4f}" for name, v in history.recovered[-1].items()
        )
        tell(number, f"round {number + 1}: {len(shapes)} layers, {heads} heads, {columns:,} inner features; {scores}")
    return weights, history


def cut(weights: Weights, kept: list[Kept]) -> Weights:
    return Weights(cut_config(weights.config, kept), cut_tensors(weights.tensors, weights.config, kept))
