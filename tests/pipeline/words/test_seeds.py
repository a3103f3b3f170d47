"""Distinct words and seed pieces against a count of every piece of every word."""

from collections import Counter, defaultdict

import hypothesis.strategies as st
import pyarrow as pa
import pytest
from hypothesis import given, settings

from pipeline.words.seeds import LONGEST, distinct_words, normalized, seed_pieces


def table(words):
    return pa.table({"word": pa.array(words, pa.string()), "count": pa.array(words.values(), pa.int64())})


def recurring(words):
    """Pieces that two different characters, or an end, follow, and whole words; at least twice, with their counts."""
    counts, follow = Counter(), defaultdict(set)
    for number, (word, count) in enumerate(words.items()):
        marked = f"▁{word}"
        for start in range(len(marked)):
            for end in range(start + 2, min(len(marked), start + LONGEST) + 1):
                counts[marked[start:end]] += count
                inner = end < len(marked) and end - start < LONGEST
                follow[marked[start:end]].add(marked[end] if inner else (number, start))  # two ends are never alike
    whole = {f"▁{word}" for word in words if len(word) < LONGEST}
    return {piece: n for piece, n in counts.items() if n > 1 and (len(follow[piece]) > 1 or piece in whole)}


def rows(found):
    return dict(zip(found["word"].to_pylist(), found["count"].to_pylist(), strict=True))


WORDS = st.dictionaries(st.text("ab四𐐷,", min_size=1, max_size=20), st.integers(1, 5), max_size=12)


@settings(max_examples=200, deadline=None)
@given(WORDS)
def test_seeds_are_those_of_a_plain_count(words):
    words = dict(sorted(words.items()))
    found = seed_pieces(table(words), 10_000)
    assert found.num_rows == len(rows(found)), "no piece twice"
    assert rows(found) == recurring(words)


def test_the_seeds_that_cover_most_text_come_first():
    words = {"abab": 10, "ab": 3, "zz": 2, "q": 9}
    found = seed_pieces(table(words), 3)
    pieces = recurring(words)
    least = min(n * len(piece) for piece, n in rows(found).items())
    assert found.num_rows == 3
    assert all(n * len(piece) <= least for piece, n in pieces.items() if piece not in rows(found))


@pytest.mark.parametrize("size", [1, 10, 1 << 20])
def test_words_are_counted_whatever_is_split_at_once(texts, monkeypatch, size):
    monkeypatch.setattr("pipeline.words.seeds.CHUNK", size)
    lines = [line for name in ("chapter_1.txt", "milton-paradise.txt") for line in texts.get(name, "").splitlines()]
    lines += ["a  b\ta", "　b　a", ""]
    expected = Counter(word for line in lines for word in line.replace("\t", " ").split(" ") if word)
    assert rows(distinct_words(lines)) == dict(expected)


def test_normalizing_joins_words_that_become_equal_and_parts_those_that_become_several():
    found = rows(normalized(table({"ａb": 2, "ab": 3, "c　ab": 4, "​": 7}), "nmt_nfkc"))
    assert found == {"ab": 9, "c": 4}
