"""Scores by distance: T5's learned buckets (BERT-R; TUPE-R adds them to its own), and ALiBi's fixed slopes.

Shape suffixes: B rows, T tokens of a row, D width, H heads, K = 2 T - 1 distances.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainer.model.config import ModelConfig
from trainer.model.positions import AbsolutePositions, TupeAbsolutePositions
from trainer.model.term import Positions, PositionTerm

BUCKETS = 32
MAX_DISTANCE = 128
EXACT = 8
"""Distances that have a bucket of their own, to each side."""


def bucket(distance: int) -> int:
    """T5's bucket (Raffel et al. 2020; 32 of them, both directions, maximum distance 128) of a key at j - i = distance.

    Keys to the left, and the token itself, have 0..15, keys to the right 17..31; 16 is never used. From 8 on a bucket
    is half an octave, floor(2 log2(n / 8)): in integers, where T5's logarithm in fp32 depends on its rounding.
    """
    n = abs(distance)
    if n >= EXACT:
        n = min(BUCKETS // 2 - 1, EXACT + (n * n).bit_length() - (EXACT * EXACT).bit_length())
    return n + BUCKETS // 2 if distance > 0 else n


class RelativeScores(nn.Module):
    """b of T5: one number per bucket and head, for all layers; N(0, init_std)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.table = nn.Embedding(BUCKETS, config.heads)
        buckets = torch.tensor([bucket(d) for d in range(-MAX_DISTANCE, MAX_DISTANCE + 1)])
        self.bucket_of: Tensor
        self.register_buffer("bucket_of", buckets, persistent=False)

    def forward(self, length: int) -> Tensor:
        """distance_HK of rows of `length` tokens."""
        distance_K = torch.arange(1 - length, length, device=self.table.weight.device)
        buckets_K = self.bucket_of[distance_K.clamp(-MAX_DISTANCE, MAX_DISTANCE) + MAX_DISTANCE]
        return F.embedding(buckets_K, self.table.weight).T


class BertRelativePositions(AbsolutePositions):
    """TUPE's baseline BERT-R (its eq. 5): embeddings in the input and T5's scores in the attention."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.relative = RelativeScores(config)

    def term(self, positions_BT: Tensor, dtype: torch.dtype) -> PositionTerm:
        return PositionTerm(distance_HK=self.relative(positions_BT.shape[1]))


class TupeRelativePositions(TupeAbsolutePositions):
    """TUPE-R (eq. 11): TUPE-A's scores, over sqrt(2 C), plus T5's, not scaled.

    [CLS] is untied from the sum of both, as the paper writes it: theta_2 of TUPE-A is the only score of its column, and
    its row is constant. The released code resets both parts, each to a parameter of its own; a sum of two parameters
    is one.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.relative = RelativeScores(config)

    def term(self, positions_BT: Tensor, dtype: torch.dtype) -> PositionTerm:
        return PositionTerm(
            features=self(positions_BT, dtype),
            distance_HK=self.relative(positions_BT.shape[1]),
            untied_BT=positions_BT == 0,
        )


def alibi_slopes(heads: int) -> list[float]:
    """2^(-8/n), 2^(-16/n), ... for n heads, a power of two; else those of the power below and every second one of the
    power above (the released code of Press et al. 2022, arXiv 2108.12409)."""
    power = 1 << (heads.bit_length() - 1)
    slopes = [2 ** (-8 * (k + 1) / power) for k in range(power)]
    return slopes + [2 ** (-4 * (k + 1) / power) for k in range(0, 2 * power, 2)][: heads - power]


class AlibiPositions(Positions):
    """-slope * |j - i|, symmetric for encoders (MosaicBERT, Portes et al. 2023, arXiv 2312.17482). Nothing learned."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.slope_H: Tensor
        self.register_buffer("slope_H", torch.tensor(alibi_slopes(config.heads)), persistent=False)

    def term(self, positions_BT: Tensor, dtype: torch.dtype) -> PositionTerm:
        T = positions_BT.shape[1]
        distance_K = torch.arange(1 - T, T, device=self.slope_H.device)
        return PositionTerm(distance_HK=-self.slope_H[:, None] * distance_K.abs())
