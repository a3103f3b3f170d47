"""What the controller proposes, and which proposal is right: pure functions of its logits.

Shape suffixes: N positions, V vocabulary, K candidates.
"""

import torch
from torch import Tensor

from schemas.vocabulary import FIRST_ORDINARY, NEITHER
from trainer.tasks.draws import gumbel, uniform

CANDIDATE_STREAM, ROW_STREAM = 1, 2
"""Of `uniform`; the corrupting draw has 0."""

NEITHER_SLOT, ORIGINAL_SLOT = 0, 1


def draw_one(logits_NV: Tensor, bits_N: Tensor) -> Tensor:
    """piece_N: one draw from softmax(logits) over the ordinary pieces (Gumbel-max). Overwrites `logits_NV`."""
    return ordinary(logits_NV).add_(gumbel(bits_N, logits_NV.shape[1])).argmax(-1)


def ordinary(logits_NV: Tensor) -> Tensor:
    """`logits_NV` with no chance for special pieces, in place."""
    logits_NV[:, :FIRST_ORDINARY] = -torch.inf
    return logits_NV


def draw_distinct(logits_NV: Tensor, noise_NV: Tensor, count: int, *never_N: Tensor) -> Tensor:
    """pieces of shape [N, count]: draws without replacement from softmax(logits) over the ordinary pieces but those of
    `never_N`, in the order they were drawn (Gumbel top-k: Kool, van Hoof, Welling, ICML 2019). Overwrites `logits_NV`.
    """
    scores_NV = ordinary(logits_NV).add_(noise_NV)
    for piece_N in never_N:
        scores_NV.scatter_(1, piece_N[:, None], -torch.inf)
    return scores_NV.topk(count, dim=1).indices


def draw_with_replacement(logits_NV: Tensor, bits_N: Tensor, count: int) -> Tensor:
    """pieces of shape [N, count]: independent draws from softmax(logits) over the ordinary pieces, as in the released
    code of MC-BERT. Overwrites `logits_NV`."""
    cumulated_NV = ordinary(logits_NV).softmax(-1).cumsum_(-1)
    aims = uniform(bits_N, count, CANDIDATE_STREAM) * cumulated_NV[:, -1:]
    # Rounding may carry an aim to the total; the last piece of any probability is the answer then.
    last_N1 = torch.searchsorted(cumulated_NV, cumulated_NV[:, -1:].contiguous())
    return torch.minimum(torch.searchsorted(cumulated_NV, aims, right=True), last_N1)


def row_noise(bits_B: Tensor, vocabulary: int, length: int) -> Tensor:
    """Gumbel noise of rows, shape [B, length + 1, vocabulary], a view of [B, vocabulary + length] numbers.

    Position t reads the window from t on, so the draws of any one position have their exact distribution, while those
    of two positions of a row depend on each other. Nothing that the encoder reads is drawn from it.
    """
    return gumbel(bits_B, vocabulary + length, ROW_STREAM).unfold(1, vocabulary, 1)


def choices(drawn_NK: Tensor, input_N: Tensor, original_N: Tensor) -> tuple[Tensor, Tensor]:
    """(candidates_NK, label_N): slot 0 is `<neither>`; where the input is not the original, the original takes slot 1
    and is right, elsewhere `<neither>` is.

    Args:
        drawn_NK: [N, K - 1] pieces for the slots from 1 on.
    """
    replaced_N = input_N != original_N
    neither_N1 = torch.full_like(drawn_NK[:, :1], NEITHER)
    first_N = torch.where(replaced_N, original_N, drawn_NK[:, 0])
    candidates_NK = torch.cat([neither_N1, first_N[:, None], drawn_NK[:, 1:]], 1)
    return candidates_NK, torch.where(replaced_N, ORIGINAL_SLOT, NEITHER_SLOT)
