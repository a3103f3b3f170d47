import pickle
import unicodedata

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config import VocabularyConfig
from pipeline.words.frequency import count_tokens, count_words
from pipeline.words.spans import word_spans
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
    Tokenizer,
    character_kind,
    character_kinds,
    piece_kind,
)
from pipeline.words.vocabulary import train_vocabulary
from schemas import arrow


def test_every_sample_comes_back_up_to_the_normaliser(tokenizer, texts):
    encoded = tokenizer.encode(list(texts.values()))
    assert len(encoded) == len(texts) > 40
    for i, (name, text) in enumerate(texts.items()):
        back = tokenizer.decode(encoded.document(i))
        assert back == tokenizer.normalise(text), name
        assert visible(back) == visible(text), name


def visible(text: str) -> str:
    """What the normaliser has to keep: NFKC without spaces and controls (its own NFKC leaves long sequences apart)."""
    return "".join(c for c in unicodedata.normalize("NFKC", text) if unicodedata.category(c)[0] not in "CZ")


@settings(max_examples=200, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
def test_any_text_comes_back_up_to_the_normaliser(tokenizer, text):
    encoded = tokenizer.encode([text, "", text])
    assert tokenizer.decode(encoded.document(0)) == tokenizer.normalise(text)
    assert len(encoded.document(1)) == 0
    assert (encoded.document(0) == encoded.document(2)).all()
    assert (encoded.ids >= 6).all()


def test_a_batch_is_its_documents_one_by_one(tokenizer, corpus):
    assert corpus.encoded.ids.dtype == np.uint16
    assert corpus.encoded.offsets.dtype == np.int64
    for i in range(0, len(corpus.texts), 17):
        alone = tokenizer.encode([corpus.texts[i]])
        assert (alone.ids == corpus.encoded.document(i)).all()
    empty = tokenizer.encode([])
    assert (len(empty), len(empty.ids)) == (0, 0)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n\t ",
        "🙂🙃🚀" * 50,
        "x" * 1_000_000,
        "a\0b",
        "日本語 and ไทย and हिन्दी",
        "[MASK] [PAD] ▁▁ <0x41>",
        "\u200b\ufeff",
    ],
    ids=["empty", "space", "emoji", "long", "nul", "mixed", "specials", "invisible"],
)
def test_odd_documents(tokenizer, text):
    encoded = tokenizer.encode(["before", text, "after"])
    assert tokenizer.decode(encoded.document(1)) == tokenizer.normalise(text)
    words = count_words(tokenizer, encoded, word_spans(encoded, tokenizer.piece_kinds))["word"].to_pylist()
    assert {"before", "after"} <= set(words)
    assert max(map(len, words)) < 1000  # the long one is no word


def test_a_pickle_holds_the_path_alone(tokenizer):
    stored = pickle.dumps(tokenizer)
    assert len(stored) < 1000
    again = pickle.loads(stored)
    assert again.size == tokenizer.size
    assert (again.encode(["Call me Ishmael."]).ids == tokenizer.encode(["Call me Ishmael."]).ids).all()
    assert (again.piece_kinds == tokenizer.piece_kinds).all()


def test_uint32_above_65536_pieces(texts, tmp_path):
    path = tmp_path / "large.model"
    size = train_vocabulary(texts.values(), path, VocabularyConfig(size=70000, model="bpe", character_coverage=1)).size
    assert size > 1 << 16
    tokenizer = Tokenizer(path)
    chosen = list(texts.values())
    encoded = tokenizer.encode(chosen)
    assert encoded.ids.dtype == np.uint32
    assert encoded.ids.max() > 1 << 16
    assert all(tokenizer.decode(encoded.document(i)) == tokenizer.normalise(text) for i, text in enumerate(chosen))
    assert count_tokens(encoded, size)[0].sum() == len(encoded.ids)
    assert encoded.to_arrow().type == arrow.example(size).field("tokens").type


