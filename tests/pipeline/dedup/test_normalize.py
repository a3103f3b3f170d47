import unicodedata

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.dedup.folding import BREAK, CONTEXT, fold_table
from pipeline.dedup.normalize import digest, digests, normalise, normalise_batch, text_buffers

# Characters whose neighbours matter, that change length, that vanish, or that lie at the edge of a UTF-8 width.
NASTY = (
    "aZ09 \t\n\r\0.-_'’“—…$+<éÉßẞıİſςΣΆͅᾴ\u0338\u0304ﬁ½²™ＡＢ１．\u3000\u00ad\u200b\u200d\ufeff\u202e\u0085\u2028"
    "가\u1100\u1161\u11a8각\u304b\u3099\u309aﾞｶむ中國ำเปี่ि्हन😀🏴\U000e0067ȺⱥK\U0001f1e9\U0010ffff"
)
texts = st.lists(st.text(st.one_of(st.sampled_from(NASTY), st.characters(exclude_categories=["Cs"])), max_size=40))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("  \n\t ", ""),
        ("Hello,\r\n  WORLD!", "hello world"),
        ("to-day — don’t", "to day don t"),
        ("Straße STRASSE", "strasse strasse"),
        ("ﬁne ½", "fine 1⁄2"),
        ("ＡＢＣ１２３，ｶﾞ", "abc123 ガ"),
        ("co\u00adop\u200berate\ufeff", "cooperate"),
        ("e\u0301 \u00e9", "é é"),
        ("Room 12 costs $5 + 3", "room 12 costs $5 + 3"),
    ],
)
def test_normalise(text: str, expected: str) -> None:
    assert normalise(text) == expected
    assert normalise_batch(pa.array([text])).to_pylist() == [expected]


@pytest.mark.parametrize("text", ["がぎぐ", "हिन्दी", "ปี่", "שָׁלוֹם"])
def test_combining_marks_stay(text: str) -> None:
    letters = unicodedata.normalize("NFD", text)
    assert unicodedata.normalize("NFD", normalise(text)) == letters


@settings(max_examples=200, deadline=None)
@given(texts)
def test_batch_equals_reference(batch: list[str]) -> None:
    assert normalise_batch(pa.array(batch, pa.string())).to_pylist() == [normalise(text) for text in batch]


@settings(max_examples=200, deadline=None)
@given(texts)
def test_idempotent_and_clean(batch: list[str]) -> None:
    for text in batch:
        once = normalise(text)
        assert normalise(once) == once
        assert once == " ".join(once.split())
        assert not any(unicodedata.category(char)[0] == "P" for char in once)


def test_every_character_alone_in_company_and_under_marks() -> None:
    # The table claims for each character that neighbours cannot change what becomes of it; ask them all.
    codes = [code for code in range(0x110000) if not 0xD800 <= code < 0xE000 and code % 0x10000 < 0xFFF0]
    codes = [code for code in codes if code < 0x3400 or 0xA000 <= code < 0x20000 or code % 61 == 0]
    for form in (
        "{0}",
        "x{0}y",
        "{0}{0}",
        "{0}\u0301\u0345",
        "\u1100{0}",
        "가{0}",
        "~{0}\u0338",
        "\u200d{0}\u0323",
        "\u0e49{0}",
    ):
        batch = ["\n".join(form.format(chr(code)) for code in codes[i : i + 4096]) for i in range(0, len(codes), 4096)]
        assert normalise_batch(pa.array(batch)).to_pylist() == [normalise(text) for text in batch], form


def test_table_decides_most_text() -> None:
    table = fold_table()
    assert table[ord("A")] == ord("a")
    assert table[ord("É")] == ord("é")
    assert table[ord("，")] == BREAK
    assert table[0x0301] == CONTEXT
    assert (table[0x4E00:0xA000] >= 0).all()


def test_digest_follows_the_normalised_text() -> None:
    assert digest("The end.") == digest("the  END")
    assert digest("Page 1") != digest("Page 2")
    assert len(digest("")) == 16


def test_texts_of_punctuation_alone_are_copies_only_of_themselves() -> None:
    assert normalise("***") == normalise("---") == ""
    assert digest("***") != digest("---")
    assert digest("***") == digest("***")


def test_digest_of_a_lone_surrogate() -> None:
    assert digest("a\ud800b") == digest("a b")
    assert digest("\ud800") != digest("\ud801")


@settings(max_examples=50, deadline=None)
@given(texts)
def test_digests_equal_digest(batch: list[str]) -> None:
    array = pa.array(batch, pa.string())
    expected = [digest(text) for text in batch]
    assert digests(array).to_pylist() == expected
    assert digests(array, normalise_batch(array)).to_pylist() == expected


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()])
def test_slices_and_offsets(kind: pa.DataType) -> None:
    batch = ["Ärger", "e\u0301tude; etc.", "", "n\u0303 Zwei", "Drei"]
    array = pa.array(batch, kind)
    for start in range(len(batch) + 1):
        for length in range(len(batch) - start + 1):
            expected = [normalise(text) for text in batch[start : start + length]]
            assert normalise_batch(array.slice(start, length)).to_pylist() == expected


def test_text_buffers_refuses_what_it_cannot_read() -> None:
    with pytest.raises(TypeError, match="int64"):
        text_buffers(pa.array([1]))
    with pytest.raises(ValueError, match="1 of 2"):
        text_buffers(pa.array(["a", None]))


def test_input_is_not_changed() -> None:
    array = pa.array(["Some TEXT, é\u0301"])
    before = np.frombuffer(array.buffers()[2], np.uint8).copy()
    normalise_batch(array)
    assert np.array_equal(np.frombuffer(array.buffers()[2], np.uint8), before)
