"""Exact copies and near-duplicates joined: every drop names a kept document that it resembles."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.dedup.decide import EXACT, NEAR, Edges, join_exact, near_drops, near_twins
from pipeline.dedup.refs import find, parts_of, refs_of_part, rows_of, runs


def jaccard(a: set[int], b: set[int]) -> float:
    return len(a & b) / len(a | b)


def edges(sets: list[set[int]], threshold: float, order: list[int] | None = None) -> Edges:
    """All pairs at or above the threshold; documents are rows of part 3, `order` their order keys."""
    order = list(range(len(sets))) if order is None else order
    refs = refs_of_part(3, len(sets))
    pairs = []
    for i in range(len(sets)):
        for j in range(len(sets)):
            if (order[i], i) < (order[j], j) and jaccard(sets[i], sets[j]) >= threshold:
                pairs.append((i, j))
    left, right = np.array(pairs or np.empty((0, 2)), np.int64).T
    keys = np.array(order, np.uint64)
    values = np.array([jaccard(sets[i], sets[j]) for i, j in pairs])
    return Edges(refs[left], refs[right], keys[left], keys[right], values)


def test_refs_round_trip():
    refs = refs_of_part(70_000, 5)
    assert parts_of(refs).tolist() == [70_000] * 5
    assert rows_of(refs).tolist() == [0, 1, 2, 3, 4]
    assert find(refs, np.array([refs[3], 7, refs[0]], np.uint64)).tolist() == [3, -1, 0]
    assert find(refs[:0], refs).tolist() == [-1] * 5
    assert runs(np.array([2, 2, 7])) == [(2, 0, 2), (7, 2, 3)]
    assert runs(refs[:0]) == []


def test_a_chain_keeps_its_far_end():
    a, b, c = set(range(0, 10)), set(range(1, 11)), set(range(3, 13))
    ref, twin, value = near_twins(edges([a, b, c], 0.6))
    assert rows_of(ref).tolist() == [1]
    assert rows_of(twin).tolist() == [0]
    assert value.tolist() == [9 / 11]


def test_copies_of_a_dropped_document_name_its_twin():
    near = near_drops(*near_twins(edges([set(range(10)), set(range(1, 11))], 0.8)))
    other = refs_of_part(1, 3)
    copies = np.array([other[0], other[2]])
    survivors = np.array([refs_of_part(3, 2)[1], other[1]])
    joined = join_exact(copies, survivors, near)
    found = dict(zip(joined.ref.tolist(), zip(joined.twin.tolist(), joined.kind.tolist(), strict=True), strict=True))
    kept = int(refs_of_part(3, 1)[0])
    assert found[int(other[0])] == (kept, NEAR)
    assert found[int(other[2])] == (int(other[1]), EXACT)
    assert np.all(np.diff(joined.ref.astype(np.int64)) > 0)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sets(st.integers(0, 12), min_size=1, max_size=8), min_size=2, max_size=12),
    st.sampled_from([0.4, 0.6, 1.0]),
    st.randoms(use_true_random=False),
)
def test_every_drop_is_justified_and_no_kept_pair_is_too_close(sets, threshold, random):
    order = [random.randrange(6) for _ in sets]
    ref, twin, value = near_twins(edges(sets, threshold, order))
    gone = rows_of(ref).tolist()
    assert gone == sorted(gone)
    kept = [i for i in range(len(sets)) if i not in gone]
    for row, other, found in zip(gone, rows_of(twin).tolist(), value.tolist(), strict=True):
        assert other in kept
        assert (order[other], other) < (order[row], row)
        assert found == jaccard(sets[row], sets[other]) >= threshold
    for i in kept:
        for j in kept:
            assert i == j or jaccard(sets[i], sets[j]) < threshold