@pytest.mark.parametrize("normalizer", ["nfkc", "nmt_nfkc_cf", "identity"])
def test_other_normalisers_come_back_too(texts, tmp_path, normalizer):
    path = tmp_path / "m.model"
    chosen = [text for name, text in texts.items() if name.startswith(("chapter", "poemata"))]
    train_vocabulary(chosen, path, VocabularyConfig(size=1000, model="bpe", normalizer=normalizer))
    tokenizer = Tokenizer(path)
    encoded = tokenizer.encode(chosen)
    assert all(tokenizer.decode(encoded.document(i)) == tokenizer.normalise(text) for i, text in enumerate(chosen))
    words = count_words(tokenizer, encoded, word_spans(encoded, tokenizer.piece_kinds))["word"].to_pylist()
    assert "whaleman" in words
    assert not [word for word in words if any(character.isspace() for character in word)]


def test_arrow_column_and_back(corpus):
    column = corpus.encoded.to_arrow()
    assert column.type == arrow.example(4096).field("tokens").type
    column.validate(full=True)
    for some in (column, column.slice(3, 20), pa.chunked_array([column.slice(3, 4), column.slice(7, 16)]), column[:0]):
        back = Encoded.from_arrow(some)
        assert back.offsets[0] == 0
        assert [back.document(i).tolist() for i in range(len(back))] == some.to_pylist()


@pytest.mark.parametrize(
    ("piece", "kind"),
    [
        ("▁the", LETTER | BEGINS),
        ("ing", LETTER),
        ("▁", SPACE),
        ("▁▁", SPACE),
        ("7", DIGIT),
        ("▁7", DIGIT | BEGINS),
        ("'", JOINER),
        ("▁-", JOINER | BEGINS),
        ("--", OTHER),
        ("▁(", OTHER | BEGINS),
        ("—", OTHER),
        ("先生", OWN),
        ("▁子", OWN | BEGINS),
        ("ก", OWN),
        ("カー", OWN),
        ("한국", LETTER),
        ("и", LETTER),
        ("्", LETTER),
        ("₂", DIGIT),
        ("▁of▁the", OTHER | BEGINS),
        ("。", OTHER),
        ("・", OTHER),
    ],
)
def test_piece_kind(piece, kind):
    assert piece_kind(piece) == kind


def test_kind_table(tokenizer):
    kinds = tokenizer.piece_kinds
    assert kinds.dtype == np.uint8
    assert kinds.shape == (tokenizer.size,)
    assert (kinds[:6] == SPECIAL).all()
    assert kinds[6 + 0x80 : 262].tolist() == list(range(0x80, 0x100))
    assert kinds[6 + ord("Q")] == LETTER
    assert kinds[6 + ord("7")] == DIGIT
    assert kinds[6 + ord(" ")] == OTHER
    for token_id in range(262, tokenizer.size):
        assert kinds[token_id] == piece_kind(tokenizer.piece(token_id))
        assert kinds[token_id] < 0x80
        starts = kinds[token_id] == SPACE or kinds[token_id] & BEGINS
        assert bool(starts) == tokenizer.piece(token_id).startswith("▁")


def test_character_table():
    table = character_kinds()
    for character in "aé中ก7²-'’ .。🙂\u0301ー한":
        assert table[ord(character)] == character_kind(character)
    letters = [point for point in range(0x40000, 0x110000) if unicodedata.category(chr(point))[0] == "L"]
    assert letters == []  # what the table leaves out holds no letters


def test_surfaces_spell_the_text(tokenizer, corpus):
    surface, offsets = tokenizer.surfaces
    for i in range(0, len(corpus.texts), 23):
        ids = corpus.encoded.document(i)
        joined = b"".join(surface[offsets[t] : offsets[t + 1]].tobytes() for t in ids).decode()
        assert joined == tokenizer.decode(ids).replace(" ", "")
