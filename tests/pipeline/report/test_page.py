"""The page: self-contained, inert whatever the documents hold, the same bytes each time."""

import base64
import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import orjson
import pytest

from pipeline.report.boilerplate import LARGEST
from pipeline.report.charts import charts
from pipeline.report.collect import collect
from pipeline.report.duplicates import HUNK_RUNS, HUNKS, SHOWN_PAIRS
from pipeline.report.examples import NAME_LIMIT, TEXT_LIMIT
from pipeline.report.frequency import RARE_WORDS
from pipeline.report.model import (
    Boilerplate,
    BoilerplateLine,
    Difference,
    Pair,
    Rare,
    RareWord,
    Reason,
    Repair,
    Report,
    Run,
    Window,
)
from pipeline.report.page import render, write_report
from pipeline.report.summaries import SHOWN_RULES, SHOWN_SOURCES
from pipeline.report.visible import visible, visible_text

VOID = {"meta", "wbr"}
ALLOWED = frozenset(
    re.findall(
        r"\w+",
        """html head meta title style body a header p span h1 h2 h3 h4 code dl div dt dd small nav main section ul ol li
        strong bdi figure table caption thead tbody tfoot tr th td details summary article b blockquote em i mark pre
        footer wbr del ins script svg desc defs g path clippath rect use text""",
    )
)
SVG_TAGS = {"svg", "title", "desc", "defs", "g", "path", "clipPath", "rect", "use", "text"}
SECTIONS = (
    "alarms flow rules duplicates languages lengths privacy repairs boilerplate vocabulary frequency rare splits "
    "performance provenance"
)


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

    def handle_startendtag(self, tag: str, attrs: list) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

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
    assert html.lower().count("<script") == html.lower().count("</script") == 1
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
                assert attributes[name].startswith("#"), (tag, attributes[name][:60])
        for name, value in attributes.items():
            assert name == "title" or not re.match(r"\s*(\w+:)?//|javascript:|data:", value), (tag, name)
            assert all(target.startswith("#") for target in re.findall(r"url\((.*?)\)", value))


def test_policy_allows_the_page_s_own_style_and_script_alone(html: str, page: Page) -> None:
    policy = next(a["content"] for a in page.of("meta") if a.get("http-equiv") == "Content-Security-Policy")
    rules = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    assert set(rules) == {"default-src", "style-src", "script-src", "base-uri", "form-action"}
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    for name in ("style", "script"):
        own = re.search(rf"<{name}>(.*?)</{name}>", html, re.DOTALL)
        assert own is not None
        digest = base64.b64encode(hashlib.sha256(own.group(1).encode()).digest()).decode()
        assert rules[f"{name}-src"] == f"'sha256-{digest}'"
        for word in ("url(", "@import", "innerHTML", "eval(", "fetch(", "document.write"):
            assert word not in own.group(1)


