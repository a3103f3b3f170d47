"""The search page in a real browser: Chromium, headless."""

import os
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
playwright = pytest.importorskip(
    "playwright.sync_api", reason="pip install playwright: no browser of its own is needed"
)
axe = pytest.importorskip("axe_playwright_python.sync_playwright")
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here (Debian: apt-get install chromium)"),
    pytest.mark.xdist_group("browser"),
]
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
)
SIZES = {"phone": (390, 844), "desk": (1280, 900)}


class Opened:
    """A page, and all that it tried to do."""

    def __init__(self, page: Any, url: str) -> None:
        self.page, self.url = page, url
        self.dialogs: list[str] = []
        self.requests: list[str] = []
        self.errors: list[str] = []
        page.on("dialog", self._dialog)
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", lambda message: self.errors.append(message.text))

    def _dialog(self, dialog: Any) -> None:
        self.dialogs.append(dialog.message)
        dialog.dismiss()

    def assert_quiet(self) -> None:
        assert (self.dialogs, self.errors) == ([], [])
        assert all(url.startswith(self.url) for url in self.requests)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        # Without a bus at hand Chromium would wait 25 s for each answer from one.
        buses = dict.fromkeys(("DBUS_SESSION_BUS_ADDRESS", "DBUS_SYSTEM_BUS_ADDRESS"), "disabled:")
        made = driver.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS), env={**os.environ, **buses})
        yield made
        made.close()


@pytest.fixture
def opened(browser: Any, server: Any) -> Iterator[Callable[..., Opened]]:
    """(size, colours) -> a window of a new user."""
    pages = []

    def load(size: str = "desk", colours: str = "light", **options: Any) -> Opened:
        width, height = SIZES[size]
        viewport = {"width": width, "height": height}
        context = browser.new_context(viewport=viewport, color_scheme=colours, reduced_motion="reduce", **options)
        pages.append(context.new_page())
        return Opened(pages[-1], server.url)

    yield load
    for page in pages:
        page.context.close()


def test_why_did_my_page_go(opened) -> None:
    """From the report to the search, a filter, the next page, one record, and back to the kept one."""
    found = opened()
    page = found.page
    page.goto(found.url)
    page.get_by_role("link", name="Search the records").click()
    assert page.locator(".results > li").count() == 20
    page.get_by_role("combobox", name="Verdict").select_option("filtered")
    page.get_by_label("Record", exact=True).fill("PAGE-1")
    with page.expect_navigation():
        page.keyboard.press("Enter")
    assert page.url == found.url + "search?record=PAGE-1&text=&doc=&verdict=filtered&rule=&kind=&source=&language="
    assert "1 to 10 of 10 records" in page.locator(".pager").first.inner_text()
    assert page.get_by_role("combobox", name="Verdict").input_value() == "filtered"
    page.get_by_role("link", name="web/page-12.html#12").click()
    assert "its score 40 is below the limit 50" in page.locator("#record").inner_text()
    page.goto(found.url + "search?kind=near&size=1")
    page.get_by_role("link", name="Next").first.click()
    assert "2 to 2 of 4 records" in page.locator(".pager").first.inner_text()
    page.locator(".why a").click()
    assert page.locator(".results .record").first.inner_text() == "web/page-0.html#0"
    found.assert_quiet()


@pytest.mark.parametrize("colours", ["light", "dark"])
@pytest.mark.parametrize("size", list(SIZES))
def test_hostile_texts_do_nothing_and_the_layout_holds(opened, size: str, colours: str) -> None:
    found = opened(size, colours)
    page = found.page
    for path in ("search?text=script", "record?n=40", "search?text=xxxx", "record?n=41", "search?size=100"):
        page.goto(found.url + path)
        width = SIZES[size][0]
        assert page.evaluate("[document.documentElement.scrollWidth, innerWidth]") == [width, width], path
        assert page.evaluate("document.images.length") == 0
    page.goto(found.url + "record?n=40")
    told = page.evaluate("document.body.innerText")
    for text in ("<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "⟨U+202E⟩", "⟨U+0000⟩", "{{ 7*7 }}"):
        assert text in told
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert paper == {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 24, 30)"}[colours]
    found.assert_quiet()


@pytest.mark.parametrize(("size", "colours"), [("phone", "dark"), ("desk", "light")])
def test_axe_finds_nothing_serious(opened, size: str, colours: str) -> None:
    found = opened(size, colours)
    for path in ("search?verdict=filtered", "record?n=12"):
        found.page.goto(found.url + path)
        violations = axe.Axe().run(found.page).response["violations"]
        serious = {
            one["id"]: [node["html"][:200] for node in one["nodes"][:3]]
            for one in violations
            if one["impact"] in ("serious", "critical")
        }
        assert serious == {}, path


def test_it_works_without_script(opened) -> None:
    found = opened(java_script_enabled=False)
    page = found.page
    page.goto(found.url + "search")
    page.get_by_label("Text", exact=True).fill("überfall")
    page.get_by_role("button", name="Search").click()
    assert page.locator(".results .record").all_inner_texts() == ["web/page-42.html#42"]
