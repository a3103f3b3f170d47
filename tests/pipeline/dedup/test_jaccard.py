import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.dedup.jaccard import jaccard_of_pairs, overlap_of_pairs
from pipeline.dedup.shingles import Shingles

value = st.one_of(st.integers(0, 12), st.integers(2**64 - 4, 2**64 - 1))


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sets(value), min_size=1, max_size=6))
def test_equals_python_sets(sets: list[set[int]]) -> None:
    flat = [item for members in sets for item in sorted(members)]
    shingles = Shingles(np.array(flat, np.uint64), np.cumsum([0, *map(len, sets)]))
    left, right = (index.ravel() for index in np.indices((len(sets), len(sets))))
    overlap = [len(sets[i] & sets[j]) for i, j in zip(left, right, strict=True)]
    expected = [len(sets[i] & sets[j]) / max(len(sets[i] | sets[j]), 1) for i, j in zip(left, right, strict=True)]
    assert overlap_of_pairs(shingles, left, right).tolist() == overlap
    got = jaccard_of_pairs(shingles, left, right)
    assert got.dtype == np.float64
    assert got.tolist() == expected


def test_four_fifths_is_the_threshold_exactly() -> None:
    shingles = Shingles(np.array([1, 2, 3, 4, 1, 2, 3, 4, 5], np.uint64), np.array([0, 4, 9]))
    assert jaccard_of_pairs(shingles, np.array([0]), np.array([1]))[0] >= 0.8


@pytest.mark.parametrize("wrong", [-1, 2])
def test_no_such_document(wrong: int) -> None:
    shingles = Shingles(np.array([1, 2], np.uint64), np.array([0, 1, 2]))
    with pytest.raises(IndexError, match="there are 2 shingle sets"):
        jaccard_of_pairs(shingles, np.array([0]), np.array([wrong]))


def test_no_pairs() -> None:
    none = np.zeros(0, np.int64)
    assert len(jaccard_of_pairs(Shingles(np.zeros(0, np.uint64), np.zeros(1, np.int64)), none, none)) == 0


def test_sets_read_from_a_file_are_read_only() -> None:
    values = np.frombuffer(np.array([1, 2, 2, 3], np.uint64).tobytes(), np.uint64)
    offsets = np.frombuffer(np.array([0, 2, 4], np.int64).tobytes(), np.int64)
    assert jaccard_of_pairs(Shingles(values, offsets), np.array([0]), np.array([1])).tolist() == [1 / 3]
