"""Which documents stay, told for every document: joins exact copies and verified near-duplicates."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipeline.dedup.jaccard import jaccard_of_pairs
from pipeline.dedup.order import total_order
from pipeline.dedup.resolve import resolve
from pipeline.dedup.shingles import Shingles

PART_BITS = np.uint64(32)
"""A ref is part << 32 | row: where a document lies, and one number for it."""


def refs_of_part(part: int, rows: int) -> np.ndarray:
    """uint64 [rows]: the refs of a part's documents."""
    return (np.uint64(part) << PART_BITS) + np.arange(rows, dtype=np.uint64)


def parts_of(refs: np.ndarray) -> np.ndarray:
    return (refs >> PART_BITS).astype(np.int64)


def rows_of(refs: np.ndarray) -> np.ndarray:
    return (refs & np.uint64(0xFFFFFFFF)).astype(np.int64)


@dataclass(frozen=True, slots=True)
class Drops:
    """The dropped documents, sorted by ref; everything else is kept."""

    ref: np.ndarray
    """uint64 [n]"""
    twin: np.ndarray
    """uint64 [n]: ref of the kept document that justifies the drop."""
    jaccard: np.ndarray
    """float64 [n]: exact, 1.0 for exact copies."""
    near: np.ndarray
    """bool [n]: false for exact copies of a kept document."""


@dataclass(frozen=True, slots=True)
class Candidates:
    """Documents that share a bucket with another one, sorted by ref, and the pairs to verify."""

    ref: np.ndarray
    """uint64 [n]"""
    priority: np.ndarray
    """uint16 [n]"""
    doc_id: pa.Array
    """string [n]"""
    shingles: Shingles
    left: np.ndarray
    """uint64 [pairs]: refs; left comes before right in the total order."""
    right: np.ndarray


def near_drops(candidates: Candidates, threshold: float) -> Drops:
    """Verifies every pair by exact Jaccard and resolves greedily in the total order."""
    count = len(candidates.ref)
    order = total_order(candidates.priority, candidates.doc_id, candidates.ref)
    rank = np.empty(count, np.int64)
    rank[order] = np.arange(count)
    left = np.searchsorted(candidates.ref, candidates.left)
    right = np.searchsorted(candidates.ref, candidates.right)
    jaccard = jaccard_of_pairs(candidates.shingles, left, right)
    twin, best = resolve(count, rank[left], rank[right], jaccard, threshold)
    dropped = np.flatnonzero(twin >= 0)
    ref = candidates.ref[order[dropped]]
    by_ref = np.argsort(ref)
    return Drops(
        ref[by_ref],
        candidates.ref[order[twin[dropped]]][by_ref],
        best[dropped][by_ref],
        np.ones(len(dropped), np.bool_),
    )


def join_exact(copies: np.ndarray, survivors: np.ndarray, near: Drops) -> Drops:
    """Adds the exact copies (refs and their survivors' refs) to the near drops.

    A copy whose survivor was itself dropped names the survivor's twin: equal digests mean equal shingle sets, so the
    Jaccard with that twin is the same.
    """
    if len(near.ref):
        place = np.minimum(np.searchsorted(near.ref, survivors), len(near.ref) - 1)
        moved = near.ref[place] == survivors
        twin = np.where(moved, near.twin[place], survivors)
        jaccard = np.where(moved, near.jaccard[place], 1.0)
    else:
        moved = np.zeros(len(copies), np.bool_)
        twin, jaccard = survivors, np.ones(len(copies))
    ref = np.concatenate([near.ref, copies])
    order = np.argsort(ref)
    return Drops(
        ref[order],
        np.concatenate([near.twin, twin])[order],
        np.concatenate([near.jaccard, jaccard])[order],
        np.concatenate([near.near, moved])[order],
    )
