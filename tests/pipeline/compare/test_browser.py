"""The page of a comparison in a real browser."""

from pathlib import Path

import pytest

from pipeline.compare.comparing import compare
from pipeline.compare.page import render_comparison

pytestmark = pytest.mark.xdist_group("browser")
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)> \u202e\x1b[2J\x00 </style> " + "x" * 20_000


@pytest.fixture(scope="module")
def page(tmp_path_factory, audited, audit_row) -> Path:
    root = tmp_path_factory.mktemp("compared")
    first = [audit_row(f"web/{HOSTILE}{n}#1", f"{n:032x}", excerpt=HOSTILE) for n in range(20)]
    second = [dict(row) for row in first]
    for n, row in enumerate(second[:9]):
        row.update(verdict="filtered", rule=f"{HOSTILE} {n % 3}", source=HOSTILE, detail=HOSTILE, language="de")
    config = {"rules": {HOSTILE: HOSTILE}}
    found = compare(audited(root / "one", first), audited(root / "two", second, config=config))
    path = root / "page.html"
    path.write_text(render_comparison(found), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("size", "colours"), [("phone", "light"), ("phone", "dark"), ("desk", "light"), ("desk", "dark")]
)
def test_hostile_texts_do_nothing_and_the_layout_holds(window, page: Path, size: str, colours: str) -> None:
    found = window(size, colours)
    found.page.goto(page.as_uri())
    found.page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true })")
    found.assert_fits()
    told = found.page.evaluate("document.body.innerText")
    assert "<script>alert(1)</script>" in told
    assert "⟨U+202E⟩" in told
    found.assert_quiet(page.as_uri())


def test_axe_finds_nothing_serious(window, page: Path) -> None:
    for size, colours in (("phone", "dark"), ("desk", "light")):
        found = window(size, colours)
        found.page.goto(page.as_uri())
        assert found.serious_violations() == {}
