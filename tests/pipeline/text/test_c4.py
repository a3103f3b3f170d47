import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.text import c4
from pipeline.text.c4 import LineLimits, apply, sentences, words
from pipeline.text.repair import repair_text

GOOD = "This line has more than five words."


def run(text, script="latin", **limits):
    return apply(text, script, LineLimits(**limits))


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (GOOD, None),
        ("Does this line have five words?", None),
        ('He said "this is one long line"', None),
        ("This line has no terminal mark", "unterminated"),
        ("This line ends in an ellipsis...", "unterminated"),
        ("Only four words here.", "short"),
        ("Please enable JavaScript to view this page.", "javascript"),
        ("Read our Privacy Policy before you go on.", "policy"),
        ("x" * 1001 + " is far too long a word.", "long_word"),
        ("x" * 1000 + " is just short enough a word.", None),
        ("Citations like this one go away.[12][citation needed]", None),
        ("But C4 keeps the space before it. [12]", "unterminated"),
    ],
)
def test_each_line_rule(line, reason):
    page = run(f"{GOOD}\n{line}\n{GOOD}")
    counts = {name: getattr(page, name) for name in ("long_word", "unterminated", "short", "javascript", "policy")}
    assert counts == {name: int(name == reason) for name in counts}
    assert page.left == 2 + (reason is None)
    assert page.cut == (reason is not None)


def test_order_of_the_checks_is_that_of_c4():
    # A line that an earlier check cuts is not looked at by the later ones.
    assert run("function () { return 1 }").curly_brackets == 0
    assert run("This sentence holds a { and {, believe it or not.").curly_brackets == 2
    assert run("Javascript code is written with { and } mostly.").curly_brackets == 0
    assert run("Lorem ipsum dolor sit amet").lorem_ipsum == 0
    assert run("Lorem ipsum dolor sit amet, consectetur elit.").lorem_ipsum == 1


def test_kept_text_has_paragraphs_indents_and_no_citations():
    page = run(f"Heading\n\n{GOOD}[3]\n   {GOOD}\n\nmenu\n\n{GOOD}")
    assert page.kept == [GOOD, "   " + GOOD, "", GOOD]
    assert page.cited == 1
    assert page.cut == 2


def test_sentences_are_counted_on_the_lines_left():
    page = run("One two three four five. Six seven!\nNo. Two. Three\nIs this a sentence or two? It is two.")
    assert page.sentences == 4


@pytest.mark.parametrize(
    ("line", "count"),
    [
        ("", 0),
        ("no end mark", 1),
        ("One. Two! Three? Four", 4),
        ("Mr. Smith met J. Doe, e.g. here. They talked.", 2),
        ('"Why?" she asked. "Because."', 2),
        ("Pi is 3.14 or so.", 1),
        ("他来了。她走了！真的？是", 4),
        ("好吗?是的.走吧", 3),
        ("यह पहला है। यह दूसरा है।", 2),
        ("هل هذا سؤال؟ نعم، هو كذلك.", 2),
    ],
)
def test_sentences(line, count):
    assert sentences(line) == count


@pytest.mark.parametrize(
    ("line", "count"),
    [
        ("", 0),
        ("a b  c", 3),
        ("人人生而自由。", 6),
        ("用 Python 写", 3),
        ("สวัสดี", 4),
        ("세계 인권 선언", 3),
        ("dash – here", 3),
    ],
)
def test_words_of_a_line(line, count):
    assert words(line) == count


@pytest.mark.parametrize("mark", "。！？؟۔।॥።។။")
def test_end_marks_of_other_scripts(mark):
    assert run(f"{GOOD[:-1]}{mark}", "other").left == 1


def test_thai_needs_no_end_mark():
    text = "มนุษย์ทั้งหลายเกิดมามีอิสระ"
    assert run(text, "thai").left == 1
    assert run("plain words without any end mark").left == 0


def test_checks_switch_off():
    off = {"max_word_length": None, "terminal": False, "min_words": None, "javascript": False, "policy": False}
    text = "menu\n" + "x" * 2000 + "\njavascript\nprivacy policy"
    assert run(text, **off).kept == text.split("\n")
    assert run("[1]\n[edit]", **off).left == 0


@pytest.mark.parametrize("name", ["shakespeare/hamlet_gut_f.txt", "sotu/1863_abraham_lincoln_r.txt"])
def test_lines_add_up_on_real_text_and_cutting_twice_cuts_nothing(samples, name):
    text, _ = repair_text((samples / name).read_text(encoding="utf-8"))
    page = apply(text, "latin", c4.DEFAULT_LIMITS)
    lines = [line for line in text.split("\n") if line]
    assert page.cut + page.left == len(lines)
    assert page.left == len([line for line in page.kept if line]) > 0
    again = apply("\n".join(page.kept), "latin", c4.DEFAULT_LIMITS)
    assert (again.kept, again.cut, again.sentences) == (page.kept, 0, page.sentences)


def _reference(text):
    """`clean_page` of tensorflow_datasets' c4_utils.py without its sentence rule: the lines, or why the page goes."""
    valid = []
    for line in text.splitlines():
        line = line.strip()
        if any(len(word) > 1000 for word in line.split()):
            continue
        line = re.sub(r"\[\d*\]|\[edit\]|\[citation needed\]", "", line)
        if not line.endswith((".", "?", "!", '"')) or line.endswith("..."):
            continue
        if len(line.split()) < 5:
            continue
        lower = line.lower()
        if "lorem ipsum" in lower:
            return "lorem ipsum"
        if "javascript" in lower:
            continue
        if "{" in line:
            return "curly bracket"
        policies = ("terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies")
        if any(phrase in lower for phrase in policies):
            continue
        valid.append(line)
    return valid


WORDS = st.sampled_from(
    [
        *("one", "two", "three", "four five six", "[1]", "[edit]", "{", "Lorem ipsum", "JavaScript", "we use cookies"),
        *(".", "!", '."', "...", " ", "  ", "\n", "\n", "end.\n", "a b c d e.\n"),
    ]
)


@settings(max_examples=300, deadline=None)
@given(st.lists(WORDS, max_size=25).map(" ".join))
def test_equals_c4s_own_code_on_english(text):
    text = repair_text(text)[0]
    page = run(text)
    expected = _reference(text)
    if isinstance(expected, str):
        assert {"lorem ipsum": page.lorem_ipsum, "curly bracket": page.curly_brackets}[expected]
    else:
        assert [line.strip() for line in page.kept if line] == [line.strip() for line in expected]
        assert (page.lorem_ipsum, page.curly_brackets) == (0, 0)


def test_equals_c4s_own_code_on_books(samples):
    checked = 0
    for path in sorted(samples.glob("s*/*.txt")):
        text = repair_text(path.read_text(encoding="utf-8"))[0]
        if text.isascii():
            lines = [line.strip() for line in run(text).kept if line]
            assert lines == _reference(text)
            checked += len(lines)
    assert checked > 100
