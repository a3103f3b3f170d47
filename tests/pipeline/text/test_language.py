import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.text.html import extract
from pipeline.text.language import SAMPLE, identify, language, sample
from pipeline.text.script import RANGES, SCRIPTS, UNSPACED, dominant, flags

DECLARATIONS = {
    "arb": ("ar", "arabic"),
    "cmn_hans": ("zh", "han"),
    "cmn_hant": ("zh", "han"),
    "deu_1996": ("de", "latin"),
    "eng": ("en", "latin"),
    "fra": ("fr", "latin"),
    "heb": ("he", "hebrew"),
    "hin": ("hi", "devanagari"),
    "jpn": ("ja", "kana"),
    "kor": ("ko", "hangul"),
    "rus": ("ru", "cyrillic"),
    "spa": ("es", "latin"),
    "swh": ("sw", "latin"),
    "tha": ("th", "thai"),
    "vie": ("vi", "latin"),
}


@pytest.mark.parametrize("name", DECLARATIONS)
def test_declarations(samples, batch_of, name):
    text = extract((samples / f"udhr-html/{name}.html").read_text(encoding="utf-8"))
    out = identify(batch_of(text, text[:200])).to_pydict()
    code, script = DECLARATIONS[name]
    assert out["language"] == [code, code]
    assert out["script"][0] == script
    assert out["language_score"][0] > 0.9
    assert all(0 <= score <= 1 for score in out["language_score"])


@pytest.mark.parametrize("text", ["", " \n", "Hello", "1234 5678 " * 50, "!?" * 100, "你好", "ᏣᎳᎩ ᎦᏬᏂᎯᏍᏗ ᎠᏂᏴᏫᏯ " * 5])
def test_too_little_text_tells_no_language(text):
    assert language(text, dominant(text)) == ("und", 0.0)


def test_quarantined_rows_are_null(batch_of):
    out = identify(batch_of(None, "The cat sat on the mat and looked at the moon.")).to_pydict()
    assert out["language"] == [None, "en"]
    assert out["language_score"][0] is None
    assert out["script"] == [None, "latin"]


def test_foreign_preface_does_not_decide():
    preface = "This book was digitised by volunteers and may be read by anyone, anywhere, at no cost. " * 4
    body = "Il était une fois une petite fille de village, la plus jolie qu'on eût su voir. " * 100
    assert language(preface + body, "latin")[0] == "fr"


def test_sample_is_bounded():
    assert sample("a" * SAMPLE) == "a" * SAMPLE
    assert len(sample("ab" * 10_000)) <= SAMPLE + 2


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("", "other"),
        ("123 !?", "other"),
        ("abc", "latin"),
        ("naïve 日", "latin"),
        ("日本 a", "han"),
        ("ひらがな漢字", "kana"),
        ("ΑΒΓ", "greek"),
        ("ᏣᎳᎩ", "other"),
        ("a\u0301\u0301\u0301 я", "latin"),
        ("𠀀𠀁", "han"),
        ("หนังสือ", "thai"),
        ("पुस्तक", "devanagari"),
        ("aя", "latin"),
    ],
)
def test_dominant_script(text, script):
    assert dominant(text) == script


def test_ranges_are_disjoint_and_ordered():
    spans = sorted(span for ranges in RANGES.values() for span in ranges)
    assert all(first <= last for first, last in spans)
    assert all(before[1] < after[0] for before, after in itertools.pairwise(spans))
    assert set(UNSPACED) < set(SCRIPTS)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=1))
def test_flags_follow_python(character):
    if character:
        kind = int(flags()[ord(character)])
        assert bool(kind & 1) == character.isspace()
        assert bool(kind & 4) == character.isalpha()
        assert bool(kind & 2) >= character.isalnum()
