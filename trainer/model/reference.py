"""Attention of every kind of positions by its literal construction: slow, and easy to read against the sources.

`attention = "reference"` uses it; the tests compare the fast paths with it. Sources: guolinke/TUPE,
`fairseq/modules/transformer_sentence_encoder.py`; T5's `_relative_position_bucket`; Press et al. 2022 for ALiBi;
Su et al. 2021, eq. 15, for RoPE.
"""

import math

import torch
from torch import Tensor

from trainer.model.attention import AttentionPlan
from trainer.model.config import ModelConfig
from trainer.model.positions import TupeAbsolutePositions
from trainer.model.relative import AlibiPositions, BertRelativePositions, TupeRelativePositions
from trainer.model.rotary import RotaryPositions
from trainer.model.term import Positions


def t5_bucket(relative_position: int, num_buckets: int = 32, max_distance: int = 128) -> int:
    """`_relative_position_bucket` of T5 with bidirectional=True; relative_position = key - query."""
    num_buckets //= 2
    found = num_buckets if relative_position > 0 else 0
    n = abs(relative_position)
    max_exact = num_buckets // 2
    if n < max_exact:
        return found + n
    # 1e-9: a distance that is exactly on a boundary belongs above it, whatever the logarithm rounds to.
    octaves = math.log(n / max_exact) / math.log(max_distance / max_exact) + 1e-9
    return found + min(max_exact + int(octaves * (num_buckets - max_exact)), num_buckets - 1)


def tupe_bias(positions: TupeAbsolutePositions, length: int, theta_1: float = 0.0) -> Tensor:
    """bias_HTT of one document of `length` tokens, [CLS] first.

    The released table holds one row more, from which theta_1 comes. Softmax removes theta_1, so it is a plain argument
    here, for a test of just that. TUPE-R's scores by distance are added before [CLS] is untied, as in the paper.
    """
    query_LHC, key_LHC = positions.projections()
    q_HTC, k_HTC = query_LHC[:length].transpose(0, 1), key_LHC[:length].transpose(0, 1)
    bias_HTT = torch.bmm(q_HTC * (2 * positions.head_width) ** -0.5, k_HTC.transpose(1, 2))
    theta_2_H = bias_HTT[:, 0, 0].clone()
    if isinstance(positions, TupeRelativePositions):
        bias_HTT = bias_HTT + relative_bias(positions, length)
    bias_HTT = bias_HTT.clone()
    bias_HTT[:, :, 0] = theta_2_H[:, None]
    bias_HTT[:, 0, :] = theta_1
    return bias_HTT


def relative_bias(positions: BertRelativePositions | TupeRelativePositions, length: int) -> Tensor:
    """b_HTT: T5's table, pair by pair."""
    places = range(length)
    rows = [[positions.relative.table.weight[t5_bucket(j - i)] for j in places] for i in places]
    return torch.stack([torch.stack(row) for row in rows]).permute(2, 0, 1)


def document_bias(positions: Positions, config: ModelConfig, length: int) -> Tensor | None:
    """bias_HTT of one document, or None for positions that add nothing to the scores."""
    if isinstance(positions, TupeAbsolutePositions):
        return tupe_bias(positions, length)
    if isinstance(positions, BertRelativePositions):
        return relative_bias(positions, length)
    if isinstance(positions, AlibiPositions):
        distances = torch.tensor([[abs(i - j) for j in range(length)] for i in range(length)])
        return torch.stack([-slope * distances for slope in positions.slope_H])
    return None


def rotation_matrix(position: int, head_width: int) -> Tensor:
    """R_CC of RoPE in fp64: blocks of two along the diagonal (Su et al. 2021, eq. 15)."""
    R_CC = torch.zeros(head_width, head_width, dtype=torch.float64)
    for c in range(0, head_width, 2):
        angle = position * 10_000 ** (-c / head_width)
        R_CC[c, c] = R_CC[c + 1, c + 1] = math.cos(angle)
        R_CC[c, c + 1], R_CC[c + 1, c] = -math.sin(angle), math.sin(angle)
    return R_CC


def reference_plan(
    config: ModelConfig, positions: Positions, segments_BT: Tensor, positions_BT: Tensor
) -> AttentionPlan:
    """Document by document: the bias stands in the block of each document, -inf elsewhere; padding sees padding.

    Raises:
        ValueError: the positions of a document do not run 0, 1, 2, ...
    """
    B, T = segments_BT.shape
    tensors = [*positions.parameters(), *positions.buffers()]
    weight = next((t for t in tensors if t.is_floating_point()), torch.zeros((), device=segments_BT.device))
    rows = []
    for b in range(B):
        row_HTT = weight.new_full((config.heads, T, T), -math.inf)
        for segment in segments_BT[b].unique().tolist():
            index_n = (segments_BT[b] == segment).nonzero().flatten()
            n = len(index_n)
            block_Hnn = weight.new_zeros((config.heads, n, n))
            if segment:
                if not torch.equal(positions_BT[b, index_n], torch.arange(n, device=index_n.device)):
                    raise ValueError(f"row {b}, document {segment}: positions must run 0, 1, 2, ...")
                bias_Hnn = document_bias(positions, config, n)
                block_Hnn = block_Hnn if bias_Hnn is None else bias_Hnn.to(weight)
            heads = torch.arange(config.heads, device=index_n.device)
            row_HTT = row_HTT.index_put(
                (heads[:, None, None], index_n[None, :, None], index_n[None, None, :]), block_Hnn
            )
        rows.append(row_HTT)
    rotation_BTCC = None
    if isinstance(positions, RotaryPositions):
        turns = [[rotation_matrix(place, config.head_width) for place in row] for row in positions_BT.tolist()]
        rotation_BTCC = torch.stack([torch.stack(row) for row in turns]).to(weight)
    scale = config.score_width**-0.5
    return AttentionPlan("reference", scale, bias_BHTT=torch.stack(rows), rotation_BTCC=rotation_BTCC)
