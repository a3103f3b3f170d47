"""How long the clean texts are."""

import numpy as np

from pipeline.report.model import Lengths
from pipeline.report.rows import KEPT, QUARANTINED, Rows

FINE_PER_DECADE = 80
"""Fine bins, for quantiles: 3 % wide."""
PER_DECADE = 10
"""Bins that are shown; edges 10 ** (k / 10)."""
DECADES = 9
"""1 to 10^9 code points; longer texts count in the last bin."""
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)

_EDGES = np.round(10.0 ** (np.arange(FINE_PER_DECADE * DECADES + 1) / FINE_PER_DECADE), 6)


class LengthScan:
    """Adds up audit tables."""

    def __init__(self) -> None:
        self.fine = np.zeros((2, len(_EDGES) - 1), np.int64)
        """[kept or dropped, fine bin]"""
        self.empty = 0

    def add(self, rows: Rows) -> None:
        chars = rows.column("chars_out").to_numpy()
        self.empty += int((chars == 0).sum())
        told = (chars > 0) & (rows.verdict != QUARANTINED)
        bins = np.minimum(np.searchsorted(_EDGES, chars[told], side="right") - 1, self.fine.shape[1] - 1)
        side = (rows.verdict[told] != KEPT).astype(np.int64)
        self.fine += np.bincount(side * self.fine.shape[1] + bins, minlength=self.fine.size).reshape(self.fine.shape)

    def merge(self, other: "LengthScan") -> None:
        self.fine += other.fine
        self.empty += other.empty

    def summary(self) -> Lengths:
        """Empty bins at both ends are cut off."""
        step = FINE_PER_DECADE // PER_DECADE
        coarse = self.fine.reshape(2, -1, step).sum(axis=2)
        filled = np.flatnonzero(coarse.sum(axis=0))
        if not len(filled):
            return Lengths(edges=(), kept=(), dropped=(), empty=self.empty)
        first, last = int(filled[0]), int(filled[-1]) + 1
        kept, dropped = coarse[:, first:last].tolist()
        return Lengths(
            edges=tuple(_EDGES[first * step : last * step + 1 : step].tolist()),
            kept=tuple(kept),
            dropped=tuple(dropped),
            empty=self.empty,
            quantiles=self._quantiles(),
        )

    def _quantiles(self) -> tuple[tuple[float, float], ...]:
        cumulated = np.cumsum(self.fine[0])
        if not cumulated[-1]:
            return ()
        # Lengths are whole numbers: the least of them in the bin.
        places = np.searchsorted(cumulated, np.array(QUANTILES) * cumulated[-1])
        return tuple(zip(QUANTILES, np.ceil(_EDGES[places]).tolist(), strict=True))
