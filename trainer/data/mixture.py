"""Which source each row of a mixture comes from: a pure function of the row's number.

Within a stretch of constant weights the sources take turns in a fixed pattern in which, after any number of rows, each
source has had its share to within one row (Tijdeman, "The chairman assignment problem", Discrete Mathematics 32, 1980:
the deviation stays below 1 - 1 / (2n - 2) for n sources). The pattern is as long as the smallest common denominator of
the shares, so that any row is looked up in O(1) within its stretch, and stretches are found by bisection.
"""

from bisect import bisect_right
from collections.abc import Sequence
from fractions import Fraction
from math import gcd, lcm
from typing import Final

import numba
import numpy as np
from numpy.typing import NDArray

LONGEST_PATTERN: Final = 1 << 16
"""Shares with a larger common denominator are rounded to 65,536ths."""


class MixtureError(ValueError):
    """Weights that make no mixture."""


@numba.njit(cache=True, nogil=True)
def _tijdeman(parts: np.ndarray, total: int) -> np.ndarray:
    """Source of each of `total` rows; source i gets parts[i] of them."""
    n = len(parts)
    out = np.empty(total, dtype=np.int16)
    had = np.zeros(n, dtype=np.int64)
    scale = 2 * n - 2
    for row in range(total):
        best, best_due = -1, 0.0
        for i in range(n):
            if parts[i] == 0:
                continue
            # In units of 1 / (total * scale) rows.
            behind = (parts[i] * (row + 1) - had[i] * total) * scale
            if behind >= total:
                due = (total * scale - total - behind) / parts[i]
                if best < 0 or due < best_due:
                    best, best_due = i, due
        out[row] = best
        had[best] += 1
    return out


class Pattern:
    """The turns of sources with fixed shares. Raises MixtureError unless the weights are >= 0 and one is above 0."""

    def __init__(self, weights: Sequence[float]) -> None:
        if not weights or any(not 0 <= w < float("inf") for w in weights) or not any(weights):
            raise MixtureError(f"weights {list(weights)}: none may be below 0, and one must be above 0")
        exact = [Fraction(str(weight)) for weight in weights]
        shares = [weight / sum(exact) for weight in exact]
        total = lcm(*(share.denominator for share in shares))
        if total > LONGEST_PATTERN:
            total = LONGEST_PATTERN
            floors = [share * total // 1 for share in shares]
            by_rest = sorted(range(len(shares)), key=lambda i: (floors[i] - shares[i] * total, i))
            for i in by_rest[: total - sum(floors)]:
                floors[i] += 1
            parts = [int(part) for part in floors]
        else:
            parts = [int(share * total) for share in shares]
        divisor = gcd(*parts)
        self.parts: NDArray[np.int64] = np.array(parts, dtype=np.int64) // divisor
        """Rows of each source in one run of the pattern."""
        self.length = total // divisor
        if np.count_nonzero(self.parts) == 1:
            self._sources = np.full(self.length, int(np.argmax(self.parts)), dtype=np.int16)
        else:
            self._sources = _tijdeman(self.parts, self.length)
        one_hot = self._sources[:, None] == np.arange(len(parts))
        self._before = np.zeros((self.length + 1, len(parts)), dtype=np.int32)
        np.cumsum(one_hot, axis=0, out=self._before[1:])

    def sources(self, first: int, count: int) -> NDArray[np.int16]:
        """Sources of rows [first, first + count)."""
        return self._sources[np.arange(first, first + count) % self.length]

    def counts(self, rows: int) -> NDArray[np.int64]:
        """Rows of each source among the first `rows`."""
        runs, rest = divmod(rows, self.length)
        return self.parts * runs + self._before[rest]

    def rows_until(self, source: int, count: int) -> int:
        """Fewest rows among which `source` (its share above 0) has `count`."""
        if count <= 0:
            return 0
        runs, rest = divmod(count - 1, int(self.parts[source]))
        return runs * self.length + int(np.searchsorted(self._before[:, source], rest + 1))


class Mixture:
    """Sources by row over a run whose weights change at given rows, and whose sources may end.

    `schedule`: (first row, weights) in rising order, the first at row 0. `limits`: rows after which a source is used up
    (its place is then taken by the others, by their weights), or None.
    """

    def __init__(self, schedule: Sequence[tuple[int, Sequence[float]]], limits: Sequence[int | None]) -> None:
        starts = [first for first, _ in schedule]
        if not starts or starts[0] != 0 or sorted(set(starts)) != starts:
            raise MixtureError(f"weights change at rows {starts}: they must rise from 0")
        if any(len(weights) != len(limits) for _, weights in schedule):
            raise MixtureError(f"a weight for each of the {len(limits)} sources is needed")
        self._starts: list[int] = []
        self._patterns: list[Pattern] = []
        self._had: list[NDArray[np.int64]] = []
        self.length: int | None = None
        """Rows until every source is used up, or None where one never is."""
        had, at = np.zeros(len(limits), dtype=np.int64), 0
        ended: set[int] = set()
        for k, (_, weights) in enumerate(schedule):
            stop = schedule[k + 1][0] if k + 1 < len(schedule) else None
            Pattern(weights)  # wrong weights are told as they were given
            while stop is None or at < stop:
                left = [0.0 if i in ended else w for i, w in enumerate(weights)]
                if not any(left):
                    self.length = at
                    return
                pattern = Pattern(left)
                self._starts.append(at)
                self._patterns.append(pattern)
                self._had.append(had)
                ends = {
                    i: pattern.rows_until(i, limit - int(had[i]))
                    for i, limit in enumerate(limits)
                    if limit is not None and i not in ended and pattern.parts[i]
                }
                rows = min(ends.values(), default=None)
                if rows is None and stop is None:
                    return
                if stop is not None and (rows is None or at + rows > stop):
                    rows = stop - at
                assert rows is not None
                had, at = had + pattern.counts(rows), at + rows
                ended |= {i for i, limit in enumerate(limits) if limit is not None and had[i] >= limit}

    def sources(self, first: int, count: int) -> NDArray[np.int16]:
        """Sources of rows [first, first + count), fewer where the mixture ends before."""
        if self.length is not None:
            count = max(0, min(count, self.length - first))
        out = [np.empty(0, dtype=np.int16)]
        k = bisect_right(self._starts, first) - 1
        while count:
            end = self._starts[k + 1] if k + 1 < len(self._starts) else first + count
            taken = min(count, end - first)
            out.append(self._patterns[k].sources(first - self._starts[k], taken))
            first, count, k = first + taken, count - taken, k + 1
        return np.concatenate(out)

    def counts(self, rows: int) -> NDArray[np.int64]:
        """Rows of each source among the first `rows`, by O(log stretches)."""
        if self.length is not None:
            rows = min(rows, self.length)
        k = bisect_right(self._starts, rows) - 1
        return self._had[k] + self._patterns[k].counts(rows - self._starts[k])
