"""Which heads, inner features and layers stay, by importance and by how much is to stay."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Literal

import torch
from torch import Tensor

from trainer.light.pruning.importance import Importance
from trainer.light.pruning.surgery import Kept
from trainer.model.config import ModelConfig

Scope = Literal["model", "layer"]


@dataclass(frozen=True)
class Sizes:
    """What is to stay."""

    heads: float = 1.0
    """Share of the heads of the model as it was given, in the layers that stay."""
    columns: float = 1.0
    """Likewise of inner features."""
    layers: int | None = None
    """None: all."""

    def after(self, share: float, layers: int) -> "Sizes":
        """The sizes when `share` of the way from a whole model of so many layers is gone."""
        left = self.layers if self.layers is not None else layers
        return Sizes(
            1 - share * (1 - self.heads), 1 - share * (1 - self.columns), layers - round(share * (layers - left))
        )


def select(
    importance: Importance, config: ModelConfig, whole: ModelConfig, sizes: Sizes, scope: Scope, multiple: int
) -> list[Kept]:
    """Layers first, the most important ones in their order; then heads and inner features of these.

    With scope "model" all layers' heads (features) compete, each layer's importances divided by their l2 norm (Michel
    et al. 2019); with "layer" each layer keeps the same share. A layer keeps a head and `multiple` features at least;
    numbers of features are multiples of that.

    Args:
        config: of the model now.
        whole: of the unpruned one.
    """
    count = min(sizes.layers or config.layers, config.layers)
    layers = sorted(torch.argsort(importance.layers, descending=True, stable=True)[:count].tolist())
    # A model that was pruned before has layers of several sizes: a share is one of their mean.
    shapes = [whole.shape(k) for k in range(whole.layers)]
    most_heads, most_columns = mean(len(shape.heads) for shape in shapes), mean(shape.feed_forward for shape in shapes)
    heads = _places([importance.heads[k] for k in layers], sizes.heads * most_heads, scope, 1)
    columns = _places([importance.columns[k] for k in layers], sizes.columns * most_columns, scope, multiple)
    return [Kept(k, h, c) for k, h, c in zip(layers, heads, columns, strict=True)]


def _places(importances: Sequence[Tensor], wanted: float, scope: Scope, multiple: int) -> list[tuple[int, ...]]:
    """Of each layer the places that stay; about `wanted` of them a layer in the mean."""
    present = [len(one) for one in importances]
    if scope == "layer":
        counts = [round(wanted)] * len(present)
    else:
        normed = [one / one.norm().clamp(min=1e-30) for one in importances]
        ranked = torch.cat(normed).argsort(descending=True, stable=True)
        layer_of = torch.repeat_interleave(torch.arange(len(present)), torch.tensor(present))
        chosen = layer_of[ranked[: round(wanted * len(present))]]
        counts = torch.bincount(chosen, minlength=len(present)).tolist()
    found = []
    for one, count, has in zip(importances, counts, present, strict=True):
        rounded = has if count >= has else min(max(round(count / multiple), 1) * multiple, has)
        found.append(tuple(sorted(one.argsort(descending=True, stable=True)[:rounded].tolist())))
    return found
