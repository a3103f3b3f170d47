import re
import unicodedata
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.words.frequency import (
    WORD_COUNTS,
    count_tokens,
    count_words,
    distinct_words,
    merge_words,
    normalise_word,
    token_table,
    word_table,
)
from pipeline.words.spans import word_spans
from pipeline.words.tokenizer import DIGIT, JOINER, LETTER, OWN, character_kind
from schemas.arrow import TOKEN_FREQUENCY, WORD_FREQUENCY

SIGNS = {LETTER: "L", DIGIT: "D", JOINER: "J", OWN: "O"}


def counted(documents: list[list[str]]) -> list[dict]:
    """Brute force: rows sorted bytewise by word."""
    count = Counter(word for words in documents for word in words)
    inside = Counter(word for words in documents for word in set(words))
    rows = [{"word": word, "count": count[word], "documents": inside[word], "step": 0} for word in count if word]
    return sorted(rows, key=lambda row: row["word"].encode())


def test_tokens_equal_brute_force(corpus, tokenizer):
    count, documents = count_tokens(corpus.encoded, tokenizer.size)
    lists = [corpus.encoded.document(i).tolist() for i in range(len(corpus.texts))]
    every = Counter(token for tokens in lists for token in tokens)
    inside = Counter(token for tokens in lists for token in set(tokens))
    assert count.tolist() == [every[i] for i in range(tokenizer.size)]
    assert documents.tolist() == [inside[i] for i in range(tokenizer.size)]
    table = token_table(tokenizer, count, documents)
    assert table.schema.equals(TOKEN_FREQUENCY, check_metadata=True)
    assert table["piece"][4].as_py() == "[MASK]"
    assert table["token_id"].to_pylist() == list(range(tokenizer.size))


def test_words_equal_brute_force_over_spans(corpus, tokenizer):
    documents: list[list[str]] = [[] for _ in corpus.texts]
    spans = corpus.spans
    for start, end, document in zip(spans.start, spans.end, spans.document, strict=True):
        documents[document].append(normalise_word(tokenizer.decode(corpus.encoded.ids[start:end])))
    table = count_words(tokenizer, corpus.encoded, spans)
    assert table.schema.equals(WORD_COUNTS)
    assert table.to_pylist() == counted(documents)


def test_words_equal_brute_force_over_text(corpus, tokenizer):
    """The rule of word_spans on characters: with spaces in the script, words do not depend on how they were cut."""
    pattern = re.compile(r"[LD](?:J?[LD])*")
    chosen = [
        i for i, name in enumerate(corpus.names) if name.endswith(".txt") or name in ("rus.html", "deu_1996.html")
    ]
    documents = []
    for i in chosen:
        text = tokenizer.normalise(corpus.texts[i])
        signs = "".join(SIGNS.get(character_kind(character), "X") for character in text)
        found = [match.span() for match in pattern.finditer(signs)]
        documents.append([normalise_word(text[a:b]) for a, b in found if "L" in signs[a:b]])
    encoded = tokenizer.encode([corpus.texts[i] for i in chosen])
    table = count_words(tokenizer, encoded, word_spans(encoded, tokenizer.piece_kinds))
    assert table.to_pylist() == counted(documents)
    assert len(table) > 15_000


def test_two_spellings_in_one_document_count_once(tokenizer):
    encoded = tokenizer.encode(["The the THE whale’s", "whale's the", "Café CAFE\u0301"])
    spans = word_spans(encoded, tokenizer.piece_kinds)
    assert len(distinct_words(tokenizer, encoded, spans)[0]) == 3
    assert count_words(tokenizer, encoded, spans).to_pylist() == [
        {"word": "café", "count": 2, "documents": 1, "step": 0},
        {"word": "the", "count": 4, "documents": 2, "step": 0},
        {"word": "whale's", "count": 2, "documents": 2, "step": 0},
    ]


def test_a_million_distinct_words_in_one_document(tokenizer):
    letters = "bcdfghjklm"
    text = " ".join("".join(letters[int(d)] + "a" for d in f"{i:06d}") for i in range(1_000_000))
    encoded = tokenizer.encode([text])
    table = count_words(tokenizer, encoded, word_spans(encoded, tokenizer.piece_kinds))
    assert len(table) == 1_000_000
    assert set(table["count"].to_pylist()) == {1}


