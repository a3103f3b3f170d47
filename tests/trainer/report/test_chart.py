"""Charts: places, ticks and thinning; nothing in them but numbers and names of our own."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.report.chart import HEIGHT, LEFT, POINTS, RIGHT, TOP, WIDTH, Line, chart, log_ticks, short, thinned, ticks

FLOATS = st.floats(-1e12, 1e12, allow_nan=False)


@given(FLOATS, FLOATS)
def test_ticks_are_round_and_inside(a: float, b: float) -> None:
    low, high = min(a, b), max(a, b)
    found = ticks(low, high)
    if not high - low > 1e-6 * max(abs(low), abs(high)):
        return
    assert 2 <= len(found) <= 7
    margin = 1e-6 * (high - low)
    assert all(low - margin <= value <= high + margin for value in found)
    assert found == sorted(found)


def test_ticks() -> None:
    assert ticks(0, 10) == [0, 2, 4, 6, 8, 10]
    assert ticks(0.1, 0.9) == pytest.approx([0.2, 0.4, 0.6, 0.8])
    assert ticks(3, 3) == [3]
    assert log_ticks(-1.2, 2.3) == [-1, 0, 1, 2]
    assert [round(10**value, 9) for value in log_ticks(0.0, 0.7)] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("value", "told"),
    [(0, "0"), (1500, "1.5k"), (2e7, "20M"), (3.2e18, "3.2e18"), (2.5e-4, "2.5e-4"), (0.25, "0.25"), (-1e-5, "-1e-5")],
)
def test_short(value: float, told: str) -> None:
    assert short(value) == told


@given(st.integers(1, 3000))
def test_thinning_keeps_the_mean(count: int) -> None:
    x = np.arange(count, dtype=float)
    thin_x, thin_y = thinned(x, x * 2)
    assert len(thin_x) == min(count, POINTS)
    assert (np.diff(thin_x) > 0).all()
    np.testing.assert_allclose(thin_y, 2 * thin_x)


def test_a_chart() -> None:
    x = np.array([0.0, 1, 2, 3])
    lines = [Line(0, x, np.array([4.0, np.nan, 2.0, 1.0]), dots=True), Line(9, x, np.array([1.0, 1, 1, 1]), faint=True)]
    svg = chart("k", "Loss", lines, "steps", marks=[(0, 2.0), (0, 99.0)])
    root = ElementTree.fromstring(svg)
    assert root.find("title").text == "Loss against steps: 2 run(s)"
    paths = {path.get("class"): path.get("d") for path in root.iter("path")}
    # Faint ones lie behind; the value that is not finite is left out.
    assert list(re.findall('class="line[^"]*"', svg)) == ['class="line r9 c1 d1 faint"', 'class="line r0 c0 d0"']
    points = [tuple(map(float, pair.split())) for pair in paths["line r0 c0 d0"][1:].split("L")]
    assert [p[0] for p in points] == pytest.approx(
        [LEFT, LEFT + (WIDTH - LEFT - RIGHT) * 2 / 3, WIDTH - RIGHT], abs=0.1
    )
    assert [p[1] for p in points] == sorted(p[1] for p in points)
    assert all(TOP <= p[1] <= HEIGHT for p in points)
    assert paths["dots r0 c0"].count("M") == 3
    assert svg.count('class="mark') == 1
    assert "style=" not in svg
    assert svg == chart("k", "Loss", lines, "steps", marks=[(0, 2.0), (0, 99.0)])


def test_logarithms_leave_out_what_has_none() -> None:
    x = np.arange(4.0)
    assert chart("k", "Norm", [Line(0, x, np.array([0.0, -1, 0, 0]))], "steps", log=True) is None
    svg = chart("k", "Norm", [Line(0, x, np.array([0.0, 1, 100, 1000]))], "steps", log=True)
    assert [text for text in re.findall(">([^<]*)</text>", svg) if text.startswith("1")][:4] == ["1", "10", "100", "1k"]


def test_names_are_escaped() -> None:
    x = np.arange(2.0)
    svg = chart("k", "<script>", [Line(0, x, x)], "a & b")
    assert "<script>" not in svg
    assert ElementTree.fromstring(svg).find("title").text == "<script> against a & b: 1 run(s)"
    assert chart("k", "one", [Line(0, x[:1], x[:1])], "steps") is not None
    assert chart("k", "none", [], "steps") is None
    assert chart("k", "none", [Line(0, x, x * np.nan)], "steps") is None
