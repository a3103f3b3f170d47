"""Which positions a masked language model predicts, and what stands there instead.

Every choice is drawn from the address (seed, epoch, window, row, position), so it does not depend on workers, ranks or
where a run was resumed. The number of predicted positions in a row is floor(rate * n + u), u uniform in [0, 1), n the
row's ordinary pieces (fairseq's probabilistic rounding: the expectation is exact on short rows too); special pieces,
[UNK] included, are never predicted. Which positions: selection sampling (Knuth, TAOCP 2, 3.4.2, algorithm S): every
set of that size is equally likely.
"""

from dataclasses import dataclass
from typing import Final

from trainer.data.counter import Purpose, key

ONE: Final = 1 << 32
"""Shares are kept as whole 2^-32ths: the products are exact integers, the same on every machine."""


@dataclass(frozen=True)
class Masking:
    """Shares of BERT's masking (Devlin et al. 2019, 3.1: 0.15, of which 80 % [MASK], 10 % random, 10 % kept).

    mask_share + random_share <= 1; the rest is kept. Raises ValueError for values out of range.
    """

    rate: float = 0.15
    """Share of a row's ordinary pieces that is predicted."""
    mask_share: float = 0.8
    """Of those, replaced by [MASK]."""
    random_share: float = 0.1
    """Of those, replaced by a random ordinary piece (the right one included)."""

    def __post_init__(self) -> None:
        for name in ("rate", "mask_share", "random_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"masking.{name} is {getattr(self, name)}; 0 to 1 are possible")
        if self.mask_share + self.random_share > 1 + 1e-9:
            raise ValueError(
                f"masking.mask_share + masking.random_share is {self.mask_share + self.random_share:g}; at most 1"
            )

    def thresholds(self) -> tuple[int, int, int]:
        """(rate, mask, mask + random) in 2^-32ths, for the kernel."""
        return round(self.rate * ONE), round(self.mask_share * ONE), round((self.mask_share + self.random_share) * ONE)


def window_key(seed: int, epoch: int, window: int) -> int:
    """Key of the masks of a window; row r draws from draw(key, r)."""
    return key(Purpose.MASKS, seed, epoch, window)
