import itertools
import json
import re

import ftfy
import pytest
from ftfy.badness import BADNESS_RE, is_bad
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.text import mojibake
from pipeline.text.mojibake import SUSPICIOUS, fix_text

# What ftfy's fixers look at, and what stands around it in real text.
PIECES = st.sampled_from(
    [
        *("\n", "\r\n", "\r", " ", "\f", "\t", "<b>", "&", "&amp;", "&lt;", "&amp;lt;", "&eacute;", "&#x41;", "&nbsp;"),
        *("\x1b[36;44m", "\x00", "\x85", "\x9d", "\u2028", "\ufeff", "\ufffc", "\u00ad", "\u200b", "\ufffd"),
        *("“quoted”", "‘it’", "ʼn", "ŉ", "ﬁ", "ﬄ", "Ǆ", "＆amp；", "＜", "ＬＯＵＤ", "ﾀﾞ", "\u3000", "￣", "ﬅ"),
        *("Ã³", "â€œ", "â€\x9d", "Â ", "Ã ", "Ãƒ", "ÄŒeÅ¡tina", "Ð ÑƒÑ", "à®", "вЂ™", "œ", "°", "×³", "…", "—"),
        *("e\u0301", "é", "\u0301", "\u1100\u1161", "कि", "ｶ\uff9e", "plain words", "Déjà vu", "床前明月光", "مرحبا"),
    ]
)
TEXTS = st.lists(PIECES | st.text(max_size=5), max_size=12).map("".join)


@pytest.fixture(scope="module")
def cases(samples):
    return json.loads((samples / "mojibake/ftfy_test_cases.json").read_text(encoding="utf-8"))


def test_ftfys_own_cases(cases):
    assert len(cases) > 80
    for case in cases:
        assert fix_text(case["original"]) == ftfy.fix_text(case["original"])
        assert fix_text(case["fixed"]) == ftfy.fix_text(case["fixed"])


@pytest.mark.parametrize("between", ["\n", "\r\n", " ", "<\n", "\n&amp; "])
def test_ftfys_own_cases_in_one_document(cases, between):
    text = between.join(case["original"] for case in cases)
    assert fix_text(text) == ftfy.fix_text(text)


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize(
    "name", ["udhr-html/*.html", "moby-dick/chapter_1?.txt", "milton/*a.txt", "zh-classics/*.json", "rfc/*2549.txt"]
)
def test_real_files(samples, name, line_end):
    for path in sorted(samples.glob(name)):
        text = path.read_text(encoding="utf-8").replace("\n", line_end)
        assert fix_text(text) == ftfy.fix_text(text), path


@settings(max_examples=400, deadline=None)
@given(TEXTS)
def test_equals_ftfy(text):
    assert fix_text(text) == ftfy.fix_text(text)


@settings(max_examples=150, deadline=None)
@given(TEXTS, st.integers(2, 9))
def test_long_lines_are_cut_where_ftfy_cuts_them(text, length):
    config = mojibake._CONFIG._replace(max_decode_length=length)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mojibake, "SEGMENT", length)
        assert fix_text(text) == ftfy.fix_text(text, config)


def test_entities_are_kept_from_the_first_line_with_markup_on():
    assert fix_text("a &amp; b\nc <i> &amp;\nd &amp; e") == "a & b\nc <i> &amp;\nd &amp; e"


def test_suspicious_covers_every_character_of_badness():
    """Strings of ASCII and of the characters of BADNESS_RE outside SUSPICIOUS are never bad, whatever their order."""
    named = set(re.findall(r"[^\x00-\x7f]", BADNESS_RE.pattern))
    harmless = sorted(c for c in named if not SUSPICIOUS.search(c))
    assert {"—", "’", "“", "…", "•"} <= set(harmless)
    # Alternatives without any character of SUSPICIOUS would have to match in three characters of these.
    for letters in itertools.product([*harmless, "a", "A", " ", ".", "1", "字"], repeat=3):
        assert not is_bad("".join(letters))
    # Ranges and classes of the expression reach no further than SUSPICIOUS: every other character is inert.
    for point in range(0x80, 0x10000):
        character = chr(point)
        if not (0xD800 <= point < 0xE000 or SUSPICIOUS.search(character) or character in harmless):
            assert not any(
                is_bad(before + character + after) for before in ("é", "¤", "╔", "Ã") for after in ("€", "™")
            )
