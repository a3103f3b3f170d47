"""Candidate pairs of one partition of buckets: leaders and neighbours, never all pairs of a big bucket."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit


@dataclass(frozen=True, slots=True)
class Report:
    """The buckets of a partition. Members with equal digest count once; a lone member makes no bucket."""

    buckets: int
    """Buckets with at least two members."""
    capped_buckets: int
    """Buckets in which some pairs were not formed."""
    largest: int
    """Members of the largest bucket."""

    def __add__(self, other: "Report") -> "Report":
        return Report(
            self.buckets + other.buckets,
            self.capped_buckets + other.capped_buckets,
            max(self.largest, other.largest),
        )


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


def candidate_pairs(
    keys: np.ndarray,
    rank: np.ndarray | Sequence[np.ndarray],
    ref: np.ndarray,
    digest: tuple[np.ndarray, np.ndarray],
    cap: int,
) -> tuple[np.ndarray, np.ndarray, Report]:
    """(left ref, right ref, report): the distinct pairs to verify, sorted; left comes earlier in the total order.

    keys: uint64 [m], the bucket of each row; all rows of a bucket must be there.
    rank: the total order, as int64 [m] or as its columns, most significant first (priority, id halves, ref).
    ref: uint64 [m].
    digest: two uint64 [m]; members with equal digest collapse to the first, for exact copies are settled elsewhere.
    cap: a member meets the first and the previous cap // 2 members. Buckets of up to cap + 1 (cap even) form all pairs;
    no member has more than `cap` earlier partners, so pairs <= m * cap whatever the text.
    """
    if cap < 2:
        raise ValueError(f"cap must be at least 2, found {cap}")
    columns = [rank] if isinstance(rank, np.ndarray) else list(rank)
    least_first = columns[::-1]

    order = np.lexsort((*least_first, digest[1], digest[0], keys))
    distinct = order[_run_starts(keys[order], digest[0][order], digest[1][order])]
    order = distinct[np.lexsort((*(column[distinct] for column in least_first), keys[distinct]))]

    starts = np.append(np.flatnonzero(_run_starts(keys[order])), len(order))
    sizes = np.diff(starts)
    half = cap // 2
    earlier = np.arange(len(order)) - np.repeat(starts[:-1], sizes)
    total = int(np.minimum(earlier, 2 * half).sum())
    left, right = np.empty(total, np.int64), np.empty(total, np.int64)
    _pair_kernel(starts, half, left, right)
    refs = ref[order]
    report = Report(
        buckets=int((sizes > 1).sum()),
        capped_buckets=int((sizes > 2 * half + 1).sum()),
        largest=int(sizes[sizes > 1].max(initial=0)),
    )
    return *unique_pairs(refs[left], refs[right]), report