def test_nothing_in_nothing_out(tokenizer):
    encoded = tokenizer.encode(["", " ... 12 "])
    table = count_words(tokenizer, encoded, word_spans(encoded, tokenizer.piece_kinds))
    assert len(table) == 0
    assert merge_words([]).schema.equals(WORD_COUNTS)
    assert len(word_table(merge_words([table, table]))) == 0
    assert count_tokens(tokenizer.encode([]), tokenizer.size)[0].sum() == 0


def test_merging_batches_gives_the_counts_of_the_whole(corpus, tokenizer):
    whole = count_words(tokenizer, corpus.encoded, corpus.spans)
    tables = []
    for batch in np.array_split(np.random.default_rng(0).permutation(len(corpus.texts)), 7):
        encoded = tokenizer.encode([corpus.texts[i] for i in batch])
        tables.append(count_words(tokenizer, encoded, word_spans(encoded, tokenizer.piece_kinds)))
    assert merge_words(tables).equals(whole)
    assert merge_words([merge_words(tables[3:]), *tables[:3]]).equals(whole)
    assert merge_words(reversed(tables)).equals(whole)
    assert merge_words([whole]).equals(whole)


ROWS = st.dictionaries(st.text("aé中'", min_size=1, max_size=2), st.tuples(*[st.integers(1, 9)] * 3), max_size=6).map(
    lambda rows: pa.table(
        [pa.array(list(rows), pa.string())]
        + [pa.array([value[i] for value in rows.values()], kind) for i, kind in enumerate(WORD_COUNTS.types[1:])],
        schema=WORD_COUNTS,
    )
)


@settings(max_examples=50, deadline=None)
@given(ROWS, ROWS, ROWS)
def test_merge_laws(a, b, c):
    assert merge_words([merge_words([a, b]), c]).equals(merge_words([a, merge_words([b, c])]))
    assert merge_words([a, b]).equals(merge_words([b, a]))
    assert merge_words([a, merge_words([])]).equals(merge_words([a]))
    merged = merge_words([a, b, c]).to_pylist()
    assert sum(row["count"] for row in merged) == sum(sum(t["count"].to_pylist()) for t in (a, b, c))
    assert [row["word"].encode() for row in merged] == sorted(
        {w.encode() for t in (a, b, c) for w in t["word"].to_pylist()}
    )


def test_word_table_order(corpus, tokenizer):
    table = word_table(count_words(tokenizer, corpus.encoded, corpus.spans))
    assert table.schema.equals(WORD_FREQUENCY)
    rows = [(-row["count"], row["word"].encode()) for row in table.to_pylist()]
    assert rows == sorted(rows)


@pytest.mark.parametrize(
    ("word", "normal"),
    [
        ("Whale", "whale"),
        ("Don’t", "don't"),
        ("o`er", "o'er"),
        ("O＇Neill", "o'neill"),
        ("STRASSE", "strasse"),
        ("Straße", "strasse"),
        ("ΟΔΥΣΣΕΥΣ", "οδυσσευσ"),
        ("well‑known", "well-known"),
        ("co\u00adoperate", "cooperate"),
        ("ﬁsh", "fish"),
        ("CAFE\u0301", "café"),
        ("(word),", "word"),
        ("'", ""),
        ("…", ""),
        ("", ""),
        ("子", "子"),
    ],
)
def test_normalise_word(word, normal):
    assert normalise_word(word) == normal


@settings(max_examples=300, deadline=None)
@given(
    st.text(
        st.one_of(st.characters(exclude_categories=["Cs"]), st.sampled_from("aI'’-.\u0345\u037aİßﬁ\u0130")), max_size=8
    )
)
def test_normalise_word_is_idempotent_and_blind_to_case(word):
    normal = normalise_word(word)
    assert normalise_word(normal) == normal
    assert unicodedata.is_normalized("NFKC", normal)
    assert normalise_word(word.casefold()) == normal


def test_normalise_word_is_idempotent_for_every_character():
    for point in range(0x40000):
        if not 0xD800 <= point < 0xE000:
            normal = normalise_word(chr(point))
            assert normalise_word(normal) == normal, hex(point)
