"""Histograms of values whose range is not known before the last of them has been seen, in bounded memory."""

import numpy as np

from pipeline.report.model import RuleHistogram

_SHIFT = 17
"""Of a float32 sign, exponent and 6 bits of the fraction are kept: values within 1.6 % count together."""
_CODES = 1 << (32 - _SHIFT)
WIDTH = 1 / 64
"""Relative width of what counts together."""
BINS = 24
OUTSIDE = 0.005
"""Share of the values at either end that may lie in the outermost bin, whatever they are."""
LOG_FROM = 50.0
"""Greatest over least value from which on bins are of equal width in the logarithm."""


class ScoreHistogram:
    """Adds up values by the first bits of their float32: the sum does not depend on order or on how they are cut."""

    def __init__(self) -> None:
        self.codes: np.ndarray | None = None

    def add(self, values: np.ndarray) -> None:
        """Infinities and NaN are left out."""
        bits = values[np.isfinite(values)].astype(np.float32).view(np.uint32) >> _SHIFT
        counts = np.bincount(bits, minlength=_CODES)
        self.codes = counts if self.codes is None else self.codes + counts

    def summary(self, marks: tuple[float, ...]) -> RuleHistogram | None:
        """At most BINS bins, around all but OUTSIDE of the values at each end and `marks`; None without values."""
        filled = np.flatnonzero(self.codes) if self.codes is not None else np.zeros(0, np.int64)
        if self.codes is None or not len(filled):
            return None
        values, counts = _middles(filled), self.codes[filled]
        order = np.argsort(values, kind="stable")
        values, counts = values[order], counts[order]
        share = np.cumsum(counts) / counts.sum()
        inner = values[np.searchsorted(share, OUTSIDE) : np.searchsorted(share, 1 - OUTSIDE) + 1]
        known = [float(mark) for mark in marks if np.isfinite(mark)]
        low, high = min([float(inner[0]), *known]), max([float(inner[-1]), *known])
        edges, log = _edges(low, high)
        places = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)
        binned = np.bincount(places, weights=counts, minlength=len(edges) - 1).astype(np.int64)
        return RuleHistogram(edges=tuple(edges.tolist()), counts=tuple(binned.tolist()), log=log)


def _middles(codes: np.ndarray) -> np.ndarray:
    """The value that stands for a code; zero for that of zero."""
    bits = codes.astype(np.uint32) << np.uint32(_SHIFT)
    middle = (bits | np.uint32(1 << (_SHIFT - 1))).view(np.float32).astype(np.float64)
    return np.where(np.abs(middle) < 1e-30, 0.0, middle)


def _edges(low: float, high: float) -> tuple[np.ndarray, bool]:
    """Bins from `low` to `high`, none narrower than what is counted together; whether they are logarithmic."""
    if low > 0 and high / low > LOG_FROM:
        return np.geomspace(low, high * (1 + WIDTH), BINS + 1), True
    largest = max(abs(low), abs(high))
    if not largest:
        return np.array([-0.5, 0.5]), False
    bins = int(np.clip((high - low) / (largest * WIDTH * 1.5), 4, BINS))
    pad = max(largest * WIDTH, (high - low) * 1e-6)
    return np.linspace(low - (pad if low else 0.0), high + pad, bins + 1), False
