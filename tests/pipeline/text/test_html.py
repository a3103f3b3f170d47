import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config import HtmlConfig
from pipeline.text.html import extract, main_text


def test_python_tutorial_is_left_without_navigation(samples):
    pages = sorted((samples / "python-tutorial-html").glob("*.html"))
    assert len(pages) == 5
    for path in pages:
        html = path.read_text(encoding="utf-8")
        text = extract(html)
        for furniture in ("Previous topic", "Next topic", "Report a Bug", "Show Source", "Quick search", "Copyright"):
            assert furniture in html
            assert furniture not in text, (path.name, furniture)
    text = extract((samples / "python-tutorial-html/appetite.html").read_text(encoding="utf-8"))
    assert text.startswith("1. Whetting Your Appetite\n\nIf you do much work on computers,")
    assert "• the high-level data types allow you to express complex operations in a single statement;" in text
    assert text.endswith("exceptions and user-defined classes.")


def test_declarations_keep_every_paragraph(samples):
    for path in sorted((samples / "udhr-html").glob("*.html")):
        html = path.read_text(encoding="utf-8")
        text = extract(html)
        body = html[html.index("<body>") :]
        paragraphs = [part.split("</p>")[0] for part in body.split("<p>")[1:]]
        for paragraph in paragraphs:
            if "<" not in paragraph:
                assert " ".join(paragraph.split()) in " ".join(text.split()), (path.name, paragraph)


def test_page_without_main_content_gives_all_but_navigation():
    assert extract("just text, no tags") == "just text, no tags"
    assert extract("<body><nav><a href=x>Home</a></nav><footer>(c)</footer></body>") == ""
    assert extract("<title>t</title>") == ""
    assert "The text." in extract("<form><div>The text.</div><input value=x></form>")


def test_only_sound_html_rows_change(batch_of):
    batch = batch_of("<p>one</p>", None, "", media="html")
    out = main_text(batch).to_pydict()
    assert out["text"] == ["one", "", ""]
    assert out["repairs"] == [["main_text"], [], ["main_text"]]
    plain = batch_of("<p>one</p>")
    assert main_text(plain).equals(plain)


@pytest.mark.parametrize(
    "html",
    [
        "<",
        "<html",
        "<!--",
        "<script>var a",
        "\0<p>a\0b",
        "&#xd800;&#0;",
        "<p" * 1000,
        "</div>" * 1000,
        "<table><tr>" * 99,
    ],
)
def test_broken_pages_do_not_raise(html):
    extract(html).encode("utf-8")


def test_deep_nesting_costs_little_and_keeps_the_text():
    start = time.process_time()
    for tag in ("div", "b", "ul", "x-y"):
        assert "hello" in extract(f"<{tag}>" * 50_000 + "hello")
        assert "hello" in extract(f"<{tag}>" * 50_000 + "hello" + f"</{tag}>" * 50_000)
    # 50,000 nested <div> alone take the main-content search 60 s.
    assert time.process_time() - start < 10


def test_a_marked_article_keeps_its_lists_of_links():
    links = "".join(f'<li><a href="{n}">Chapter {n} of this manual</a></li>' for n in range(60))
    page = f"<body><nav>menu</nav><div itemprop=articleBody><p>{'The text. ' * 20}</p><ul>{links}</ul></div></body>"
    text = extract(page)
    assert text.count("of this manual") == 60
    assert "menu" not in text
    # Two such articles are teasers: the search for main content decides.
    assert "menu" not in extract(page.replace("</body>", "<div itemprop=articleBody>More</div></body>"))


def test_headings_code_and_tables_are_kept():
    page = (
        "<main><h1>Title<a class=headerlink href='#t'>¶</a></h1><p>" + "Words of a text. " * 20 + "</p>"
        "<pre>def f():\n    return 1</pre><table><tr><th>a</th><td>one</td></tr></table></main>"
    )
    text = extract(page)
    assert text.startswith("Title\n\nWords")
    assert "def f():\n    return 1" in text
    assert "one" in text


def test_flat_pages_with_many_tags_keep_their_main_content():
    page = "<nav>menu</nav><main>" + "<p>A paragraph that was never closed, as HTML allows." * 2000 + "</main>"
    text = extract(page)
    assert text.count("paragraph") == 2000
    assert "menu" not in text


def test_pages_that_are_named_keep_their_menus(batch_of):
    page = "<nav><a href='/'>Home</a></nav><main><p>" + "Words of a text. " * 30 + "</p></main>"
    batch = batch_of(page, media="html")
    path = batch.column("record")[0].as_py().rpartition("#")[0]
    for pattern, menu, how in ((path, True, "html_stripped"), ("elsewhere/*", False, "main_text")):
        found = main_text(batch, HtmlConfig(whole=(pattern,))).to_pylist()[0]
        assert ("Home" in found["text"], "Words of a text." in found["text"]) == (menu, True)
        assert found["repairs"] == [how]


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            ["<div>", "</div>", "<p>", "<nav>", "<table>", "<td>", "<!--", "-->", "<script>", "&amp;", "<a href='"]
        )
        | st.text(max_size=8),
        max_size=20,
    ).map("".join)
)
def test_any_text_is_a_page(html):
    extract(html).encode("utf-8")
