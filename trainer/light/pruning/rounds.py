"""Pruning in rounds: measure, cut, train what is left."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any, Protocol

from torch import Tensor

from trainer.config import ConfigError
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


Settle = Callable[[Callable[[Sizes], ModelConfig], int], Sizes]
"""(sizes -> shape that would be cut, layers there are now) -> the sizes in the end. Raises ConfigError."""


def prune(
    subject: Subject, weights: Weights, settle: Settle, config: PruneConfig, tell: Callable[[int, str], None]
) -> tuple[Weights, Sizes, History]:
    """(what is left, its sizes, how it went). `tell` is told of each round with what it came to.

    Sizes are settled by the shapes that the first round's importances give, and again by the last one's, so that what
    is cut in the end is what was measured. Raises ConfigError where none is small enough.
    """
    whole, history, sizes = weights.config, History(), Sizes()
    for number in range(config.rounds):
        last = number + 1 == config.rounds
        share = (number + 1) / config.rounds
        kept = partial(_kept, subject.importance(weights), weights.config, whole, config)
        shape = partial(_shape, weights.config, kept)
        if not number or last:
            try:
                sizes = settle(shape, weights.config.layers)
            except ConfigError:
                # Measured times differ: after the first round the sizes that were found stay.
                if not number:
                    raise
            layers = f"{sizes.layers or whole.layers} of {whole.layers} layers"
            tell(number, f"keeps {sizes.heads:.0%} of the heads, {sizes.columns:.0%} of the inner features, {layers}")
        weights = cut(weights, kept(sizes.after(share, whole.layers)))
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
    return weights, sizes, history


def _kept(
    importance: Importance, config: ModelConfig, whole: ModelConfig, settings: PruneConfig, sizes: Sizes
) -> list[Kept]:
    return select(importance, config, whole, sizes, settings.scope, settings.multiple)


def _shape(config: ModelConfig, kept: Callable[[Sizes], list[Kept]], sizes: Sizes) -> ModelConfig:
    return cut_config(config, kept(sizes))


def cut(weights: Weights, kept: list[Kept]) -> Weights:
    return Weights(cut_config(weights.config, kept), cut_tensors(weights.tensors, weights.config, kept))
