"""Exact copies and near-duplicates joined: every drop names a kept document that it resembles."""

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.dedup.decide import Candidates, join_exact, near_drops, parts_of, refs_of_part, rows_of
from pipeline.dedup.shingles import Shingles


def candidates(sets: list[set[int]], pairs: list[tuple[int, int]]) -> Candidates:
    """Documents 0.. in total order, all in part 3."""
    values = [sorted(s) for s in sets]
    offsets = np.concatenate([[0], np.cumsum([len(v) for v in values])]).astype(np.int64)
    refs = refs_of_part(3, len(sets))
    ids = pa.array([f"{i:032x}" for i in range(len(sets))])
    flat = np.array([v for some in values for v in some], np.uint64)
    left, right = np.array(pairs or np.empty((0, 2)), np.int64).T
    return Candidates(refs, np.zeros(len(sets), np.uint16), ids, Shingles(flat, offsets), refs[left], refs[right])


def test_refs_round_trip():
    refs = refs_of_part(70_000, 5)
    assert parts_of(refs).tolist() == [70_000] * 5
    assert rows_of(refs).tolist() == [0, 1, 2, 3, 4]


def test_a_chain_keeps_its_far_end():
    a, b, c = set(range(0, 10)), set(range(1, 11)), set(range(3, 13))
    drops = near_drops(candidates([a, b, c], [(0, 1), (1, 2), (0, 2)]), 0.6)
    assert rows_of(drops.ref).tolist() == [1]
    assert rows_of(drops.twin).tolist() == [0]
    assert drops.jaccard.tolist() == [9 / 11]


def test_copies_of_a_dropped_document_name_its_twin():
    near = near_drops(candidates([set(range(10)), set(range(1, 11))], [(0, 1)]), 0.8)
    other = refs_of_part(1, 3)
    copies = np.array([other[0], other[2]])
    survivors = np.array([refs_of_part(3, 2)[1], other[1]])
    joined = join_exact(copies, survivors, near)
    found = dict(zip(joined.ref.tolist(), zip(joined.twin.tolist(), joined.near.tolist(), strict=True), strict=True))
    kept = int(refs_of_part(3, 1)[0])
    assert found[int(other[0])] == (kept, True)
    assert found[int(other[2])] == (int(other[1]), False)
    assert np.all(np.diff(joined.ref.astype(np.int64)) > 0)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sets(st.integers(0, 12), min_size=1, max_size=8), min_size=2, max_size=12),
    st.sampled_from([0.4, 0.6, 1.0]),
)
def test_every_drop_is_justified_and_no_kept_pair_is_too_close(sets, threshold):
    pairs = [(i, j) for i in range(len(sets)) for j in range(i + 1, len(sets))]
    drops = near_drops(candidates(sets, pairs), threshold)
    gone = rows_of(drops.ref).tolist()
    kept = [i for i in range(len(sets)) if i not in gone]
    for row, twin, jaccard in zip(gone, rows_of(drops.twin).tolist(), drops.jaccard, strict=True):
        assert twin in kept
        assert jaccard == len(sets[row] & sets[twin]) / len(sets[row] | sets[twin]) >= threshold
    for i in kept:
        for j in kept:
            assert i == j or len(sets[i] & sets[j]) / len(sets[i] | sets[j]) < threshold
