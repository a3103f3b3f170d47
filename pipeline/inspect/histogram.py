"""Counts of records by score, exact for every limit that has four significant digits, whatever the number of records.

Scores are rounded to four significant decimal digits towards the side that a rule drops. For a limit of that grid the
number of records beyond it is then exact, and memory depends on the range of the scores (9,000 bins a decade at most).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_DIGITS = 4
_LEAST, _MOST = -12, 22
_POWERS = np.array([float(f"1e{exponent}") for exponent in range(_LEAST, _MOST + 1)])
"""Powers of ten, correctly rounded; up to 1e22 they are exact."""


@dataclass(frozen=True)
class At:
    """The strictest limit that drops no more than `wanted` of the records that the rule applies to."""

    wanted: float
    limit: float
    drops: int
    alone: int
    """Of these, those that no other deciding rule drops."""


def on_grid(score: Floats, up: bool) -> Floats:
    """The nearest number of four significant digits at or below each score, or at or above it if `up`.

    Below 1e-9 the grid is coarser (steps of 1e-12); from 1e22 on and where it is not finite a score stays as it is.
    """
    if up:
        return 0.0 - on_grid(-score, False)  # no negative zero
    size = np.abs(score)
    some = np.isfinite(score) & (size < _POWERS[-1])
    x = score[some]
    exponent = np.searchsorted(_POWERS, size[some], side="right") - 1 + _LEAST
    # An integer of four digits divided or multiplied by an exact power of ten is the float that its decimals name.
    places = np.minimum(_DIGITS - 1 - exponent, -_LEAST)
    scale = _POWERS[np.abs(places) - _LEAST]

    def value(steps: Floats) -> Floats:
        return np.where(places >= 0, steps / scale, steps * scale)

    steps = np.floor(np.where(places >= 0, x * scale, x / scale))
    steps -= value(steps) > x
    steps += value(steps + 1) <= x
    result = score.copy()
    result[some] = value(steps) + 0.0
    return result


class Histogram:
    """Records by score on the grid; `alone` beside `all`."""

    MERGED = 1 << 16
    """Values that wait at least before they are merged, so that merging costs little for each table."""

    def __init__(self) -> None:
        self.value = np.empty(0)
        self.counts = np.zeros((2, 0), np.int64)
        """int64 [all, alone; n]"""
        self._waiting: list[tuple[Floats, npt.NDArray[np.int64]]] = []
        self._waits = 0

    def add(self, value: Floats, alone: npt.NDArray[np.bool_]) -> None:
        distinct, index = np.unique(value, return_inverse=True)
        counts = np.stack(
            [np.bincount(index, minlength=len(distinct)), np.bincount(index[alone], minlength=len(distinct))]
        )
        self._waiting.append((distinct, counts))
        self._waits += len(distinct)
        if self._waits > max(self.MERGED, len(self.value)):
            self.merge()

    def merge(self) -> None:
        values = np.concatenate([self.value, *(value for value, _ in self._waiting)])
        counts = np.concatenate([self.counts, *(count for _, count in self._waiting)], axis=1)
        self.value, index = np.unique(values, return_inverse=True)
        self.counts = np.stack([np.bincount(index, row, len(self.value)).astype(np.int64) for row in counts])
        self._waiting, self._waits = [], 0

    def at(self, wanted: Sequence[float], scored: int, minimum: bool) -> tuple[At, ...]:
        """The limits for the `wanted` shares of `scored` records; `merge` before."""
        if not len(self.value):
            return ()
        value, counts = (self.value, self.counts) if minimum else (self.value[::-1], self.counts[:, ::-1])
        beyond = np.concatenate([np.zeros((2, 1), np.int64), np.cumsum(counts, axis=1)[:, :-1]], axis=1)
        places = [int(np.searchsorted(beyond[0], share * scored, side="right")) - 1 for share in wanted]
        return tuple(
            At(share, float(value[place]), int(beyond[0, place]), int(beyond[1, place]))
            for share, place in zip(wanted, places, strict=True)
        )

    def quantiles(self) -> tuple[float | None, float | None, float | None]:
        """Least, median (the lower one) and greatest value; `merge` before."""
        if not len(self.value):
            return None, None, None
        total = np.cumsum(self.counts[0])
        middle = int(np.searchsorted(total, (total[-1] + 1) // 2))
        return float(self.value[0]), float(self.value[middle]), float(self.value[-1])
