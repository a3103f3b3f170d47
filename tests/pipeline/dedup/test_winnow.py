"""Winnowing: what is shared shows, and a run is exactly as long as it is."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.dedup.winnow import Words, shared_runs, winnow, winnowing


def fingerprints(texts: list[str], min_words: int) -> list[dict[int, int]]:
    """Of each text: position -> hash."""
    document, position, value = winnow(pa.array(texts), min_words)
    out: list[dict[int, int]] = [{} for _ in texts]
    for row, at, found in zip(document.tolist(), position.tolist(), value.tolist(), strict=True):
        assert at not in out[row]
        out[row][at] = found
    return out


@pytest.mark.parametrize("min_words", [1, 2, 3, 50, 51])
def test_the_parameters_guarantee_the_run(min_words):
    k, window = winnowing(min_words)
    assert k >= 1
    assert k + window - 1 == min_words


WORDS = st.lists(st.sampled_from(["ab", "c", "d", "e"]), max_size=25)


@settings(max_examples=200, deadline=None)
@given(
    first=WORDS, second=WORDS, run=st.lists(st.sampled_from("abcdef"), min_size=8, max_size=12), at=st.integers(0, 25)
)
def test_a_shared_run_has_a_fingerprint_in_both(first, second, run, at):
    """Schleimer, Wilkerson, Aiken 2003, section 3: the guarantee."""
    left, right = [*first[:at], *run, *first[at:]], [*run, *second]
    one, two = fingerprints([" ".join(left), " ".join(right)], 8)
    where = min(at, len(first))
    k, _ = winnowing(8)
    mine = {i - where: value for i, value in one.items() if where <= i <= where + len(run) - k}
    theirs = {i: value for i, value in two.items() if i <= len(run) - k}
    assert mine.items() & theirs.items()


def test_density_is_that_of_the_paper():
    chance = np.random.default_rng(1)
    text = " ".join(map(str, chance.integers(0, 1 << 40, 20_000)))
    (found,) = fingerprints([text], 50)
    _, window = winnowing(50)
    assert len(found) == pytest.approx(20_000 * 2 / (window + 1), rel=0.05)


def test_texts_shorter_than_the_run_have_none():
    assert fingerprints(["", "a", "a b c d e f g"], 8) == [{}, {}, {}]
    assert len(fingerprints(["a b c d e f g h"], 8)[0]) == 1


@settings(max_examples=150, deadline=None)
@given(left=WORDS, right=WORDS, i=st.integers(0, 24), j=st.integers(0, 24))
def test_runs_are_maximal_and_equal_to_a_loop(left, right, i, j):
    if i >= len(left) or j >= len(right):
        return
    begin = end = i
    if left[i] == right[j]:
        shift = j - i
        while begin > 0 and begin + shift > 0 and left[begin - 1] == right[begin - 1 + shift]:
            begin -= 1
        while end < len(left) and end + shift < len(right) and left[end] == right[end + shift]:
            end += 1
    texts = [Words(pa.array(["", " ".join(words), "z"])) for words in (left, right)]
    one = np.array([1])
    found = shared_runs(*texts, one, one, np.array([i]), np.array([j]))
    low, high = found[0][0], found[1][0]
    if left[i] == right[j]:
        assert (low, high) == (begin, end)
    else:
        assert high <= max(low, i)


def test_words_that_only_begin_alike_end_the_run():
    left, right = Words(pa.array(["x aa bb cc"])), Words(pa.array(["aa bb ccc"]))
    zero = np.zeros(1, np.int64)
    begin, end = shared_runs(left, right, zero, zero, zero + 2, zero + 1)
    assert (begin.tolist(), end.tolist()) == ([1], [3])
