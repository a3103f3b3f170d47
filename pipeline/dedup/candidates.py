"""Candidate pairs of one partition of buckets: leaders and neighbours, never all pairs of a big bucket."""

from dataclasses import dataclass

import numpy as np
from numba import njit


@dataclass(frozen=True, slots=True)
class Report:
    """The buckets of a partition; a lone member makes no bucket."""

    buckets: int
    """Buckets with at least two members."""
    capped_buckets: int
    """Buckets in which some pairs were not formed."""
    largest: int
    """Members of the largest bucket."""


def _run_starts(*columns: np.ndarray) -> np.ndarray:
    """bool [n]: rows of sorted columns that differ from the row before."""
    first = np.ones(len(columns[0]), np.bool_)
    if len(first):
        first[1:] = np.logical_or.reduce([column[1:] != column[:-1] for column in columns])
    return first


@njit(nogil=True, cache=True)
def _pair_kernel(starts, half, left, right):  # type: ignore[no-untyped-def]
    """Rows (sorted by bucket and total order) that meet; returns how many pairs were written."""
    pairs = 0
    for bucket in range(len(starts) - 1):
        first = starts[bucket]
        for member in range(first + 1, starts[bucket + 1]):
            leaders = min(first + half, member)
            for earlier in range(first, leaders):
                left[pairs] = earlier
                right[pairs] = member
                pairs += 1
            for earlier in range(max(leaders, member - half), member):
                left[pairs] = earlier
                right[pairs] = member
                pairs += 1
    return pairs


def unique_pairs(left: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distinct (left, right), sorted by left, then right."""
    order = np.lexsort((right, left))
    left, right = left[order], right[order]
    first = _run_starts(left, right)
    return left[first], right[first]


@dataclass(frozen=True, slots=True)
class Overfull:
    """Buckets in which some pairs were not formed: their members, bucket by bucket, each in the total order."""

    key: np.ndarray
    """uint64 [members]"""
    ref: np.ndarray
    """uint64 [members]"""


def candidate_pairs(
    keys: np.ndarray, order: np.ndarray, ref: np.ndarray, cap: int
) -> tuple[np.ndarray, np.ndarray, Report, Overfull]:
    """(left ref, right ref, report, overfull): the distinct pairs to verify, sorted; left is first in the total order.

    keys: uint64 [m], the bucket of each row; all rows of a bucket must be there, and no exact copies among them.
    order, ref: uint64 [m], the total order.
    cap: a member meets the first and the previous cap // 2 members. Buckets of up to cap + 1 (cap even) form all pairs;
    no member has more than `cap` earlier partners, so pairs <= m * cap whatever the text.
    """
    if cap < 2:
        raise ValueError(f"cap must be at least 2, found {cap}")
    rows = np.lexsort((ref, order, keys))
    keys, refs = keys[rows], ref[rows]
    starts = np.append(np.flatnonzero(_run_starts(keys)), len(rows))
    sizes = np.diff(starts)
    half = cap // 2
    earlier = np.arange(len(rows)) - np.repeat(starts[:-1], sizes)
    total = int(np.minimum(earlier, 2 * half).sum())
    left, right = np.empty(total, np.int64), np.empty(total, np.int64)
    _pair_kernel(starts, half, left, right)
    capped = sizes > 2 * half + 1
    report = Report(int((sizes > 1).sum()), int(capped.sum()), int(sizes[sizes > 1].max(initial=0)))
    crowded = np.repeat(capped, sizes)
    return *unique_pairs(refs[left], refs[right]), report, Overfull(keys[crowded], refs[crowded])
