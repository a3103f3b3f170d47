import time
from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.dedup.candidates import Report, candidate_pairs, unique_pairs

Row = tuple[int, int]  # key, rank; the ref is made from the rank


def ref_of(rank: int) -> int:
    return (rank * 0x9E3779B97F4A7C15 + 1) & ((1 << 64) - 1)


def reference(rows: list[Row], cap: int) -> tuple[list[Row], Report, list[Row]]:
    buckets: dict[int, list[int]] = defaultdict(list)
    for key, rank in sorted(rows):
        buckets[key].append(rank)
    half, pairs, overfull = cap // 2, set(), []
    for key, members in buckets.items():
        for j in range(len(members)):
            for i in range(j):
                if i < half or j - i <= half:
                    pairs.add((ref_of(members[i]), ref_of(members[j])))
        if len(members) > 2 * half + 1:
            overfull += [(key, ref_of(rank)) for rank in members]
    sizes = [len(members) for members in buckets.values() if len(members) > 1]
    report = Report(len(sizes), sum(size > 2 * half + 1 for size in sizes), max(sizes, default=0))
    return sorted(pairs), report, overfull


def run(rows: list[Row], cap: int) -> tuple[list[Row], Report, list[Row]]:
    key, rank = (np.array(column) for column in zip(*rows, strict=True)) if rows else [np.zeros(0, int)] * 2
    ref = np.array([ref_of(int(value)) for value in rank], np.uint64)
    left, right, report, overfull = candidate_pairs(key.astype(np.uint64), rank.astype(np.uint64), ref, cap)
    assert left.dtype == right.dtype == np.uint64
    members = list(zip(overfull.key.tolist(), overfull.ref.tolist(), strict=True))
    return list(zip(left.tolist(), right.tolist(), strict=True)), report, members


rows_strategy = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 40)), max_size=60, unique_by=lambda row: row
).flatmap(lambda rows: st.permutations(rows))


@settings(max_examples=150, deadline=None)
@given(rows_strategy, st.integers(2, 9))
def test_equals_reference_in_any_row_order(rows: list[Row], cap: int) -> None:
    assert run(rows, cap) == reference(rows, cap)


@pytest.mark.parametrize("size", [2, 3, 9, 16, 17])
def test_small_buckets_form_all_pairs(size: int) -> None:
    pairs, report, overfull = run([(5, rank) for rank in range(size)], 16)
    assert len(pairs) == size * (size - 1) // 2
    assert report == Report(1, 0, size)
    assert overfull == []


def test_a_big_bucket_is_bounded() -> None:
    m, cap = 5000, 16
    ref = np.random.default_rng(1).permutation(m).astype(np.uint64)
    key = np.zeros(m, np.uint64)
    candidate_pairs(key[:4], ref[:4], ref[:4], cap)  # compiled before the clock starts
    start = time.perf_counter()
    left, right, report, overfull = candidate_pairs(key, ref, ref, cap)
    assert time.perf_counter() - start < 1  # 5 ms here; all 12.5 million pairs would not pass
    assert report == Report(1, 1, m)
    assert overfull.ref.tolist() == list(range(m))
    assert np.bincount(right.astype(np.int64)).max() == cap
    assert len(left) <= m * cap
    # Everyone meets the leaders and the neighbour before.
    pairs = set(zip(left.tolist(), right.tolist(), strict=True))
    assert {(0, j) for j in range(1, m)} | {(j - 1, j) for j in range(1, m)} <= pairs


def test_unique_pairs() -> None:
    left, right = unique_pairs(np.array([3, 1, 3, 1], np.uint64), np.array([4, 9, 4, 2], np.uint64))
    assert (left.tolist(), right.tolist()) == ([1, 1, 3], [2, 9, 4])


def test_cap_below_two() -> None:
    with pytest.raises(ValueError, match="at least 2"):
        run([(1, 0)], 1)
