"""FlexAttention (torch >= 2.5): scores of pairs read from a table inside one kernel, other documents skipped by blocks.

Shape suffixes: B rows, T tokens of a row, H heads, C head width, L max_length.

Its backward exists on CUDA alone; on a CPU it computes values, slowly, which is what the tests compare. The gradient of
the table is summed by atomics. Written against torch 2.13's sources; no figure here is from a GPU.
"""

import warnings
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention


class FlexScores(NamedTuple):
    """What a pair of places is worth."""

    positions_BT: Tensor
    blocks: BlockMask
    """Of the documents."""
    table_HLL: Tensor | None
    """Positional scores by the positions of query and key, [CLS] at 0 untied where the model does so."""


def flex_scores(segments_BT: Tensor, positions_BT: Tensor, table_HLL: Tensor | None) -> FlexScores:
    """Once a forward, for all layers."""
    B, T = segments_BT.shape

    def same(b: Tensor, h: Tensor, i: Tensor, j: Tensor) -> Tensor:
        return segments_BT[b, i] == segments_BT[b, j]

    blocks = create_block_mask(same, B, None, T, T, device=segments_BT.device.type)
    return FlexScores(positions_BT, blocks, table_HLL)


@lru_cache(maxsize=1)
def _compiled() -> Any:
    return torch.compile(flex_attention, dynamic=False)


def flex_attend(q_BHTC: Tensor, k_BHTC: Tensor, v_BHTC: Tensor, scores: FlexScores, scale: float) -> Tensor:
    """softmax(content scores + table, inside documents) v -> o_BHTC.

    Raises:
        ValueError: a gradient is wanted on a device where FlexAttention has none.
    """
    if q_BHTC.device.type != "cuda" and torch.is_grad_enabled() and q_BHTC.requires_grad:
        raise ValueError(
            f"attention 'flex' has no backward on {q_BHTC.device.type} (torch {torch.__version__}); use 'auto'"
        )
    positions_BT, table_HLL = scores.positions_BT, scores.table_HLL

    def add(score: Tensor, b: Tensor, h: Tensor, i: Tensor, j: Tensor) -> Tensor:
        assert table_HLL is not None
        return score + table_HLL[h, positions_BT[b, i], positions_BT[b, j]]

    # Inside a compiled model the kernel is part of its graph; uncompiled it would hold all scores, in several copies.
    kernel = flex_attention if torch.compiler.is_compiling() or q_BHTC.device.type == "cpu" else _compiled()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*without torch.compile.*")
        return kernel(
            q_BHTC,
            k_BHTC,
            v_BHTC,
            score_mod=None if table_HLL is None else add,
            block_mask=scores.blocks,
            scale=scale,
        )
