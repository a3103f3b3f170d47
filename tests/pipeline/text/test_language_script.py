import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.text.script import RANGES, SCRIPTS, UNSPACED, _script_of, dominant, flags, letters_of


def reference(text):
    """Script by script, as the docstring has it."""
    counts = np.bincount(_script_of()[[ord(character) for character in text]], minlength=len(SCRIPTS))[: len(SCRIPTS)]
    return SCRIPTS[int(counts.argmax())] if counts.any() else "other"


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
        ("@[`{" * 40, "other"),
        ("z" * 63 + "я" * 64, "cyrillic"),
    ],
)
def test_dominant_script(text, script):
    assert dominant(text) == script


_PARTS = st.text(max_size=40) | st.sampled_from(["x" * 64, "0" * 63, "я" * 90, "漢字かな" * 30, "😀" * 17])


@settings(max_examples=200, deadline=None)
@given(st.lists(st.lists(_PARTS, max_size=5).map("".join), max_size=6))
def test_batches_are_the_reference(texts):
    encoded = [text.encode() for text in texts]
    offsets = np.concatenate([[0], np.cumsum([len(data) for data in encoded])]).astype(np.int64)
    scripts, lengths = letters_of(np.frombuffer(b"".join(encoded), np.uint8), offsets)
    assert [SCRIPTS[place] for place in scripts] == [reference(text) if text else "other" for text in texts]
    assert lengths.tolist() == [len(text) for text in texts]


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
