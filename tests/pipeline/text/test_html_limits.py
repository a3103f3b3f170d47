import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config import HtmlConfig
from pipeline.text.html import extract_page, main_text
from pipeline.text.html_limits import _depth, beyond, needs_guard, without_tags
from pipeline.text.repair import REPAIRS

CONFIG = HtmlConfig()


@pytest.mark.parametrize(
    ("page", "bound"),
    [
        ("<p>text</p>", None),
        ("<p>" * 5000 + "text", None),
        ("<div>" * 512 + "text", None),
        ("<div>" * 513 + "text", "depth"),
        ("<div></b></p></i>" * 600, "depth"),
        ("<div></div>" * 2000, None),
        ("".join(f"<font size={n}>" for n in range(600)), "depth"),
        ("".join(f"<x-{n}>" for n in range(600)), "depth"),
        ("<script>" + "'<div>'," * 2000 + "</script><p>text", None),
        ("<!--" + "<div>" * 2000 + "--><p>text", None),
        ("<p " + " ".join(f"a{n}" for n in range(4096)) + ">text", None),
        ("<p " + " ".join(f"a{n}" for n in range(5000)) + ">text", "attributes"),
        ("<p data-json='" + "1, " * 9000 + "'>text", None),
        ("<p>" + "word " * 9000, None),
        ("<br>" * 500_001, "tags"),
        ("é" * (5 << 20) + "!", "bytes"),
    ],
)
def test_bounds(page, bound):
    assert beyond(page, CONFIG) == bound
    text, how = extract_page(page[:100_000]) if bound in (None, "depth", "attributes") else extract_page(page)
    assert how == ("main_text" if bound is None else "html_stripped")
    if "text" in page[:100_000]:
        assert "text" in text


def test_limits_of_the_config_hold():
    page = "<div><div><p>text</p><p>more</p></div></div>"
    assert beyond(page, HtmlConfig(max_depth=2)) is None
    assert beyond(page, HtmlConfig(max_depth=1)) == "depth"
    assert beyond(page, HtmlConfig(max_tags=7)) == "tags"
    assert beyond(page, HtmlConfig(max_bytes=len(page))) is None
    assert beyond(page, HtmlConfig(max_bytes=len(page) - 1)) == "bytes"


def test_what_was_done_stands_in_the_repairs(batch_of):
    batch = batch_of("<nav>menu</nav><p>one", "<div>" * 600 + "two", media="html")
    out = main_text(batch).to_pydict()
    assert out["text"] == ["one", "two"]
    assert out["repairs"] == [["main_text"], ["html_stripped"]]
    assert {"main_text", "html_stripped", "html_timeout"} <= REPAIRS.keys()


def test_without_tags_shows_what_a_reader_sees():
    page = (
        "<head><title>T &amp; t</title><style>p {}</style></head><body><script>var a = '<p>';</script>"
        "<!-- no <b>text</b> --><p class='x'>One\ntwo<br/>three&nbsp;4 &lt;5 <b>bo</b>ld</p><ul><li>a<li>b</ul>1 < 2"
    )
    assert without_tags(page) == "T & t\nOne two\nthree\xa04 <5 bold\na\nb\n1 < 2"
    assert without_tags("<script>never closed <p>hidden") == ""
    assert without_tags("<!-- never closed <p>hidden") == ""
    assert without_tags("&#xd800;&#55357;").encode("utf-8")


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.sampled_from(["<div>", "</div>", "<b ", ">", "<", "</", "<!--", "-->", "<script>", "</script>", "&lt;", "'"])
        | st.text(max_size=6),
        max_size=30,
    ).map("".join)
)
def test_any_text_can_be_stripped(page):
    text = without_tags(page)
    text.encode("utf-8")
    assert text == text.strip()
    beyond(page, HtmlConfig(max_depth=1))


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.sampled_from(["div", "/div", "b", "/b", "x-y", "/x-y", "p", "/p", "br", "DIV", "/DIV"]), max_size=60)
)
def test_the_quick_bound_is_never_below_the_depth(names):
    page = "".join(f"<{name}>" for name in names)
    for most in (1, 3, 6):
        assert (beyond(page, HtmlConfig(max_depth=most)) == "depth") == (_depth(page, 1000) > most)


@pytest.mark.parametrize(
    "unit",
    [
        "<div>",
        "</p>",
        "<",
        "<!--",
        "<b a='",
        "&amp",
        "&",
        "<script>",
        "</",
        "<p\n",
        "<p \"'",
        "<a href=x ",
        "<![",
        "\0<p>",
    ],
)
def test_stripping_is_linear(unit):
    seconds = []
    for size in (50_000, 400_000):
        page = unit * (size // len(unit))
        runs = []
        for _ in range(3):
            started = time.process_time()
            without_tags(page)
            beyond(page, CONFIG)
            runs.append(time.process_time() - started)
        seconds.append(min(runs))
    # Eight times the page: quadratic work would take 64 times as long.
    assert seconds[1] < 24 * seconds[0] + 0.05, seconds


HOSTILE = {
    "attributes": "<p " + " ".join(f"a{n}=1" for n in range(500_000)) + ">text",
    "div": "<div>" * 2_000_000 + "text",
    "formatting": "".join(f"<b a={n}>x" for n in range(300_000)) + "text",
    "stray end tags": "<div></b></p></i>" * 100_000 + "text",
    "articles": "<div itemprop=articleBody>x</div>" * 100_000 + "<p>text",
    "tables": "<table><tr><td>" * 160_000 + "text",
    "unclosed": "<p>text" * 100_000,
    "misnested": "<b><p>text</b></p>" * 60_000,
    "markup in a name": "<p<" * 200_000 + ">text",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_pages_end_early_with_their_text(name):
    page = HOSTILE[name]
    assert beyond(page, CONFIG) is not None or needs_guard(page)
    started = time.process_time()
    text, how = extract_page(page, HtmlConfig(timeout_seconds=10))
    assert time.process_time() - started < 10
    assert how != "html_timeout"
    assert re.search("text", text) or name == "markup in a name"
