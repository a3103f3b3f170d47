"""How far a student is from its teacher: pure functions of what both compute.

Shape suffixes: M predicted positions, V vocabulary, K pieces kept, B rows, T tokens of a row, D width, E = 3 D (query,
key and value), R relation heads, N tokens.
"""

from typing import Final

import torch
from torch import Tensor
from torch.nn import functional as F

from trainer.model.heads import widened

LEAST_SHARE: Final = 1e-6
"""What is left for the pieces that are not kept, at least: a logarithm of less is rounding alone in fp32."""


def divergence_sum(teacher_MV: Tensor, student_MV: Tensor, temperature: float) -> Tensor:
    """KL(teacher || student) of logits, summed over positions, nats, times the temperature's square: so its gradient
    keeps its size whatever the temperature (Hinton et al. 2015, arXiv 1503.02531)."""
    teacher_MV, student_MV = widened(teacher_MV) / temperature, widened(student_MV) / temperature
    each = F.kl_div(student_MV.log_softmax(-1), teacher_MV.log_softmax(-1), reduction="sum", log_target=True)
    return each * temperature**2


def top_shares(teacher_MV: Tensor, count: int, temperature: float) -> tuple[Tensor, Tensor]:
    """(pieces_MK, log_shares_MK): the likeliest pieces and the logarithms of their probabilities."""
    log_shares_MV = (widened(teacher_MV) / temperature).log_softmax(-1)
    found = log_shares_MV.topk(min(count, teacher_MV.shape[1]), dim=-1)
    return found.indices, found.values


def top_divergence_sum(pieces_MK: Tensor, log_shares_MK: Tensor, student_MV: Tensor, temperature: float) -> Tensor:
    """`divergence_sum` with all pieces that are not kept counted as one; it is at most that of all pieces."""
    student_MK = (widened(student_MV) / temperature).log_softmax(-1).gather(1, pieces_MK)
    log_shares_MK = log_shares_MK.to(student_MK.dtype)
    kept = (log_shares_MK.exp() * (log_shares_MK - student_MK)).sum()
    if pieces_MK.shape[1] == student_MV.shape[1]:
        return kept * temperature**2
    rest_M, own_rest_M = (1 - log_MK.exp().sum(-1) for log_MK in (log_shares_MK, student_MK))
    rest_M, own_rest_M = rest_M.clamp(min=LEAST_SHARE), own_rest_M.clamp(min=LEAST_SHARE)
    return (kept + (rest_M * (rest_M.log() - own_rest_M.log())).sum()) * temperature**2


def state_difference_sum(teacher_ND: Tensor, student_ND: Tensor) -> Tensor:
    """Squared difference of two layers' states, each normalised to mean 0 and variance 1 (states of a Pre-LN encoder
    grow with depth), averaged over features and summed over tokens."""
    width = teacher_ND.shape[-1:]
    teacher_ND, student_ND = (F.layer_norm(widened(h), width) for h in (teacher_ND, student_ND))
    return (teacher_ND - student_ND).square().mean(-1).sum()


def relations(qkv_BTE: Tensor, mask_B1TT: Tensor, heads: int) -> Tensor:
    """log_R_3BRTT: how each token's query (key, value) spreads over those of its document's tokens (MiniLMv2, eq. 4);
    -inf becomes the lowest finite number, so that padding and other documents add 0 and not NaN."""
    width = qkv_BTE.shape[-1] // (3 * heads)
    x_3BRTC = widened(qkv_BTE).unflatten(-1, (3, heads, width)).permute(2, 0, 3, 1, 4)
    scores = x_3BRTC @ x_3BRTC.mT * width**-0.5
    return scores.masked_fill(~mask_B1TT, torch.finfo(scores.dtype).min).log_softmax(-1)


def relation_divergence_sum(teacher_BTE: Tensor, student_BTE: Tensor, segments_BT: Tensor, heads: int) -> Tensor:
    """KL(teacher || student) of the relations, averaged over kinds and heads, summed over tokens but padding."""
    mask_B1TT = segments_BT[:, None, :, None] == segments_BT[:, None, None, :]
    teacher, student = (relations(qkv_BTE, mask_B1TT, heads) for qkv_BTE in (teacher_BTE, student_BTE))
    each_3BRT = (teacher.exp() * (teacher - student)).masked_fill(~mask_B1TT, 0.0).sum(-1)
    return (each_3BRT.mean((0, 2)) * (segments_BT != 0)).sum()
