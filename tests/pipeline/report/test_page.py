"""The page: self-contained, inert whatever the documents hold, the same bytes each time."""

import base64
import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import orjson
import pytest

from pipeline.report.charts import charts
from pipeline.report.collect import collect
from pipeline.report.model import Report
from pipeline.report.page import render, write_report
from pipeline.report.visible import visible, visible_text

VOID = {"meta", "img", "source", "br", "link", "input"}
ALLOWED = frozenset(
    re.findall(
        r"\w+",
        """html head meta title style body a header p span h1 h2 h3 h4 h5 code dl div dt dd small nav main section ul ol
        li strong bdi figure picture source img table caption thead tbody tr th td details summary article b blockquote
        em i mark pre footer""",
    )
)
SVG_TAGS = {"svg", "title", "desc", "defs", "style", "g", "path", "clipPath", "rect", "use", "text", "tspan"}


class Page(HTMLParser):
    """Collects tags, attributes and text; fails on an unbalanced tag."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def of(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def html(prepared) -> str:
    return render(collect(prepared.path))


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


def test_documents_add_no_markup(html: str, page: Page) -> None:
    assert {tag for tag, _ in page.tags} <= ALLOWED
    assert html.count("<style") == html.count("</style>") == 1
    assert "<script" not in html.lower()
    for tag, attributes in page.tags:
        assert not any(name.startswith("on") or name == "style" for name in attributes), tag
    # The hostile texts are there all the same, as text.
    told = "".join(page.text)
    assert "<script>alert(1)</script>" in told
    assert '"><img src=x onerror=alert(1)>' in told
    assert "{{ 7*7 }}" in told
    assert "⟨U+202E⟩" in told
    assert "⟨U+0000⟩" in told


def test_hidden_characters_are_shown_not_obeyed(html: str) -> None:
    hidden = re.findall(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u200e-\u200f\u2028-\u202e\u2060-\u2069\ufeff]", html)
    assert hidden == []


def test_nothing_remote_is_named(page: Page) -> None:
    for tag, attributes in page.tags:
        for name in ("src", "srcset", "href", "action", "data"):
            if name in attributes:
                assert attributes[name].startswith(("#", "data:image/svg+xml;base64,")), (tag, attributes[name][:60])
    pictures = [attributes["src"] for attributes in page.of("img")]
    assert len(pictures) == 8
    for uri in pictures + [attributes["srcset"] for attributes in page.of("source")]:
        for element in ElementTree.fromstring(base64.b64decode(uri.partition(",")[2])).iter():
            assert element.tag.rpartition("}")[2] in SVG_TAGS
            for name, value in element.attrib.items():
                assert not name.endswith("href") or value.startswith("#")
                assert all(target.startswith("#") for target in re.findall(r"url\((.*?)\)", value))


def test_policy_allows_the_page_s_own_style_alone(html: str, page: Page) -> None:
    policy = next(a["content"] for a in page.of("meta") if a.get("http-equiv") == "Content-Security-Policy")
    style = re.search(r"<style>(.*?)</style>", html, re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style.group(1).encode()).digest()).decode()
    rules = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["style-src"] == f"'sha256-{digest}'"
    assert rules["img-src"] == "data:"
    assert "script-src" not in rules
    assert "url(" not in style.group(1)
    assert "@import" not in style.group(1)


def test_page_is_bounded(html: str) -> None:
    assert len(html.encode()) < 1_000_000
    assert "x" * 300 not in html


def test_tables_pictures_and_sections_can_be_read_aloud(page: Page) -> None:
    assert len(page.of("caption")) == len(page.of("table"))
    assert all("scope" in attributes for attributes in page.of("th"))
    assert all(attributes["alt"] for attributes in page.of("img"))
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    sections = [attributes["id"] for attributes in page.of("section")]
    assert " ".join(sections) == (
        "alarms flow rules boilerplate duplicates languages lengths repairs vocabulary rare performance provenance"
    )
    assert [a["href"] for a in page.of("a")[1:]] == [f"#{name}" for name in sections]


def test_files_are_the_same_bytes_on_two_runs(prepared) -> None:
    data, index = write_report(prepared.path)
    assert (data, index) == (prepared.path / "report/report.json", prepared.path / "report/index.html")
    first = data.read_bytes(), index.read_bytes()
    write_report(prepared.path)
    assert (data.read_bytes(), index.read_bytes()) == first
    assert sorted(path.name for path in index.parent.iterdir()) == ["index.html", "report.json", "run.json"]
    numbers = orjson.loads(first[0])
    assert numbers["counts"] == prepared.manifest.counts.model_dump()
    assert Report.model_validate(numbers) == collect(prepared.path)
    assert str(prepared.path).encode() not in first[0] + first[1]


def test_page_of_an_empty_corpus(tmp_path: Path, prepare_directory) -> None:
    text = render(collect(prepare_directory(tmp_path, [], 1).path))
    Page(text)
    assert "0 of 0 records kept" in text


def test_charts_are_sound_svg(prepared) -> None:
    drawn = charts(collect(prepared.path))
    assert set(drawn) == {"flow", "rules", "removals", "duplicates", "languages", "lengths", "zipf", "performance"}
    for chart in drawn.values():
        light, dark = (base64.b64decode(uri.partition(",")[2]).decode() for uri in (chart.light, chart.dark))
        root = ElementTree.fromstring(light)
        assert root.tag.endswith("svg")
        assert root[0].tag.endswith("title")
        assert root[0].text
        assert root[1].text == chart.alt
        assert "dc:date" not in light
        assert light != dark
        assert len(light) == len(dark)
    flow = base64.b64decode(drawn["flow"].light.partition(",")[2]).decode()
    assert "wiki" in flow
    assert "&lt;/style&gt;" in flow


def test_visible_text() -> None:
    assert visible_text("a\nb\tc") == "a↵b c"
    assert visible_text("\x1b[31m\u202ex\ue000\U000f0000") == "⟨U+001B⟩[31m⟨U+202E⟩x⟨U+E000⟩⟨U+F0000⟩"
    assert visible_text("x" * 1000, 10) == "x" * 9 + "…"
    assert visible_text("می\u200cخواهم") == "می\u200cخواهم"  # the joiner is spelling
    assert visible("<b>\x00\x01</b>\n") == '&lt;b&gt;<i class="c">⟨U+0000⟩⟨U+0001⟩</i>&lt;/b&gt;\n'
