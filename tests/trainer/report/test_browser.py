"""The page in a real browser: Chromium, headless, without a network."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from trainer.report.page import write_page

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
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)> \u202edcba " + "x" * 5_000
CASES = [("phone", "light"), ("phone", "dark"), ("desk", "light"), ("desk", "dark")]
SIZES = {"phone": (390, 844), "desk": (1280, 900)}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        # Without a bus at hand Chromium would wait 25 s for each answer from one.
        buses = dict.fromkeys(("DBUS_SESSION_BUS_ADDRESS", "DBUS_SYSTEM_BUS_ADDRESS"), "disabled:")
        made = driver.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS), env={**os.environ, **buses})
        yield made
        made.close()


@pytest.fixture
def opened(
    browser: Any, make_run: Callable[..., Path], tmp_path: Path
) -> Iterator[Callable[..., tuple[Any, list[str]]]]:
    """(size, colours) -> (page, what it tried to do that it must not)."""
    gap = {"truth": "▁whale", "filled": HOSTILE, "probability": 0.5, "truth_probability": 0.1}
    samples = [{"kind": "sample", "step": s, "sample": 0, "text": [HOSTILE, "."], "gaps": [gap]} for s in (0, 20, 40)]
    growth = {"kind": "growth", "step": 11, "layers_before": 2, "layers": 4, "loss_before": 3.0, "loss_after": 3.5}
    runs = [
        make_run(f"<img src=x onerror=alert(1)>{'y' * 150}", [*make_run.records(**{HOSTILE: 0.4}), *samples, growth]),
        make_run("other", make_run.records(90, scale=2.0), config="[model]\npreset = 'small'\n"),
    ]
    file = tmp_path / "page.html"
    file.write_text(write_page(runs), encoding="utf-8")
    pages = []

    def load(size: str = "desk", colours: str = "light") -> tuple[Any, list[str]]:
        width, height = SIZES[size]
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=colours)
        page, events = context.new_page(), list[str]()
        pages.append(page)
        page.on("dialog", lambda dialog: (events.append(dialog.message), dialog.dismiss()))
        page.on("request", lambda request: events.append(request.url))
        page.on("pageerror", lambda error: events.append(str(error)))
        page.on("console", lambda message: events.append(message.text))
        page.goto(file.as_uri())
        assert events.pop(0) == file.as_uri()
        return page, events

    yield load
    for page in pages:
        page.context.close()


@pytest.mark.parametrize(("size", "colours"), CASES)
def test_hostile_texts_do_nothing_and_the_layout_holds(opened, size: str, colours: str) -> None:
    page, events = opened(size, colours)
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true })")
    width = SIZES[size][0]
    assert page.evaluate("[document.documentElement.scrollWidth, innerWidth]") == [width, width]
    assert page.evaluate("document.images.length + document.scripts.length") == 0
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert paper == {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 24, 30)"}[colours]
    line = "getComputedStyle(document.querySelector('#loss .line.c0')).stroke"
    assert page.evaluate(line) == {"light": "rgb(47, 85, 151)", "dark": "rgb(147, 180, 240)"}[colours]
    told = page.evaluate("document.body.innerText")
    assert "<script>alert(1)</script>" in told
    assert "⟨U+202E⟩" in told
    assert events == []


def test_axes_and_runs_are_switched_by_keyboard(opened) -> None:
    page, events = opened()
    shown = page.locator("#loss .x-step, #loss .x-tokens, #loss .x-seconds, #loss .x-flops")
    visible = "nodes => nodes.filter(node => node.offsetParent).map(node => node.className)"
    assert shown.evaluate_all(visible) == ["x-step"]
    page.get_by_role("radio", name="Steps").focus()
    for axis in ("x-tokens", "x-seconds", "x-flops"):
        page.keyboard.press("ArrowRight")
        assert shown.evaluate_all(visible) == [axis]
    page.get_by_role("radio", name="Seconds").check()
    assert "against training seconds: 2 run(s)" in page.locator("#loss .x-seconds svg title").text_content()
    lines = page.locator("#loss .x-seconds .line.r1")
    assert lines.first.is_visible()
    page.get_by_role("checkbox", name="other").uncheck()
    assert not lines.first.is_visible()
    assert page.locator("#loss .x-seconds .line.r0").first.is_visible()
    assert events == []


@pytest.mark.parametrize(("size", "colours"), [("phone", "dark"), ("desk", "light")])
def test_axe_finds_nothing_serious(opened, size: str, colours: str) -> None:
    page, _ = opened(size, colours)
    violations = axe.Axe().run(page).response["violations"]
    serious = {
        one["id"]: [node["html"][:200] for node in one["nodes"][:3]]
        for one in violations
        if one["impact"] in ("serious", "critical")
    }
    assert serious == {}
