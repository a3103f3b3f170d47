import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.words.spans import LONGEST_WORD, word_spans
from pipeline.words.tokenizer import (
    BEGINS,
    DIGIT,
    JOINER,
    LETTER,
    OTHER,
    OWN,
    SPACE,
    SPECIAL,
    Encoded,
    character_kind,
)

SIGNS = {OTHER: "X", LETTER: "L", DIGIT: "D", JOINER: "J", OWN: "O", SPACE: "S", SPECIAL: "X"}
WORD = re.compile(r"S?([LDld](?:J?[LD])*)|([Oo])")


def reference(kinds: list[int]) -> list[tuple[int, int]]:
    """One document by a regular expression over one sign per character-or-piece, small where it begins a word."""
    signs, places = "", [0]
    i = 0
    while i < len(kinds):
        length, sign = 1, "X"
        if kinds[i] >= 0x80:
            for size in (2, 3, 4):
                try:
                    character = bytes(kinds[i : i + size]).decode()
                except (ValueError, UnicodeDecodeError):
                    continue
                if len(character) == 1 and min(kinds[i : i + size]) >= 0x80:
                    length, sign = size, SIGNS[character_kind(character)]
                    break
        else:
            sign = SIGNS[kinds[i] & ~BEGINS]
            sign = sign.lower() if kinds[i] & BEGINS else sign
        signs += sign
        i += length
        places.append(i)
    found = []
    for match in WORD.finditer(signs):
        word = match.group(1)
        if word is None:
            found.append((places[match.start(2)], places[match.end(2)]))
        elif "l" in word.lower():
            start, end = places[match.start()], places[match.end()]
            if end - start <= LONGEST_WORD:
                found.append((start, end))
    return found


def found(documents: list[list[int]]) -> list[list[tuple[int, int]]]:
    """Kernel spans per document, where every id is its own kind."""
    flat = [kind for document in documents for kind in document]
    offsets = np.cumsum([0, *map(len, documents)])
    spans = word_spans(Encoded(np.array(flat, dtype=np.uint16), offsets), np.arange(256, dtype=np.uint8))
    result: list[list[tuple[int, int]]] = [[] for _ in documents]
    for start, end, document in zip(spans.start, spans.end, spans.document, strict=True):
        result[document].append((int(start - offsets[document]), int(end - offsets[document])))
    return result


PIECE = st.sampled_from([kind | flag for kind in range(5) for flag in (0, BEGINS)] + [SPACE, SPECIAL]).map(
    lambda k: [k]
)
SPELT = st.sampled_from("éж中ก™’\u00ad한²𠀀🙂𝒜").map(lambda c: list(c.encode()))
BYTE = st.integers(0x80, 0xFF).map(lambda b: [b])
DOCUMENT = st.lists(st.one_of(PIECE, PIECE, SPELT, BYTE), max_size=30).map(
    lambda parts: [kind for part in parts for kind in part]
)


@settings(max_examples=500, deadline=None)
@given(st.lists(DOCUMENT, min_size=1, max_size=4))
def test_kernel_equals_regular_expression(documents):
    assert found(documents) == [reference(document) for document in documents]


def test_kernel_equals_regular_expression_on_real_text(corpus, tokenizer):
    kinds = tokenizer.piece_kinds
    spans = corpus.spans
    first = np.searchsorted(spans.document, np.arange(len(corpus.texts) + 1))
    for i in range(len(corpus.texts)):
        base = corpus.encoded.offsets[i]
        mine = slice(first[i], first[i + 1])
        expected = reference(kinds[corpus.encoded.document(i)].tolist())
        assert list(zip(spans.start[mine] - base, spans.end[mine] - base, strict=True)) == expected


def test_spans_are_ascending_disjoint_and_inside_their_documents(corpus):
    spans = corpus.spans
    assert len(spans) > 100_000
    assert (spans.start < spans.end).all()
    assert (spans.end[:-1] <= spans.start[1:]).all()
    assert (corpus.encoded.offsets[spans.document] <= spans.start).all()
    assert (spans.end <= corpus.encoded.offsets[spans.document + 1]).all()


def words_of(tokenizer, *texts: str) -> list[list[str]]:
    encoded = tokenizer.encode(texts)
    spans = word_spans(encoded, tokenizer.piece_kinds)
    result: list[list[str]] = [[] for _ in texts]
    for start, end, document in zip(spans.start, spans.end, spans.document, strict=True):
        result[document].append(tokenizer.decode(encoded.ids[start:end]))
    return result


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Call me Ishmael.", "Call me Ishmael"),
        ("(don't stop-it, o'er 'tis)", "don't stop-it o'er tis"),
        ("the whale--that whale—swam... no", "the whale that whale swam no"),
        ("in 1851 and 3.14 the 19th", "in and the 19th"),
        ("see www.example.org/a_b?c now", "see www.example.org/a_b c now"),
        ("Ünïcödé Ḟṏṏ ĸ x", "Ünïcödé Ḟṏṏ ĸ x"),
        ("Всеобщая декларация", "Всеобщая декларация"),
        ("대한민국 헌법", "대한민국 헌법"),
        ("-- ' 12 ... ", ""),
    ],
)
def test_words_of_real_pieces(tokenizer, text, words):
    assert words_of(tokenizer, text) == [words.split()]


def test_words_stop_at_the_end_of_a_document(tokenizer):
    assert words_of(tokenizer, "ends with wor", "", "d begins") == [["ends", "with", "wor"], [], ["d", "begins"]]


def test_scripts_without_spaces_give_each_piece_alone(tokenizer):
    text = "子曰：“学而时习之，不亦说乎？”"
    (words,) = words_of(tokenizer, text)
    assert "".join(words) == "子曰学而时习之不亦说乎"
    encoded = tokenizer.encode(["子曰龘the鑫"])  # 龘 and 鑫 have no piece: each is one word of three bytes
    spans = word_spans(encoded, tokenizer.piece_kinds)
    spelt = [tokenizer.decode(encoded.ids[a:b]) for a, b in zip(spans.start, spans.end, strict=True)]
    assert spelt[-3:] == ["龘", "the", "鑫"]
    assert (spans.end - spans.start)[[-3, -1]].tolist() == [3, 3]


def test_the_longest_word():
    assert found([[LETTER | BEGINS] + [LETTER] * (LONGEST_WORD - 1)]) == [[(0, LONGEST_WORD)]]
    assert found([[LETTER | BEGINS] + [LETTER] * LONGEST_WORD + [SPACE, LETTER]]) == [
        [(LONGEST_WORD + 1, LONGEST_WORD + 3)]
    ]
