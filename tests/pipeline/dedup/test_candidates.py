import time
from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.dedup.candidates import Report, candidate_pairs, unique_pairs

Row = tuple[int, int, int]  # key, rank, digest; the ref is made from the rank


def ref_of(rank: int) -> int:
    return (rank * 0x9E3779B97F4A7C15 + 1) & ((1 << 64) - 1)


def reference(rows: list[Row], cap: int) -> tuple[list[tuple[int, int]], Report]:
    buckets: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for key, rank, digest in sorted(rows):
        if digest not in [other for _, other in buckets[key]]:
            buckets[key].append((rank, digest))
    half, pairs = cap // 2, set()
    for members in buckets.values():
        for j in range(len(members)):
            for i in range(j):
                if i < half or j - i <= half:
                    pairs.add((ref_of(members[i][0]), ref_of(members[j][0])))
    sizes = [len(members) for members in buckets.values() if len(members) > 1]
    return sorted(pairs), Report(len(sizes), sum(size > 2 * half + 1 for size in sizes), max(sizes, default=0))


def run(rows: list[Row], cap: int) -> tuple[list[tuple[int, int]], Report]:
    key, rank, digest = (np.array(column) for column in zip(*rows, strict=True)) if rows else [np.zeros(0, int)] * 3
    ref = np.array([ref_of(int(value)) for value in rank], np.uint64)
    digests = (digest.astype(np.uint64), np.full(len(rows), 9, np.uint64))
    left, right, report = candidate_pairs(key.astype(np.uint64), rank.astype(np.int64), ref, digests, cap)
    assert left.dtype == right.dtype == np.uint64
    return list(zip(left.tolist(), right.tolist(), strict=True)), report


rows_strategy = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 40)), max_size=60, unique_by=lambda row: row
).flatmap(lambda rows: st.permutations(rows))


@settings(max_examples=150, deadline=None)
@given(rows_strategy, st.integers(2, 9), st.integers(1, 50))
def test_equals_reference_in_any_row_order(keyed: list[tuple[int, int]], cap: int, texts: int) -> None:
    rows = [(key, rank, rank % texts) for key, rank in keyed]  # fewer texts than documents: copies
    assert run(rows, cap) == reference(rows, cap)


@pytest.mark.parametrize("size", [2, 3, 9, 16, 17])
def test_small_buckets_form_all_pairs(size: int) -> None:
    pairs, report = run([(5, rank, rank) for rank in range(size)], 16)
    assert len(pairs) == size * (size - 1) // 2
    assert report == Report(1, 0, size)


def test_copies_meet_others_through_their_first_alone() -> None:
    pairs, report = run([(1, 0, 7), (1, 1, 8), (1, 2, 7), (1, 3, 7)], 16)
    assert pairs == [(ref_of(0), ref_of(1))]
    assert report == Report(1, 0, 2)


def test_order_columns_equal_ranks() -> None:
    generator = np.random.default_rng(2)
    m = 500
    keys = generator.integers(0, 20, m).astype(np.uint64)
    priority, high = generator.integers(0, 2, m).astype(np.uint16), generator.integers(0, 9, m).astype(np.uint64)
    ref = generator.permutation(m).astype(np.uint64)
    digest = (ref, ref)
    rank = np.empty(m, np.int64)
    rank[np.lexsort((ref, high, priority))] = np.arange(m)
    by_columns = candidate_pairs(keys, [priority, high, ref], ref, digest, 8)
    by_rank = candidate_pairs(keys, rank, ref, digest, 8)
    assert np.array_equal(by_columns[0], by_rank[0])
    assert np.array_equal(by_columns[1], by_rank[1])
    assert by_columns[2] == by_rank[2]
    place = np.empty(m, np.int64)
    place[ref.astype(np.int64)] = rank
    assert (place[by_rank[0].astype(np.int64)] < place[by_rank[1].astype(np.int64)]).all()


def test_a_big_bucket_is_bounded() -> None:
    m, cap = 5000, 16
    rank = np.random.default_rng(1).permutation(m)
    ref = rank.astype(np.uint64)
    key = np.zeros(m, np.uint64)
    candidate_pairs(key[:4], rank[:4], ref[:4], (ref[:4], ref[:4]), cap)  # compiled before the clock starts
    start = time.perf_counter()
    left, right, report = candidate_pairs(key, rank, ref, (ref, ref), cap)
    assert time.perf_counter() - start < 1  # 5 ms here; all 12.5 million pairs would not pass
    assert report == Report(1, 1, m)
    assert np.bincount(right.astype(np.int64)).max() == cap
    assert len(left) <= m * cap
    # Everyone meets the leaders and the neighbour before.
    pairs = set(zip(left.tolist(), right.tolist(), strict=True))
    assert {(0, j) for j in range(1, m)} | {(j - 1, j) for j in range(1, m)} <= pairs


def test_a_big_bucket_of_copies_gives_no_pairs() -> None:
    m = 5000
    same = np.zeros(m, np.uint64)
    left, _, report = candidate_pairs(same, np.arange(m), np.arange(m, dtype=np.uint64), (same, same), 16)
    assert len(left) == 0
    assert report == Report(0, 0, 0)


def test_reports_add_up() -> None:
    assert Report(2, 1, 40) + Report(3, 0, 7) == Report(5, 1, 40)


def test_unique_pairs() -> None:
    left, right = unique_pairs(np.array([3, 1, 3, 1], np.uint64), np.array([4, 9, 4, 2], np.uint64))
    assert (left.tolist(), right.tolist()) == ([1, 1, 3], [2, 9, 4])


def test_cap_below_two() -> None:
    with pytest.raises(ValueError, match="at least 2"):
        run([(1, 0, 0)], 1)