def test_page_is_bounded_whatever_the_corpus_holds(html: str, prepared) -> None:
    assert len(html.encode()) < 1_000_000
    assert "x" * 300 not in html
    # Every list as long as it may be, every text the one that takes most bytes when it is escaped.
    report = collect(prepared.path)
    worst = ('"' + "\u202e") * 120
    name, text = ("\u202e" * 20 + worst)[:NAME_LIMIT], worst[:TEXT_LIMIT]
    example = (
        report.rules[0].dropped[0].model_copy(update={"record": name, "source": name, "detail": text, "excerpt": text})
    )
    fired = next(rule for rule in report.rules if rule.histogram and rule.dropped)
    rule = fired.model_copy(update={"name": name, "dropped": (example,) * 3, "kept": (example,) * 3})
    run = Run(mark="-", text=text)
    difference = Difference(of="documents", changes=9, only_removed=9, only_kept=9, hunks=((run,) * HUNK_RUNS,) * HUNKS)
    pair = Pair(kind="near", jaccard=0.9, removed=example, kept=example, difference=difference)
    line = BoilerplateLine(source=name, line=name, documents=1, characters=1)
    window = Window(doc_id="0" * 32, left=worst[: TEXT_LIMIT // 2], word=name, right=worst[: TEXT_LIMIT // 2])
    rare = RareWord(word=name, count=1, documents=1, windows=(window,) * 2)
    alarm = report.alarms[0].model_copy(update={"title": worst[:200], "detail": worst})
    full = report.model_copy(
        update={
            "alarms": (alarm,) * 80,
            "rules": (rule,) * SHOWN_RULES,
            "sources": (report.sources[0].model_copy(update={"name": name, "boilerplate": 9}),) * SHOWN_SOURCES,
            "languages": (report.languages[0].model_copy(update={"name": name}),) * 61,
            "quarantine": (Reason(name=name, count=1, examples=(example,) * 3),) * 30,
            "repairs": (Repair(name=name, records=1, examples=(example,) * 2),) * 60,
            "boilerplate": Boilerplate(distinct=1, characters=1, lines=(line,) * LARGEST),
            "duplicates": report.duplicates.model_copy(update={"pairs": (pair,) * sum(SHOWN_PAIRS.values())}),
            "rare": Rare(words=RARE_WORDS, occurrences=1, examples=(rare,) * RARE_WORDS),
        }
    )
    assert 1_000_000 < len(render(full).encode()) < 5_000_000


def test_tables_pictures_and_sections_can_be_read_aloud(page: Page) -> None:
    assert len(page.of("caption")) == len(page.of("table"))
    assert all("scope" in attributes for attributes in page.of("th"))
    assert len(page.of("svg")) > 8
    for attributes in page.of("svg"):
        assert attributes["role"] == "img"
        assert set(attributes["aria-labelledby"].split()) <= {a.get("id") for _, a in page.tags}
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    sections = [attributes["id"] for attributes in page.of("section")]
    assert sections == SECTIONS.split()
    assert {a["href"] for a in page.of("a")} <= {f"#{name}" for name in ids}


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
    drawn = charts(collect(prepared.path), 3)
    assert {"flow", "flow-bars", "rules", "removals", "duplicates", "languages", "lengths", "repairs", "zipf"} <= set(
        drawn
    )
    assert {"score-0", "score-1"} <= set(drawn)
    ids: list[str] = []
    for name, chart in drawn.items():
        root = ElementTree.fromstring(chart.svg)
        assert (root[0].tag, root[1].tag) == ("title", "desc")
        assert root[0].text
        assert root[1].text == chart.alt
        mine = [element.attrib["id"] for element in root.iter() if "id" in element.attrib]
        assert all(identity.startswith(name) for identity in mine)
        ids += mine
        for element in root.iter():
            assert element.tag in SVG_TAGS
            assert "style" not in element.attrib
            assert "#0000" not in "".join(element.attrib.values())  # every colour has become a class
            for key, value in element.attrib.items():
                assert not key.endswith("href") or value[1:] in mine
                assert all(target[1:] in mine for target in re.findall(r"url\((.*?)\)", value))
    assert len(ids) == len(set(ids))
    assert "wiki" in drawn["flow"].svg
    assert "&lt;/style&gt;" in drawn["flow"].svg


def test_visible_text() -> None:
    assert visible_text("a\nb\tc") == "a↵b c"
    assert visible_text("\x1b[31m\u202ex\ue000\U000f0000") == "⟨U+001B⟩[31m⟨U+202E⟩x⟨U+E000⟩⟨U+F0000⟩"
    assert visible_text("x" * 1000, 10) == "x" * 9 + "…"
    assert visible("\u202e" * 1000, 24) == f'<i class="c">{"⟨U+202E⟩" * 3}</i>…'
    assert len(visible("a\0" * 1000, 240).striptags()) < 260
    assert visible_text("می\u200cخواهم") == "می\u200cخواهم"  # the joiner is spelling
    assert visible("<b>\x00\x01</b>\n") == '&lt;b&gt;<i class="c">⟨U+0000⟩⟨U+0001⟩</i>&lt;/b&gt;\n'
