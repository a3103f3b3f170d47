"""The page in a real browser, without a network."""

from collections.abc import Callable
from pathlib import Path

import pytest

from trainer.report.page import write_page

pytestmark = pytest.mark.xdist_group("browser")
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)> \u202edcba " + "x" * 5_000
CASES = [("phone", "light"), ("phone", "dark"), ("desk", "light"), ("desk", "dark")]


@pytest.fixture
def file(make_run: Callable[..., Path], tmp_path: Path) -> Path:
    gap = {"truth": "▁whale", "filled": HOSTILE, "probability": 0.5, "truth_probability": 0.1}
    samples = [{"kind": "sample", "step": s, "sample": 0, "text": [HOSTILE, "."], "gaps": [gap]} for s in (0, 20, 40)]
    growth = {"kind": "growth", "step": 11, "layers_before": 2, "layers": 4, "loss_before": 3.0, "loss_after": 3.5}
    runs = [
        make_run(f"<img src=x onerror=alert(1)>{'y' * 150}", [*make_run.records(**{HOSTILE: 0.4}), *samples, growth]),
        make_run("other", make_run.records(90, scale=2.0), config="[model]\npreset = 'small'\n"),
    ]
    path = tmp_path / "page.html"
    path.write_text(write_page(runs), encoding="utf-8")
    return path


@pytest.mark.parametrize(("size", "colours"), CASES)
def test_hostile_texts_do_nothing_and_the_layout_holds(window, file: Path, size: str, colours: str) -> None:
    found = window(size, colours)
    page = found.page
    page.goto(file.as_uri())
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true })")
    found.assert_fits()
    assert page.evaluate("document.images.length + document.scripts.length") == 0
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert paper == {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 24, 30)"}[colours]
    line = "getComputedStyle(document.querySelector('#loss .line.c0')).stroke"
    assert page.evaluate(line) == {"light": "rgb(47, 85, 151)", "dark": "rgb(147, 180, 240)"}[colours]
    told = page.evaluate("document.body.innerText")
    assert "<script>alert(1)</script>" in told
    assert "⟨U+202E⟩" in told
    found.assert_quiet(file.as_uri())


def test_axes_and_runs_are_switched_by_keyboard(window, file: Path) -> None:
    found = window()
    page = found.page
    page.goto(file.as_uri())
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
    found.assert_quiet(file.as_uri())


@pytest.mark.parametrize(("size", "colours"), [("phone", "dark"), ("desk", "light")])
def test_axe_finds_nothing_serious(window, file: Path, size: str, colours: str) -> None:
    found = window(size, colours)
    found.page.goto(file.as_uri())
    assert found.serious_violations() == {}
