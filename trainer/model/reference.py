"""TUPE-A's bias by the literal construction of the released code: slow, and easy to read against it.

`attention = "reference"` uses it; the tests compare the fast paths with it. Source: guolinke/TUPE,
`fairseq/modules/transformer_sentence_encoder.py`.
"""

import math

import torch
from torch import Tensor

from trainer.model.attention import AttentionPlan
from trainer.model.positions import TupeAbsolutePositions


def tupe_bias(positions: TupeAbsolutePositions, length: int, theta_1: float = 0.0) -> Tensor:
    """bias_HTT of one document of `length` tokens, [CLS] first.

    The released table holds one row more, from which theta_1 comes. Softmax removes theta_1, so it is a plain argument
    here, for a test of just that.
    """
    query_LHC, key_LHC = positions.projections()
    q_HTC, k_HTC = query_LHC[:length].transpose(0, 1), key_LHC[:length].transpose(0, 1)
    bias_HTT = torch.bmm(q_HTC * (2 * positions.head_width) ** -0.5, k_HTC.transpose(1, 2))
    theta_2_H = bias_HTT[:, 0, 0].clone()
    bias_HTT = bias_HTT.clone()
    bias_HTT[:, :, 0] = theta_2_H[:, None]
    bias_HTT[:, 0, :] = theta_1
    return bias_HTT


def reference_plan(
    head_width: int, segments_BT: Tensor, positions_BT: Tensor, tupe: TupeAbsolutePositions | None
) -> AttentionPlan:
    """Document by document: the bias stands in the block of each document, -inf elsewhere; padding sees padding.

    Raises:
        ValueError: the positions of a document do not run 0, 1, 2, ...
    """
    B, T = segments_BT.shape
    H = 1 if tupe is None else tupe.heads
    weight = torch.zeros((), device=segments_BT.device) if tupe is None else tupe.embedding.weight
    scale = (head_width if tupe is None else 2 * head_width) ** -0.5
    rows = []
    for b in range(B):
        row_HTT = weight.new_full((H, T, T), -math.inf)
        for segment in segments_BT[b].unique().tolist():
            index_n = (segments_BT[b] == segment).nonzero().flatten()
            n = len(index_n)
            block_Hnn = weight.new_zeros((H, n, n))
            if segment and tupe is not None:
                if not torch.equal(positions_BT[b, index_n], torch.arange(n, device=index_n.device)):
                    raise ValueError(f"row {b}, document {segment}: positions must run 0, 1, 2, ...")
                block_Hnn = tupe_bias(tupe, n)
            row_HTT = row_HTT.index_put(
                (torch.arange(H, device=index_n.device)[:, None, None], index_n[None, :, None], index_n[None, None, :]),
                block_Hnn,
            )
        rows.append(row_HTT)
    return AttentionPlan("reference", scale, bias_BHTT=torch.stack(rows))
