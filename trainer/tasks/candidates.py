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


BLOCK = 32
"""Columns behind one maximum of `top`. topk(9) of 1,024 x 32,000 scores on one CPU core: 97 ms, 15 ms in blocks; of
8,192: 24 and 10; argmax of 8,192: 20 and 3."""


def top(scores_NV: Tensor, count: int) -> Tensor:
    """Columns of the `count` largest of each row, largest first: `topk`, exactly, by way of maxima over blocks, whose
    pass over the scores is one of vectors. The largest lie in the blocks of the largest maxima."""
    vocabulary = scores_NV.shape[1]
    blocks = vocabulary // BLOCK
    if blocks < count:
        return scores_NV.topk(count, dim=1).indices
    # Block j holds the columns j, j + blocks, j + 2 blocks, ...; what is left over is a candidate always.
    best_NJ = scores_NV[:, : BLOCK * blocks].unflatten(1, (BLOCK, blocks)).amax(1).topk(count, dim=1).indices
    steps = blocks * torch.arange(BLOCK, device=scores_NV.device)
    columns = (best_NJ[:, None, :] + steps[:, None]).flatten(1)
    rest = torch.arange(BLOCK * blocks, vocabulary, device=scores_NV.device).expand(len(scores_NV), -1)
    columns = torch.cat([columns, rest], 1)
    return columns.gather(1, scores_NV.gather(1, columns).topk(count, dim=1).indices)


def draw_one(scores_NV: Tensor) -> Tensor:
    """piece_N: one draw from softmax(logits) over the ordinary pieces, of scores = logits + Gumbel noise (Gumbel-max).
    Overwrites `scores_NV`."""
    return top(ordinary(scores_NV), 1).squeeze(1)


def ordinary(logits_NV: Tensor) -> Tensor:
    """`logits_NV` with no chance for special pieces, in place."""
    logits_NV[:, :FIRST_ORDINARY] = -torch.inf
    return logits_NV


def draw_distinct(scores_NV: Tensor, count: int, *never_N: Tensor) -> Tensor:
    """pieces of shape [N, count]: draws without replacement from softmax(logits) over the ordinary pieces but those of
    `never_N`, in the order they were drawn, of scores = logits + Gumbel noise (Gumbel top-k: Kool, van Hoof, Welling,
    ICML 2019). Overwrites `scores_NV`."""
    ordinary(scores_NV)
    for piece_N in never_N:
        scores_NV.scatter_(1, piece_N[:, None], -torch.inf)
    return top(scores_NV, count)


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
