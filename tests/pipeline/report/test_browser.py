"""The page in a real browser: Chromium, headless, without a network."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.report.page import write_report

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
playwright = pytest.importorskip("playwright.sync_api")
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here (Debian: apt-get install chromium)"),
    pytest.mark.xdist_group("browser"),
]
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]  # fmt: skip
SIZES = {"phone": (390, 844), "desk": (1280, 900)}


class Opened:
    """A page with all that it tried to do."""

    def __init__(self, page) -> None:
        self.page = page
        self.dialogs: list[str] = []
        self.requests: list[str] = []
        self.errors: list[str] = []
        page.on("dialog", lambda dialog: (self.dialogs.append(dialog.message), dialog.dismiss()))
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", lambda message: self.errors.append(message.text) if message.type == "error" else None)

    def quiet(self, path: Path) -> None:
        assert self.dialogs == []
        assert self.errors == []
        assert [url for url in self.requests if not url.startswith("data:image/svg+xml")] == [path.as_uri()]


@pytest.fixture(scope="module")
def browser() -> Iterator:
    with playwright.sync_playwright() as driver:
        made = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS, env={**os.environ, "TZ": "UTC"})
        yield made
        made.close()


@pytest.fixture(scope="module")
def report(prepared) -> Path:
    return write_report(prepared.path)[1]


@pytest.fixture
def opened(browser, report: Path):
    """(size, colours) -> the report in a window of that size."""
    contexts = []

    def load(size: str = "desk", colours: str = "light") -> Opened:
        width, height = SIZES[size]
        context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=colours, reduced_motion="reduce"
        )
        contexts.append(context)
        found = Opened(context.new_page())
        found.page.goto(report.as_uri())
        return found

    yield load
    for context in contexts:
        context.close()


@pytest.mark.parametrize("colours", ["light", "dark"])
@pytest.mark.parametrize("size", list(SIZES))
def test_hostile_texts_do_nothing_and_the_layout_holds(opened, report: Path, size: str, colours: str) -> None:
    """Documents hold script tags, handlers, javascript: links, overrides, NUL, controls and a word of 1 MB."""
    found = opened(size, colours)
    page = found.page
    for details in page.query_selector_all("details"):
        details.evaluate("element => { element.open = true }")
    found.quiet(report)
    wide = page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
    assert wide[0] <= wide[1] == SIZES[size][0]
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert paper == {"light": "rgb(255, 255, 255)", "dark": "rgb(23, 28, 34)"}[colours]
    assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
    # Every link leads to a place in the page.
    assert page.evaluate("[...document.links].every(link => document.getElementById(link.hash.slice(1)))")


@pytest.mark.parametrize(("size", "colours"), [("phone", "light"), ("desk", "dark")])
def test_axe_finds_nothing_serious(opened, size: str, colours: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    page = opened(size, colours).page
    # The policy of the page lets no foreign script in: evaluated by the debugger it may run.
    found = axe.Axe().run(page).response["violations"]
    serious = {
        v["id"]: [node["html"][:160] for node in v["nodes"][:3]]
        for v in found
        if v["impact"] in ("serious", "critical")
    }
    assert serious == {}


def test_tables_are_sorted_and_filtered_by_keyboard(opened, report: Path) -> None:
    found = opened()
    page = found.page
    table = page.locator("#rare table", has_text="contexts")
    column = "rows => rows.map(row => row.cells[1].textContent)"

    def counts() -> list[int]:
        return [int(told.replace(",", "")) for told in table.locator("tbody tr").evaluate_all(column)]

    assert len(counts()) == 90
    button = table.locator("thead th button", has_text="count")
    button.focus()
    page.keyboard.press("Enter")
    assert counts() == sorted(counts(), reverse=True)
    assert table.locator("thead th[aria-sort=descending]").inner_text().startswith("count")
    page.keyboard.press("Space")
    assert counts() == sorted(counts())
    box = page.get_by_label("Filter: Rare words with two of their contexts")
    box.fill("rare7")
    assert table.locator("tbody tr:visible").count() == 11  # rare7, rare70 to rare79
    assert page.locator("#rare [role=status]").inner_text() == "11 of 90 rows"
    box.fill("")
    assert table.locator("tbody tr:visible").count() == 90
    # The line of sums stays where it is.
    flow = page.locator("#flow table")
    flow.locator("thead th button", has_text="kept").first.click()
    assert flow.locator("tbody tr").last.inner_text().startswith("all")
    found.quiet(report)
