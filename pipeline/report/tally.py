"""Counts of names that a column holds, without a Python loop over rows."""

from collections import Counter
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Names = list[str | None]


def encoded(column: pa.Array) -> tuple[npt.NDArray[np.int64], Names]:
    """Number of each row's value, and the values by number; None for null."""
    found = column.dictionary_encode(null_encoding="encode")
    return found.indices.to_numpy().astype(np.int64), found.dictionary.to_pylist()


class Column:
    """One column of a table as numbers."""

    def __init__(self, column: pa.Array) -> None:
        self.codes, self.names = encoded(column)

    def where(self, wanted: Callable[[str | None], bool]) -> npt.NDArray[np.bool_]:
        """Rows whose value is wanted."""
        return np.array([wanted(name) for name in self.names], bool)[self.codes]


def count_pairs(
    into: Counter[tuple[str | None, str | None]],
    one: Column,
    two: Column,
    mask: npt.NDArray[np.bool_] | None = None,
    weights: npt.NDArray[np.int64] | None = None,
) -> None:
    """Adds how often each pair of values occurs in a row, or the weights of those rows."""
    pair = one.codes * len(two.names) + two.codes
    if mask is not None:
        pair = pair[mask]
        weights = None if weights is None else weights[mask]
    found, place, counts = np.unique(pair, return_inverse=True, return_counts=True)
    if weights is not None:
        counts = np.zeros(len(found), np.int64)
        np.add.at(counts, place, weights)
    for number, count in zip(found.tolist(), counts.tolist(), strict=True):
        into[one.names[number // len(two.names)], two.names[number % len(two.names)]] += count
