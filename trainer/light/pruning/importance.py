"""How much the loss would change without a head, an inner feature or a layer: first-order Taylor (Michel et al. 2019,
arXiv 1905.10650; Molchanov et al. 2017, arXiv 1611.06440).

A factor of 1 stands at the output of each head, of each inner feature of the feed-forward block, and of a layer's two
branches. The loss's derivative by it is, to first order, what the loss would change by if it became 0. Of each text by
itself its size counts, so that what helps one text and harms another is not taken for useless.

Shape suffixes: B texts, T positions, H heads, F inner features, L layers.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from trainer.model.encoder import Encoder, Layer


@dataclass(frozen=True)
class Importance:
    """Means over texts, fp64, on the CPU."""

    heads: list[Tensor]
    """[H] of each layer."""
    columns: list[Tensor]
    """[F] of each layer."""
    layers: Tensor
    """[L]"""


class Gates:
    """Factors of 1, one for each text of a batch, with a gradient."""

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder
        self.layers = [layer for layer in encoder.layers if isinstance(layer, Layer)]
        self.sizes = [(layer.attention.heads, layer.feed_forward.down.in_features) for layer in self.layers]

    @contextmanager
    def attached(self, texts: int, like: Tensor) -> Iterator[list[tuple[Tensor, Tensor, Tensor]]]:
        """(heads_BH, columns_BF, layer_B1) of each layer, in force inside the block."""
        gates, hooks = [], []
        for layer, (heads, columns) in zip(self.layers, self.sizes, strict=True):
            ones = [like.new_ones(texts, count).requires_grad_() for count in (heads, columns, 1)]
            gates.append((ones[0], ones[1], ones[2]))
            hooks.append(layer.attention.out.register_forward_pre_hook(_before(ones[0])))
            hooks.append(layer.feed_forward.down.register_forward_pre_hook(_before(ones[1])))
            # The norm behind the attention (NormFormer's; elsewhere it does nothing) ends that branch.
            hooks.append(layer.attention_out_norm.register_forward_hook(_behind(ones[2])))
            hooks.append(layer.feed_forward.register_forward_hook(_behind(ones[2])))
        whole, self.encoder.whole = self.encoder.whole, True
        try:
            yield gates
        finally:
            self.encoder.whole = whole
            for hook in hooks:
                hook.remove()


def _before(gate_BG: Tensor) -> Callable[[nn.Module, tuple[Tensor, ...]], tuple[Tensor]]:
    def hook(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor]:
        (x_BTE,) = inputs
        each = x_BTE.shape[-1] // gate_BG.shape[-1]
        return (x_BTE * gate_BG.repeat_interleave(each, -1)[:, None, :],)

    return hook


def _behind(gate_B1: Tensor) -> Callable[[nn.Module, Any, Tensor], Tensor]:
    def hook(module: nn.Module, inputs: Any, output_BTD: Tensor) -> Tensor:
        return output_BTD * gate_B1[:, None, :]

    return hook


def measure(
    encoder: Encoder, batches: Iterable[tuple[int, Callable[[], Tensor]]], like: Tensor, tell: Callable[[int], None]
) -> Importance:
    """`batches`: (number of texts, a function that gives the sum over texts of each one's loss). The model is in eval
    mode; its gradients are left as they were.

    Args:
        like: a parameter; gates are of its type and on its device.
        tell: is told how many texts are done.
    """
    gates, texts, sums = Gates(encoder), 0, None
    for count, loss_sum in batches:
        with gates.attached(count, like) as attached:
            flat = [gate for layer in attached for gate in layer]
            found = torch.autograd.grad(loss_sum(), flat)
        sizes = [gradient.double().abs().sum(0).cpu() for gradient in found]
        sums = sizes if sums is None else [a + b for a, b in zip(sums, sizes, strict=True)]
        texts += count
        tell(texts)
    if sums is None:
        raise ValueError("no text to measure importance on")
    means = [size / texts for size in sums]
    return Importance(means[::3], means[1::3], torch.cat(means[2::3]))
