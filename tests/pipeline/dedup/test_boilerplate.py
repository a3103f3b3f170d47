"""The pure parts of boilerplate: limits, sketch, sets of lines, vouching, cutting."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.dedup.boilerplate import (
    MAX_BUCKETS,
    MIN_BUCKETS,
    LineSet,
    Sketch,
    bucket_count,
    cut,
    document_keys,
    limit_of,
    once_per_document,
    vouching,
)
from pipeline.dedup.lines import hash_lines

WORDS = st.sampled_from(["alpha beta", "gamma delta", "Next page", "x", "", "---"])
TEXTS = st.lists(st.lists(WORDS, max_size=8).map("\n".join), min_size=1, max_size=12)


def seeds(texts) -> np.ndarray:
    return np.zeros(len(texts), np.uint64)


def test_limits():
    assert limit_of(30, 2, 0.1) == 3
    assert limit_of(31, 2, 0.1) == 4
    assert limit_of(5, 10, 0.1) == 10
    assert limit_of(7, 2, 1.0) == 7


def test_the_sketch_is_bounded():
    assert bucket_count(0) == MIN_BUCKETS
    assert bucket_count(10**12) == MAX_BUCKETS
    assert bucket_count(3000) == 1 << 17
    with pytest.raises(ValueError, match="power of two"):
        Sketch(3)


@settings(max_examples=50, deadline=None)
@given(TEXTS, st.sampled_from([1, 4, 1 << 16]))
def test_the_sketch_never_counts_too_few(texts, buckets):
    lines = hash_lines(pa.array(texts), seeds(texts))
    sketch = Sketch(buckets)
    sketch.add(lines, np.ones(len(texts), np.bool_), 1)
    folded = [{line for line in text.split("\n") if line.strip("-")} for text in texts]
    document = np.repeat(np.arange(len(texts)), np.diff(lines.offsets))
    for place in np.flatnonzero(lines.characters):
        line = texts[document[place]].encode()
        start = int(lines.starts[place]) - sum(len(text.encode()) for text in texts[: document[place]])
        here = line[start : start + int(lines.stops[place] - lines.starts[place])].decode()
        true = sum(here in some for some in folded)
        upper = sketch.counts[int(lines.low[place]) & (buckets - 1)]
        assert upper >= true
        if buckets == 1 << 16:
            assert upper == true
    assert sketch.counts.max() <= len(texts)


def test_uncounted_documents_and_short_lines_stay_out_of_the_sketch():
    texts = ["a long line", "a long line", "short"]
    sketch = Sketch(16)
    sketch.add(hash_lines(pa.array(texts), seeds(texts)), np.array([True, False, True]), 6)
    assert sketch.counts.sum() == 1


def test_keys_tell_documents_by_their_lines():
    texts = ["One\n\ntwo", "one\nTWO!\n", "two\none", "one two", "***", ""]
    high, low = document_keys(hash_lines(pa.array(texts), seeds(texts)))
    keys = list(zip(high.tolist(), low.tolist(), strict=True))
    assert keys[0] == keys[1]
    assert keys[4] == keys[5]
    assert len(set(keys)) == 4


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=20), st.integers(0, 3), st.integers(0, 3))
def test_a_set_of_lines_compares_all_128_bits(pairs, high, low):
    values = np.array(pairs, np.uint64).reshape(-1, 2)
    found = LineSet.of(values[:, 0], values[:, 1]).contains(np.array([high], np.uint64), np.array([low], np.uint64))
    assert found.tolist() == [(high, low) in pairs]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(0, 2)), max_size=20))
def test_a_line_counts_once_in_a_document(triples):
    columns = [np.array(column, np.uint64) for column in zip(*triples, strict=True)] or [np.empty(0, np.uint64)] * 3
    places = once_per_document(columns[0].astype(np.uint32), columns[1], columns[2])
    assert sorted(triples[place] for place in places) == sorted(set(triples))


def test_documents_made_of_candidates_do_not_vouch():
    row = np.array([3, 3, 8, 9], np.uint32)
    characters = np.array([50, 31, 80, 10], np.uint32)
    total = np.array([100, 100, 100, 100], np.uint32)
    assert vouching(row, characters, total, 0.8).tolist() == [False, False, True, True]
    assert vouching(row[:0], characters[:0], total[:0], 0.8).tolist() == []


def without(text: str, lines: set[str]) -> str:
    """What `cut` says it does, in plain Python."""
    out: list[str] = []
    gap, blank_before = False, True
    for line in text.splitlines(keepends=True):
        blank = not line.strip(" \t\n")
        if line.rstrip("\n") in lines:
            gap = True
        elif not (blank and gap and blank_before):
            out.append(line)
            blank_before, gap = blank, gap and blank
    if gap:
        while out and not out[-1].strip(" \t\n"):
            out.pop()
        if out and not text.endswith("\n"):
            out[-1] = out[-1].removesuffix("\n")
    return "".join(out)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.lists(st.sampled_from(["", " ", "keep", "ähnlich", "cut me", "漢字 cut"]), max_size=9), max_size=4),
    st.booleans(),
)
def test_cutting_equals_a_plain_reference(documents, ended):
    texts = ["\n".join(lines) + ("\n" if ended and lines else "") for lines in documents]
    gone = {"cut me", "漢字 cut"}
    starts, firsts = [], [0]
    for text in texts:
        at = 0
        for line in text.splitlines(keepends=True):
            if line.rstrip("\n") in gone:
                starts.append(at)
            at += len(line.encode())
        firsts.append(len(starts))
    array = pa.array(["x", *texts], pa.string()).slice(1)
    found = cut(array, np.array(firsts, np.int64), np.array(starts, np.int64)).to_pylist()
    assert found == [without(text, gone) for text in texts]
    for before, after in zip(texts, found, strict=True):
        assert [line for line in after.split("\n") if line.strip()] == [
            line for line in before.split("\n") if line.strip() and line not in gone
        ]


def test_blank_lines_between_cut_lines_go_and_those_between_texts_stay():
    text = "menu\n\nmenu\n\nA\n\nmenu\n\nB\n\nmenu"
    starts = np.array([0, 6, 15, 24], np.int64)
    assert text[15:19] == "menu"
    assert text[24:28] == "menu"
    assert cut(pa.array([text]), np.array([0, 4], np.int64), starts).to_pylist() == ["A\n\nB"]
