"""Refs: where a document lies, as one number."""

import numpy as np

PART_BITS = np.uint64(32)
"""A ref is part << 32 | row."""


def refs_of_part(part: int, rows: int) -> np.ndarray:
    """uint64 [rows]: the refs of a part's documents."""
    return (np.uint64(part) << PART_BITS) + np.arange(rows, dtype=np.uint64)


def parts_of(refs: np.ndarray) -> np.ndarray:
    """int64 [n]"""
    return (refs >> PART_BITS).astype(np.int64)


def rows_of(refs: np.ndarray) -> np.ndarray:
    """int64 [n]"""
    return (refs & np.uint64(0xFFFFFFFF)).astype(np.int64)


def runs(values: np.ndarray) -> list[tuple[int, int, int]]:
    """(value, start, end) of each run of equal values of a sorted array."""
    found, starts = np.unique(values, return_index=True)
    ends = np.append(starts, len(values))[1:]
    return list(zip(found.tolist(), starts.tolist(), ends.tolist(), strict=True))


def find(table: np.ndarray, refs: np.ndarray) -> np.ndarray:
    """int64 [n]: where each ref stands in a sorted table, -1 where it does not."""
    if not len(table):
        return np.full(len(refs), -1, np.int64)
    place = np.minimum(np.searchsorted(table, refs), len(table) - 1)
    return np.where(table[place] == refs, place, -1)
