import pyarrow as pa
import pytest

from pipeline.config import WordsConfig
from pipeline.words.frequency import count_words, normalise_word
from pipeline.words.rare import (
    LONGEST,
    RARE_WORDS,
    RareSpans,
    RareWords,
    is_note_word,
    rare_range,
    rare_spans,
    select_rare,
)
from pipeline.words.spans import word_spans
from schemas import arrow


@pytest.mark.parametrize(
    ("total", "low", "high"),
    [(3_400_000_000, 100, 500), (34_000_000_000, 1000, 5000), (340_000_000, 10, 50), (60_000_000, 3, 15), (0, 3, 15)],
)
def test_range_scales_with_the_corpus(total, low, high):
    assert rare_range(WordsConfig(), total) == (low, high)


def test_range_never_falls_as_the_corpus_grows():
    ranges = [rare_range(WordsConfig(), total) for total in range(0, 10**9, 10**6)]
    assert ranges == sorted(ranges)
    assert all(low >= 3 and 5 * low <= high for low, high in ranges)


def test_configured_range_is_used_as_it_is():
    assert rare_range(WordsConfig(rare_low=2, rare_high=7), 10**12) == (2, 7)
    assert rare_range(WordsConfig(rare_high=9), 10**12) == (0, 9)


@pytest.mark.parametrize(
    "word", ["whale", "don't", "well-known", "é" * 2, "子", "先生", "ไทย", "हिन्दी", "かな", "한국"]
)
def test_note_words(word):
    assert is_note_word(word)


@pytest.mark.parametrize(
    "word",
    [
        "",
        "x",
        "é",
        "и",
        "1851",
        "19th",
        "b2b",
        "www.example.org",
        "a/b",
        "x=y",
        "a@b.c",
        "a_b",
        "&c",
        "---",
        "'",
        "²",
        "्",
    ],
)
def test_no_note_words(word):
    assert not is_note_word(word)


def test_longest_note_word():
    assert is_note_word("a" * LONGEST)
    assert not is_note_word("a" * (LONGEST + 1))


@pytest.fixture(scope="module")
def rare(corpus, tokenizer) -> pa.Table:
    return select_rare(count_words(tokenizer, corpus.encoded, corpus.spans), 3, 15)


def test_selection_equals_brute_force(corpus, tokenizer, rare):
    counts = count_words(tokenizer, corpus.encoded, corpus.spans).to_pylist()
    chosen = [row for row in counts if 3 <= row["count"] <= 15 and is_note_word(row["word"])]
    chosen.sort(key=lambda row: row["word"].encode())
    assert rare.to_pylist() == [{"word_id": i, **row} for i, row in enumerate(chosen)]
    assert rare.schema.equals(RARE_WORDS)
    words = set(rare["word"].to_pylist())
    assert len(words) > 3000
    assert {"abide", "o'clock", "a-whaling"} <= words
    assert len([word for word in words if "\u4e00" <= word[0] <= "\u9fff"]) > 100


def test_order_of_the_counts_does_not_matter(corpus, tokenizer, rare):
    counts = count_words(tokenizer, corpus.encoded, corpus.spans)
    assert select_rare(counts.sort_by("count"), 3, 15).equals(rare)


def test_spans_equal_brute_force(corpus, tokenizer, rare):
    ids = {row["word"]: row["word_id"] for row in rare.to_pylist()}
    expected: list[list[dict]] = [[] for _ in corpus.texts]
    for start, end, document in zip(corpus.spans.start, corpus.spans.end, corpus.spans.document, strict=True):
        word = normalise_word(tokenizer.decode(corpus.encoded.ids[start:end]))
        if word in ids:
            base = corpus.encoded.offsets[document]
            expected[document].append({"start": int(start - base), "end": int(end - base), "word": ids[word]})
    found = rare_spans(tokenizer, corpus.encoded, corpus.spans, RareWords(rare))
    column = found.to_arrow()
    column.validate(full=True)
    assert column.type == arrow.example(tokenizer.size).field("rare").type
    assert column.to_pylist() == expected
    assert sum(map(len, expected)) == sum(rare["count"].to_pylist())


def test_arrow_column_and_back(corpus, tokenizer, rare):
    column = rare_spans(tokenizer, corpus.encoded, corpus.spans, RareWords(rare)).to_arrow()
    for some in (column, column.slice(5, 9), pa.chunked_array([column[5:8], column[8:14]]), column[:0]):
        again = RareSpans.from_arrow(some)
        assert again.offsets[0] == 0
        assert again.to_arrow().to_pylist() == some.to_pylist()


def test_no_rare_word_at_all(corpus, tokenizer, rare):
    empty = select_rare(count_words(tokenizer, corpus.encoded, corpus.spans), 10**9, 10**9 + 1)
    assert len(empty) == 0
    found = rare_spans(tokenizer, corpus.encoded, corpus.spans, RareWords(empty))
    assert (len(found), found.offsets.max(), len(found.word)) == (len(corpus.texts), 0, 0)
    nothing = tokenizer.encode([])
    assert len(rare_spans(tokenizer, nothing, word_spans(nothing, tokenizer.piece_kinds), RareWords(rare))) == 0


def test_lookup(rare):
    lookup = RareWords(rare)
    words = rare["word"].to_pylist()
    assert len(lookup) == len(words)
    assert lookup.ids([words[7], "no such word", words[0]]).tolist() == [7, -1, 0]
