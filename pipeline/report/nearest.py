"""Choosing a few rows of a corpus that never fits in memory: least distance first, then by doc_id, then by record."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.report.rows import Rows


@dataclass(frozen=True, order=True)
class Near:
    """A chosen row."""

    distance: float
    high: int
    """Halves of the doc_id."""
    low: int
    tie: int
    """Hash of the record."""
    place: int
    """See `rows.fetch`."""


class Nearest:
    """Keeps the `count` least rows with distinct doc_id over any number of tables, in whatever order they come.

    Raw copies of a document share their doc_id; a reader learns nothing from seeing three of them.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._held: list[Near] = []

    def offer(self, rows: Rows, which: npt.NDArray[np.int64], distance: npt.NDArray[np.float64] | None = None) -> None:
        """which: row numbers; distance: of each of them, 0 if not given."""
        if not len(which):
            return
        keys = rows.keys
        distance = np.zeros(len(which)) if distance is None else distance
        high, low = keys.high[which], keys.low[which]
        if len(self._held) == self.count:
            worst = self._held[-1]
            near = (distance < worst.distance) | ((distance == worst.distance) & (high <= np.uint64(worst.high)))
            which, distance, high, low = which[near], distance[near], high[near], low[near]
        order = np.lexsort((keys.tie[which], low, high, distance))
        seen: set[tuple[int, int]] = set()
        for slot in order[_distinct(high[order], low[order])].tolist():
            document = int(high[slot]), int(low[slot])
            if document not in seen:
                seen.add(document)
                row = int(which[slot])
                self._insert(Near(float(distance[slot]), *document, int(keys.tie[row]), rows.first + row))
            if len(seen) == self.count:
                return

    def _insert(self, item: Near) -> None:
        twin = next((held for held in self._held if (held.high, held.low) == (item.high, item.low)), None)
        if twin is not None:
            if twin <= item:
                return
            self._held.remove(twin)
        self._held = sorted([*self._held, item])[: self.count]

    def merge(self, other: "Nearest") -> None:
        for item in other._held:
            self._insert(item)

    def values(self) -> list[Near]:
        """The least first."""
        return list(self._held)


def _distinct(high: npt.NDArray[np.uint64], low: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
    """False where a row is of the same document as the one before it."""
    different = np.ones(len(high), bool)
    different[1:] = (high[1:] != high[:-1]) | (low[1:] != low[:-1])
    return different
