import unicodedata

import ftfy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.text.repair import REPAIRS, repair, repair_text

TEXTS = st.lists(
    st.text(max_size=6)
    | st.sampled_from(["\n", "\n\n\n", "  \n", "\t", "\f", "\u00ad", "\u2060", "\u0301", "é", "e\u0301", "&amp;", "“"]),
    max_size=10,
).map("".join)


@pytest.mark.parametrize(
    ("text", "clean", "names"),
    [
        ("", "", []),
        ("plain\n\n  indented\ttext", "plain\n\n  indented\ttext", []),
        ("newlines at the end are no repair\n\n\n", "newlines at the end are no repair", []),
        ("cafÃ© &amp; bar", "café & bar", ["ftfy"]),
        ("e\u0301t\u00e9", "été", ["ftfy"]),
        ("co\u00adoperate \u2060now", "cooperate now", ["controls"]),
        ("e\u00ad\u0301", "é", ["controls", "nfc"]),
        ("page 1\f\npage 2", "page 1\npage 2", ["controls"]),
        ("page 1\n\f\npage 2", "page 1\n\npage 2", ["controls"]),
        ("a  \nb", "a\nb", ["whitespace"]),
        ("a\n\n\n\nb", "a\n\nb", ["whitespace"]),
        (" \n a \n\n", "a", ["whitespace"]),
        ("one\r\ntwo\rthree", "one\ntwo\nthree", ["ftfy"]),
        ("\x1b[31mred\x1b[0m\x07", "red", ["ftfy"]),
        ("zero\u200bwidth space and joiner\u200d stay", "zero\u200bwidth space and joiner\u200d stay", []),
    ],
)
def test_repairs_and_their_names(text, clean, names):
    assert repair_text(text) == (clean, names)
    assert set(names) <= set(REPAIRS)


def test_only_sound_rows_change_and_earlier_repairs_stay(batch_of):
    batch = batch_of("Ã©", None, "fine")
    out = repair(batch).to_pydict()
    assert out["text"] == ["é", "", "fine"]
    assert out["repairs"] == [["ftfy"], [], []]
    assert batch.column("text").to_pylist() == ["Ã©", "", "fine"]
    again = repair(repair(batch_of("a\u00ad \nb"))).to_pydict()
    assert again["repairs"] == [["controls", "whitespace"]]


@settings(max_examples=300, deadline=None)
@given(TEXTS)
def test_clean_text_is_normal_bare_and_stable(text):
    clean, names = repair_text(text)
    assert unicodedata.is_normalized("NFC", clean)
    assert clean == clean.strip()
    assert "\n\n\n" not in clean
    assert all(line == line.rstrip() for line in clean.split("\n"))
    assert clean.splitlines() == clean.split("\n") if clean else True
    assert names == [name for name in REPAIRS if name in names]
    if not names:
        assert clean == text.rstrip("\n")
    if ftfy.fix_text(clean) == clean:
        assert repair_text(clean) == (clean, [])


@pytest.mark.parametrize("name", ["rfc/rfc2549.txt", "sotu/1941_franklin_d_roosevelt_d.txt", "milton/poemata.txt"])
def test_real_files_stay_readable(samples, name):
    text = (samples / name).read_text(encoding="utf-8")
    clean, _ = repair_text(text)
    assert clean.split() == ftfy.fix_text(text).split()
    assert repair_text(clean) == (clean, [])
