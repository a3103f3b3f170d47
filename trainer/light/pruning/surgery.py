"""Weights of a smaller model, cut out of those of a larger one: pure functions on named tensors.

Shape suffixes: D width, C head width, H heads, F inner width of the feed-forward block.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from trainer.model.config import LayerShape, ModelConfig

LAYERS = "encoder.layers."


@dataclass(frozen=True)
class Kept:
    """What stays of one layer."""

    layer: int
    heads: tuple[int, ...]
    """Places among the heads that the layer has now, rising."""
    columns: tuple[int, ...]
    """Of its feed-forward block's inner features, rising."""


def everything(config: ModelConfig) -> list[Kept]:
    """All of every layer."""
    shapes = [config.shape(number) for number in range(config.layers)]
    return [Kept(k, tuple(range(len(s.heads))), tuple(range(s.feed_forward))) for k, s in enumerate(shapes)]


def cut_config(config: ModelConfig, kept: Sequence[Kept]) -> ModelConfig:
    """The shape of what stays. Layers that have all heads and equal inner widths need no shapes of their own: such a
    model is a plain one of that size."""
    shapes = []
    for one in kept:
        heads = config.shape(one.layer).heads
        shapes.append(LayerShape(heads=tuple(heads[k] for k in one.heads), feed_forward=len(one.columns)))
    told: dict[str, object] = {"layers": len(kept), "shapes": tuple(shapes)}
    if all(len(s.heads) == config.heads and s.feed_forward == shapes[0].feed_forward for s in shapes):
        told |= {"shapes": None, "feed_forward": shapes[0].feed_forward}
    return ModelConfig.model_validate(config.model_dump() | told)


def cut_tensors(tensors: Mapping[str, Tensor], config: ModelConfig, kept: Sequence[Kept]) -> dict[str, Tensor]:
    """What stays of the weights of a model of shape `config`, by name; all that is no layer stays as it is."""
    found = {name: tensor for name, tensor in tensors.items() if not name.startswith(LAYERS)}
    C = config.head_width
    for number, one in enumerate(kept):
        before, after = f"{LAYERS}{one.layer}.", f"{LAYERS}{number}."
        heads = torch.tensor(one.heads)
        inner = (heads[:, None] * C + torch.arange(C)).flatten()
        has = len(config.shape(one.layer).heads) * C
        places = {
            "attention.qkv.weight": (0, torch.cat([inner, inner + has, inner + 2 * has])),
            "attention.qkv.bias": (0, torch.cat([inner, inner + has, inner + 2 * has])),
            "attention.out.weight": (1, inner),
            "attention.head_scale": (0, heads),
            "feed_forward.up.weight": (0, torch.tensor(one.columns)),
            "feed_forward.up.bias": (0, torch.tensor(one.columns)),
            "feed_forward.norm.weight": (0, torch.tensor(one.columns)),
            "feed_forward.norm.bias": (0, torch.tensor(one.columns)),
            "feed_forward.down.weight": (1, torch.tensor(one.columns)),
        }
        for name, tensor in tensors.items():
            if not name.startswith(before):
                continue
            rest = name.removeprefix(before)
            if rest in places:
                dimension, index = places[rest]
                tensor = tensor.index_select(dimension, index.to(tensor.device))
            found[after + rest] = tensor
    return found
