"""Exact copies: of the rows with equal digest the first in the total order survives."""

from typing import TypeAlias

import numpy as np
import pyarrow as pa

from pipeline.dedup.normalize import DIGEST_BYTES

Digests: TypeAlias = pa.Array | tuple[np.ndarray, np.ndarray]
"""fixed_size_binary(16) [n], or its two uint64 [n] halves."""


def digest_words(digests: Digests) -> tuple[np.ndarray, np.ndarray]:
    """The two halves, big-endian, as uint64 [n]. Raises TypeError for another Arrow type, ValueError for nulls."""
    if isinstance(digests, tuple):
        return digests
    if digests.type != pa.binary(DIGEST_BYTES):
        raise TypeError(f"digests must be fixed_size_binary({DIGEST_BYTES}), found {digests.type}")
    if digests.null_count:
        raise ValueError(f"digests must not be null; {digests.null_count} of {len(digests)} are")
    if not len(digests):
        return np.zeros(0, np.uint64), np.zeros(0, np.uint64)
    words = np.frombuffer(digests.buffers()[1], ">u8", 2 * len(digests), digests.offset * DIGEST_BYTES)
    words = words.astype(np.uint64).reshape(-1, 2)
    return words[:, 0].copy(), words[:, 1].copy()


def exact_copies(digests: Digests, ranks: np.ndarray) -> np.ndarray:
    """int64 [n]: for each row the index of its survivor, the row itself where it survives.

    digests: of the normalised texts; all copies of a text must be among the rows (one hash partition).
    ranks: int64 [n], distinct positions in the total order.
    """
    high, low = digest_words(digests)
    order = np.lexsort((ranks, low, high))
    high, low = high[order], low[order]
    first = np.ones(len(order), np.bool_)
    first[1:] = (high[1:] != high[:-1]) | (low[1:] != low[:-1])
    survivor = np.empty(len(order), np.int64)
    survivor[order] = order[np.flatnonzero(first)[np.cumsum(first) - 1]]
    return survivor
