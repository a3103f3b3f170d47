import json
import re
import unicodedata

import ftfy
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config import RepairConfig
from pipeline.text.repair import REPAIRS, repair, repair_text

PIECES = [
    *("\n", "\n\n\n", "  \n", "\t", " ", "\f", "\f\n", "\r\n", "\u00a0", "\u3000", "\u2003\n", "\u1680"),
    *("\u00ad", "\u2060", "\ufeff", "\ufffe", "\x85", "\x7f", "\u200b", "\U000e0041", "\U0001f600"),
    *(
        "\u0301",
        "\u0323",
        "é",
        "e\u0301",
        "\u0344",
        "\u00c8",
        "\u1eb8",
        "\u0302",
        "\u0345",
        "\u2126",
        "\u0928\u093c",
        "\u09c7",
        "\u09be",
        "\u1100",
        "\u1161",
        "\u11a8",
    ),
    *("&amp;", "“", "ﬁ", "Ã©", "plain words", "床前明月光"),
]
TEXTS = st.lists(st.text(max_size=6) | st.sampled_from(PIECES), max_size=12).map("".join)


def reference(text: str) -> tuple[str, list[str]]:
    """Repair step by step over strings, but for page furniture."""
    fixed = ftfy.fix_text(text)
    clean = fixed.replace("\f\n", "\n").replace("\f", "\n")
    clean = re.sub("[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f\u00ad\u2060\ufeff\ufdd0-\ufdef\ufffe\uffff]", "", clean)
    normal = unicodedata.normalize("NFC", clean)
    stripped = "\n".join(line.rstrip() for line in normal.split("\n"))
    stripped = re.sub(r"\n{3,}", "\n\n", stripped).strip()
    changes = {
        "ftfy": fixed != text,
        "controls": clean != fixed,
        "nfc": normal != clean,
        "whitespace": stripped != normal.rstrip("\n"),
    }
    return stripped, [name for name, changed in changes.items() if changed]


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
        ("lone \ud800 surrogate", "lone \ufffd surrogate", ["ftfy"]),
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


@settings(max_examples=400, deadline=None)
@given(TEXTS)
def test_equals_the_steps_over_strings(text):
    assert repair_text(text) == reference(text)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.none() | TEXTS, min_size=1, max_size=8), st.integers(0, 3))
def test_a_batch_is_repaired_as_its_texts_are(batch_of, texts, start):
    out = repair(batch_of(*["x"] * start, *texts)[start:])
    out.validate(full=True)
    for text, clean, names in zip(texts, out["text"].to_pylist(), out["repairs"].to_pylist(), strict=True):
        assert (clean, names) == (repair_text(text) if text is not None else ("", []))


def test_texts_of_quarantined_rows_stay(batch_of):
    batch = batch_of("a\u00ad  \n", "b\u00ad  \n", "c“")
    quarantine = pa.array([None, "too-long", None], pa.string())
    batch = batch.set_column(batch.schema.get_field_index("quarantine"), "quarantine", quarantine)
    assert repair(batch).column("text").to_pylist() == ["a", "b\u00ad  \n", 'c"']


@pytest.mark.parametrize("texts", [[], ["", ""], ["fine"]])
def test_nothing_to_do(batch_of, texts):
    out = repair(batch_of(*texts)) if texts else repair(batch_of("x")[:0])
    assert out["text"].to_pylist() == texts
    assert out["text"].type == pa.string()


@pytest.mark.parametrize("name", ["sotu/1941_franklin_d_roosevelt_d.txt", "milton/*.txt", "udhr-html/*.html"])
def test_real_files(samples, name):
    for path in sorted(samples.glob(name)):
        text = path.read_bytes().decode("utf-8", "replace")
        clean, _ = repair_text(text)
        assert (clean, _) == reference(text)
        assert repair_text(clean) == (clean, [])


def test_what_config_switches(samples, batch_of):
    text = (samples / "rfc/rfc2549.txt").read_text(encoding="utf-8") + "\n\nThe carr-\niers are carriers."
    kept, names = repair_text(text, RepairConfig(page_furniture=False))
    assert (kept, names) == reference(text)
    assert "[Page 2]" in kept
    clean, names = repair_text(text, RepairConfig(join_hyphens=True))
    assert names == ["page_furniture", "whitespace", "hyphens"]
    assert "[Page" not in clean
    assert clean.endswith("The carriers\nare carriers.")
    batch = repair(batch_of("short", text), RepairConfig(join_hyphens=True))
    assert batch["text"].to_pylist() == ["short", clean]
    assert batch["repairs"].to_pylist() == [[], names]


def test_mojibake_cases(samples):
    cases = json.loads((samples / "mojibake/ftfy_test_cases.json").read_text(encoding="utf-8"))
    for case in cases:
        assert repair_text(case["original"]) == reference(case["original"])
