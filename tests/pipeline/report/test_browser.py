"""The page in a real browser: Chromium, headless, without a network."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.report.page import write_report

pytestmark = pytest.mark.xdist_group("browser")
WIDTHS = {"phone": 390, "desk": 1280}


@pytest.fixture(scope="module")
def index(prepared) -> Path:
    return write_report(prepared.path)[1]


@pytest.fixture
def opened(window: Callable[..., Any], index: Path) -> Callable[..., Any]:
    """(size, colours) -> the report in a window of its own."""

    def load(size: str = "desk", colours: str = "light", **options: Any) -> Any:
        found = window(size, colours, **options)
        found.page.goto(index.as_uri())
        return found

    return load


@pytest.mark.parametrize("colours", ["light", "dark"])
@pytest.mark.parametrize("size", list(WIDTHS))
def test_hostile_texts_do_nothing_and_the_layout_holds(opened, index: Path, size: str, colours: str) -> None:
    """Documents hold script tags, handlers, javascript: links, overrides, NUL, controls and a word of 1 MB."""
    found = opened(size, colours)
    page = found.page
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true })")
    for button in page.locator("button.more").all():
        if button.is_visible():
            button.click()
    width = WIDTHS[size]
    assert page.evaluate("[document.documentElement.scrollWidth, innerWidth]") == [width, width]
    # No box of the page itself stands out either; tables scroll within their own region.
    wide = page.evaluate(
        """() => [...document.querySelectorAll('body *')]
            .filter(e => !e.closest('.scroll') && !e.closest('svg') && !e.closest('pre') && !e.closest('.t'))
            .filter(e => e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML.slice(0, 120))"""
    )
    assert wide == []
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert paper == {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 24, 30)"}[colours]
    told = page.evaluate("document.body.innerText")
    for text in ("<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "⟨U+202E⟩", "⟨U+0000⟩"):
        assert text in told
    assert page.evaluate("document.images.length") == 0
    assert page.evaluate("[...document.links].every(a => document.getElementById(a.hash.slice(1)))")
    found.assert_quiet(index.as_uri())


def test_charts_take_the_page_s_colours(opened) -> None:
    read = "getComputedStyle(document.querySelector('#lengths svg .f-kept')).fill"
    light, dark = (opened("desk", colours).page.evaluate(read) for colours in ("light", "dark"))
    assert light == "rgb(47, 143, 123)"
    assert dark == "rgb(70, 166, 145)"
    for size, shown in (("desk", "wide"), ("phone", "narrow")):
        page = opened(size).page
        for kind in ("wide", "narrow"):
            assert page.locator(f"#flow figure.{kind}").is_visible() == (kind == shown)


@pytest.mark.parametrize(("size", "colours"), [("phone", "light"), ("desk", "dark")])
def test_axe_finds_nothing_serious(opened, size: str, colours: str) -> None:
    found = opened(size, colours)
    found.page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true })")
    # The page's policy lets no foreign script in; what the debugger evaluates may run.
    assert found.serious_violations() == {}


def _column(table: Any, number: int) -> list[str]:
    return table.locator("tbody tr").evaluate_all("(rows, n) => rows.map(row => row.cells[n].textContent)", number)


def test_tables_are_sorted_by_keyboard(opened, index: Path) -> None:
    found = opened()
    page = found.page
    table = page.locator("#rare table").first
    before = _column(table, 1)
    counts = [int(text.replace(",", "")) for text in before]
    assert len(counts) == 90
    header = table.locator("thead th").nth(1)
    header.locator("button").focus()
    for key, order, state in (
        ("Enter", sorted(counts, reverse=True), "descending"),
        ("Space", sorted(counts), "ascending"),
        ("Enter", counts, None),
    ):
        page.keyboard.press(key)
        assert [int(text.replace(",", "")) for text in _column(table, 1)] == order
        assert header.get_attribute("aria-sort") == state
    words = table.locator("thead th").nth(0)
    words.locator("button").click()
    assert words.get_attribute("aria-sort") == "ascending"
    shown = [text for text in _column(table, 0) if text.startswith("rare")]
    assert shown == sorted(shown, key=lambda word: int(word[4:]))
    # The line of sums stays where it is.
    flow = page.locator("#flow table")
    flow.locator("thead th").nth(2).locator("button").click()
    assert flow.locator("tfoot th").inner_text() == "all"
    found.assert_quiet(index.as_uri())


def test_tables_are_filtered_and_opened(opened, index: Path) -> None:
    found = opened()
    page = found.page
    rows = page.locator("#rare table").first.locator("tbody tr:visible")
    assert rows.count() == 12
    more = page.locator("#rare button.more").first
    more.click()
    assert rows.count() == 90
    assert more.get_attribute("aria-expanded") == "true"
    box = page.get_by_label("Filter: Rare words with two of their contexts")
    box.fill("RARE7")
    assert rows.count() == 11  # rare7, rare70 to rare79
    assert page.locator("#rare [role=status]").inner_text() == "11 of 90 rows"
    box.fill("no such word")
    assert rows.count() == 0
    box.fill("")
    assert rows.count() == 90
    found.assert_quiet(index.as_uri())


def test_every_row_is_there_without_script_and_in_print(opened) -> None:
    page = opened(java_script_enabled=False).page
    assert page.locator("#rare table").first.locator("tbody tr:visible").count() == 90
    printed = opened().page
    printed.emulate_media(media="print")
    assert not printed.locator("nav").is_visible()
    assert not printed.locator("button.more").first.is_visible()
    printed.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert printed.evaluate("[...document.querySelectorAll('details')].every(one => one.open)")
