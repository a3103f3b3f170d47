import numpy as np
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
from pipeline.words.rubbish import is_markup, is_numeral
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
    return select_rare(count_words(tokenizer, corpus.encoded, corpus.spans), 3, 15).table


def test_selection_equals_brute_force(corpus, tokenizer, rare):
    counts = count_words(tokenizer, corpus.encoded, corpus.spans).to_pylist()
    chosen = [row for row in counts if 3 <= row["count"] <= 15 and is_note_word(row["word"])]
    chosen = [row for row in chosen if not is_numeral(row["word"]) and not is_markup(row["word"])]
    chosen = [{name: row[name] for name in ("word", "count", "documents")} for row in chosen]
    chosen.sort(key=lambda row: row["word"].encode())
    assert rare.to_pylist() == [{"word_id": i, **row} for i, row in enumerate(chosen)]
    assert rare.schema.equals(RARE_WORDS)
    words = set(rare["word"].to_pylist())
    assert len(words) > 3000
    assert {"abide", "o'clock", "a-whaling"} <= words
    assert len([word for word in words if "\u4e00" <= word[0] <= "\u9fff"]) > 100


def test_order_of_the_counts_does_not_matter(corpus, tokenizer, rare):
    counts = count_words(tokenizer, corpus.encoded, corpus.spans)
    assert select_rare(counts.sort_by("count"), 3, 15).table.equals(rare)


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
    empty = select_rare(count_words(tokenizer, corpus.encoded, corpus.spans), 10**9, 10**9 + 1).table
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


def counted(rows: dict[str, int]) -> pa.Table:
    count = pa.array(list(rows.values()), pa.uint64())
    return pa.table({"word": pa.array(list(rows), pa.string()), "count": count, "documents": count})


def test_what_gets_no_note_is_told_by_reason():
    chosen = select_rare(counted({"xvii": 5, "nbsp": 5, "b2b": 5, "whale": 5, "the": 99, "hapax": 1}), 3, 15)
    assert chosen.table["word"].to_pylist() == ["whale"]
    assert chosen.excluded == {"not letters": 1, "numeral": 1, "markup": 1, "spelling": 0}
    assert chosen.spelling_limits == {}


def test_rubbish_is_left_out_and_words_are_not(corpus, tokenizer):
    counts = count_words(tokenizer, corpus.encoded, corpus.spans)
    rubbish = dict.fromkeys(("xqzvkj", "qwjtzx", "zzkxqvw"), 4)
    rows = dict(zip(counts["word"].to_pylist(), counts["count"].to_pylist(), strict=True)) | rubbish
    plain, judged = select_rare(counted(rows), 3, 5), select_rare(counted(rows), 3, 5, rubbish=0.003)
    lost = set(plain.table["word"].to_pylist()) - set(judged.table["word"].to_pylist())
    assert judged.excluded["spelling"] == len(lost)
    assert set(rubbish) <= lost
    assert len(lost) < 0.02 * len(plain.table)
    assert set(judged.spelling_limits) == {"LATIN"}
    assert judged.table["word_id"].to_pylist() == list(range(len(judged.table)))


@pytest.mark.parametrize("share", [0.01, 0.1, 0.4])
def test_mass_takes_the_rarest_words_within_a_share_of_the_running_words(share):
    counts = [900, 300, 300, 120, 60, 40, 40, 30, 9, 9, 5, 5, 5, 3, 3, 2, 1, 1]
    config = WordsConfig(rare_rule="mass", rare_mass=share)
    total = sum(counts)
    low, high = rare_range(config, total, np.array(counts, dtype=np.uint64))
    assert low == 3
    assert sum(count for count in counts if count <= high) <= share * total
    following = min(count for count in counts if count > high)
    assert sum(count for count in counts if count <= following) > share * total


def test_mass_counts_words_that_are_not_listed_as_the_rarest():
    config = WordsConfig(rare_rule="mass", rare_mass=0.1)
    assert rare_range(config, 1000, np.array([800, 60, 40], dtype=np.uint64)) == (3, 0)
    assert rare_range(config, 900, np.array([800, 60, 40], dtype=np.uint64)) == (3, 40)
    assert rare_range(config, 0, np.array([], dtype=np.uint64)) == (3, 0)


def test_mass_with_a_low_of_its_own():
    config = WordsConfig(rare_rule="mass", rare_low=10)
    assert rare_range(config, 1000, np.array([900, 60, 40], dtype=np.uint64)) == (10, 60)
