"""Exact overlap of shingle sets. No document is dropped on an estimate."""

import numpy as np
from numba import njit

from pipeline.dedup.shingles import Shingles


@njit(nogil=True, cache=True)
def _overlap_kernel(values, offsets, left, right, out):  # type: ignore[no-untyped-def]
    for pair in range(len(left)):
        i, i_end = offsets[left[pair]], offsets[left[pair] + 1]
        j, j_end = offsets[right[pair]], offsets[right[pair] + 1]
        common = 0
        while i < i_end and j < j_end:
            x, y = values[i], values[j]
            common += x == y  # without branches: which side is less is a coin toss
            i += x <= y
            j += y <= x
        out[pair] = common


def overlap_of_pairs(shingles: Shingles, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """int64 [pairs]: the size of each pair's intersection. left, right: int64 [pairs], indices of documents.

    Raises IndexError for an index outside 0 .. documents - 1.
    """
    for name, index in (("left", left), ("right", right)):
        if len(index) and not (index.min() >= 0 and index.max() < len(shingles)):
            raise IndexError(f"{name} holds {index.min()}..{index.max()}; there are {len(shingles)} shingle sets")
    out = np.empty(len(left), np.int64)
    _overlap_kernel(shingles.values, shingles.offsets, left, right, out)
    return out


def jaccard_of_pairs(shingles: Shingles, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """float64 [pairs]: |A ∩ B| / |A ∪ B|; 0 where both sets are empty, for nothing then speaks for a copy."""
    common = overlap_of_pairs(shingles, left, right)
    counts = shingles.counts
    union = counts[left] + counts[right] - common
    return common / np.maximum(union, 1)
