"""Which positions a masked language model predicts, and what stands there instead.

Every choice is drawn from the address (seed, epoch, window, row, position), so it does not depend on workers, ranks or
where a run was resumed. The number of predicted positions in a row is floor(rate * n + u), u uniform in [0, 1), n the
row's ordinary pieces (fairseq's probabilistic rounding: the expectation is exact on short rows too); special pieces,
[UNK] included, are never predicted.

Which positions: single pieces by selection sampling (Knuth, TAOCP 2, 3.4.2, algorithm S: every set of that size is
equally likely); or whole words (BERT's whole-word masking: words in random order, those that would exceed the number
are passed over); or spans of words of geometric length (Joshi et al., SpanBERT, TACL 2020: p = 0.2, at most 10 words,
one treatment for a whole span). Or more of the rare pieces, at the same rate over all: pieces fall in bands of
frequency, each with so many tickets in the draw (`bands`).
"""

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from trainer.data.counter import Purpose, key
from trainer.data.kernels import mask, mask_units
from trainer.data.marks import START, Marks

ONE: Final = 1 << 32
"""Shares are kept as whole 2^-32ths: the products are exact integers, the same on every machine."""

LONGEST_WORD: Final = 12
"""Pieces; a longer run without '▁' (scripts without spaces) counts as several words."""

LONGEST_SPAN: Final = 10
SPAN_SHARE: Final = 0.2

MOST_TICKETS: Final = 64
"""Of a band; a row draws as many numbers as its units have tickets."""

Unit = Literal["piece", "word", "span"]
Rare = Literal["plain", "mask", "spare"]


@dataclass(frozen=True)
class Masking:
    """Shares of BERT's masking (Devlin et al. 2019, 3.1: 0.15, of which 80 % [MASK], 10 % random, 10 % kept).

    mask_share + random_share <= 1; the rest is kept. Raises ValueError for values out of range.
    """

    rate: float = 0.15
    """Share of a row's ordinary pieces that is predicted."""
    mask_share: float = 0.8
    """Of those, replaced by [MASK]; 1 is all-mask (BabyBERTa, NeoBERT)."""
    random_share: float = 0.1
    """Of those, replaced by a random ordinary piece (the right one included)."""
    unit: Unit = "piece"
    rare: Rare = "plain"
    """Rare words of the shards: like any other, masked as wholes before all others, or never masked."""
    final_rate: float | None = None
    """The rate goes linearly from `rate` to this one ..."""
    schedule_rows: int = 0
    """... over so many rows of the stream, all ranks together, and stays there."""

    bands: tuple[int, ...] = ()
    """Tickets of a piece in the draw of what is predicted, by band of frequency: so many bands of equal shares of all
    tokens, the most frequent pieces first. (1, 2, 4): of two units left in the draw one of rare pieces is four times as
    likely to come next as one of frequent ones. A word has those of its rarest piece. () and equal ones: no difference.
    """

    def __post_init__(self) -> None:
        for name in ("rate", "mask_share", "random_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"masking.{name} is {getattr(self, name)}; 0 to 1 are possible")
        if self.mask_share + self.random_share > 1 + 1e-9:
            raise ValueError(
                f"masking.mask_share + masking.random_share is {self.mask_share + self.random_share:g}; at most 1"
            )
        if self.final_rate is not None and not (0 <= self.final_rate <= 1 and 1 <= self.schedule_rows < ONE // 4):
            raise ValueError("masking.final_rate needs a value of 0 to 1 and schedule_rows of 1 to 2^30")

        if not all(1 <= tickets <= MOST_TICKETS for tickets in self.bands):
            raise ValueError(f"masking.bands {list(self.bands)}: 1 to {MOST_TICKETS} tickets a band")

    def rates(self, drawn: NDArray[np.int64]) -> NDArray[np.uint64]:
        """The rate of rows by their number in the stream, in 2^-32ths."""
        first = round(self.rate * ONE)
        if self.final_rate is None:
            return np.full(len(drawn), first, dtype=np.uint64)
        step = (round(self.final_rate * ONE) - first) * np.minimum(drawn, self.schedule_rows)
        return (first + step // self.schedule_rows).astype(np.uint64)

    @property
    def highest_rate(self) -> float:
        return max(self.rate, self.final_rate or 0.0)

    def treatments(self) -> tuple[np.uint64, np.uint64]:
        """(mask, mask + random) in 2^-32ths."""
        return np.uint64(round(self.mask_share * ONE)), np.uint64(round((self.mask_share + self.random_share) * ONE))

    def check(self, marks: Marks) -> None:
        """Raises ValueError where the vocabulary does not tell words apart and the masking needs it to."""
        if self.unit != "piece" and not marks.words:
            raise ValueError(f"mask_unit '{self.unit}': no piece of the vocabulary begins with '▁', or there is none")

    def apply(
        self,
        tokens_BT: NDArray[np.int64],
        rare_BT: NDArray[np.uint8] | None,
        stream_B: NDArray[np.uint64],
        row_B: NDArray[np.int64],
        drawn_B: NDArray[np.int64],
        vocabulary_size: int,
        marks: Marks,
        tickets: NDArray[np.uint8] | None = None,
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Masks rows in place; returns (flat positions, ascending; original ids) of what is predicted.

        `rare_BT`: 2 at the first piece of a rare word, 1 at its others, 0 elsewhere; wanted unless `rare` is 'plain'.
        `stream_B`, `row_B`: key of each row's window (`window_key`), and its number there; `drawn_B`: in the stream.
        `tickets`: of every id (`frequency.band_tickets`); wanted with `bands`.
        """
        rows, width = tokens_BT.shape
        # One more than rate * ordinary pieces is the most that a row can be asked for, but never more than it holds.
        size = min(rows * width, int(self.highest_rate * rows * width) + 2 * rows)
        index, target = np.empty(size, dtype=np.int64), np.empty(size, dtype=np.int64)
        rates, (mask_below, random_below) = self.rates(drawn_B), self.treatments()
        if self.unit == "piece" and self.rare == "plain" and not self.bands:
            m = mask(tokens_BT, stream_B, row_B, rates, mask_below, random_below, vocabulary_size, index, target)
        else:
            if rare_BT is None:
                rare_BT = np.zeros((rows, width), dtype=np.uint8)
            starts = (marks.flags & START) != 0 if self.unit != "piece" else np.ones(vocabulary_size, dtype=np.bool_)
            spans = span_shares() if self.unit == "span" else np.empty(0, dtype=np.uint64)
            if tickets is None:
                tickets = np.empty(0, dtype=np.uint8)
            m = mask_units(
                tokens_BT, rare_BT, self.rare != "spare", starts, LONGEST_WORD, spans, tickets, stream_B, row_B, rates,
                mask_below, random_below, vocabulary_size, index, target,
            )  # fmt: skip
        return index[:m], target[:m]


def span_shares() -> NDArray[np.uint64]:
    """Cumulated shares of spans of 1, 2, ... LONGEST_SPAN - 1 words, in 2^-32ths; what is left has LONGEST_SPAN."""
    shares = [SPAN_SHARE * (1 - SPAN_SHARE) ** k for k in range(LONGEST_SPAN)]
    total = sum(shares)
    return np.array([round(sum(shares[: k + 1]) / total * ONE) for k in range(LONGEST_SPAN - 1)], dtype=np.uint64)


def window_key(seed: int, epoch: int, window: int) -> int:
    """Key of the masks of a window; row r draws from draw(key, r)."""
    return key(Purpose.MASKS, seed, epoch, window)
