"""Choosing a few rows of a corpus that never fits in memory: the nearest by a key, ties by doc_id, then by record."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.report.model import Example
from pipeline.report.visible import cut

TEXT_LIMIT = 240
"""Code points of an excerpt or a detail that the report keeps: bounds its size whatever the documents hold."""
NAME_LIMIT = 160
"""Code points of a record, source, rule or word that the report keeps."""


def positions(column: pa.ChunkedArray, names: list[str] | tuple[str, ...]) -> np.ndarray:
    """Position of each value in `names`, -1 where it is null or another."""
    found = pc.index_in(column, value_set=pa.array(names, pa.string()))
    return found.combine_chunks().fill_null(-1).to_numpy()


class Order:
    """Total order of the rows of one audit table by (doc_id, record), the first row of each (doc_id, verdict) marked.

    Raw copies of a document share doc_id, verdict of the rules and scores; a reader learns nothing from seeing
    three of them, so only the first may become an example.
    """

    def __init__(self, table: pa.Table) -> None:
        rows = len(table)
        order = pc.sort_indices(table, sort_keys=[("doc_id", "ascending"), ("record", "ascending")]).to_numpy()
        self.rank = np.empty(rows, np.int64)
        self.rank[order] = np.arange(rows)
        document, verdict = (_codes(table[name])[order].astype(np.int64) for name in ("doc_id", "verdict"))
        _, index = np.unique(document * 8 + verdict, return_index=True)
        self.first = np.zeros(rows, bool)
        self.first[order[index]] = True

    def nearest(self, rows: np.ndarray, distance: np.ndarray, count: int) -> np.ndarray:
        """Positions in `rows` of the `count` least distances, ties by rank; only first rows take part."""
        candidates = np.flatnonzero(self.first[rows])
        if len(candidates) > count:
            values = distance[candidates]
            bound = np.partition(values, count - 1)[count - 1]
            candidates = candidates[values <= bound]
        order = np.lexsort((self.rank[rows[candidates]], distance[candidates]))
        return candidates[order[:count]]


def _codes(column: pa.ChunkedArray) -> np.ndarray:
    return column.combine_chunks().dictionary_encode().indices.to_numpy()


class Nearest:
    """Keeps the `count` least (distance, doc_id, record) with distinct doc_id over any number of tables."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._best: dict[str, tuple[tuple[float, str, str], Any]] = {}

    def offer(self, table: pa.Table, row: int, distance: float, make: Callable[[], Any]) -> None:
        """`make` builds the value to keep; it runs only where the row is among the best so far."""
        doc_id = table["doc_id"][row].as_py()
        key = (float(distance), doc_id, table["record"][row].as_py())
        if doc_id in self._best:
            if key >= self._best[doc_id][0]:
                return
        elif len(self._best) >= self.count:
            worst = max(held for held, _ in self._best.values())
            if key >= worst:
                return
            del self._best[worst[1]]
        self._best[doc_id] = (key, make())

    def values(self) -> tuple[Any, ...]:
        return tuple(value for _, value in sorted(self._best.values(), key=lambda item: item[0]))


def example(table: pa.Table, row: int, score: float | None = None, limit: float | None = None) -> Example:
    """The row of an audit table as an example, every text cut."""

    def text(name: str, length: int) -> str:
        return cut(table[name][row].as_py() or "", length)

    return Example(
        record=text("record", NAME_LIMIT),
        doc_id=text("doc_id", NAME_LIMIT),
        source=text("source", NAME_LIMIT),
        detail=text("detail", TEXT_LIMIT),
        excerpt=text("excerpt", TEXT_LIMIT),
        score=None if score is None else float(score),
        limit=None if limit is None else float(limit),
    )
