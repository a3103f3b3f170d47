import json

import ftfy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.text import mojibake
from pipeline.text.mojibake import fix_text

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


def test_long_runs_of_marks_written_as_entities_are_cut() -> None:
    """Normalising a run takes quadratic time: 1.4 million marks would take hours."""
    run = "&#769;&#791;" * 700_000
    fixed = fix_text(f"a{run}b & c")
    assert len(fixed) < 1000
    assert fixed.startswith("á")
    assert fixed.endswith("b & c")
    short = "&#769;&#791;" * 400
    assert fix_text(f"a{short}b") == ftfy.fix_text(f"a{short}b")
