"""Interpolation, thinning, plateaus."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.ablations.curves import LEFT_BY, at, left_at, mean_curve, share_to, thin, time_to

CURVE = [{"seconds": s, "loss": loss} for s, loss in ((0, 6.0), (10, 5.0), (20, 5.0), (40, 3.0))]


def test_a_time_lies_on_the_line_between_points() -> None:
    assert at(CURVE, 5) == pytest.approx(5.5)
    assert at(CURVE, 30) == pytest.approx(4.0)
    assert (at(CURVE, -1), at(CURVE, 99)) == (6.0, 3.0)
    assert time_to(CURVE, 5.5) == pytest.approx(5)
    assert time_to(CURVE, 5.0) == pytest.approx(10)
    assert time_to(CURVE, 4.0) == pytest.approx(30)
    assert time_to(CURVE, 7.0) == 0
    assert time_to(CURVE, 2.9) is None
    assert time_to([], 1.0) is None
    assert left_at(CURVE, 5.5 + LEFT_BY) == pytest.approx(5)


@given(st.lists(st.floats(0.01, 10), min_size=2, max_size=20), st.floats(0, 1))
def test_time_to_is_the_inverse_of_at_on_falling_curves(falls: list[float], share: float) -> None:
    loss, curve = 100.0, []
    for number, fall in enumerate(falls):
        curve.append({"seconds": float(number), "loss": loss})
        loss -= fall
    time = share * (len(curve) - 1)
    assert time_to(curve, at(curve, time)) == pytest.approx(time, abs=1e-6)


def test_the_mean_ends_with_the_shortest() -> None:
    other = [{"seconds": 0, "loss": 4.0}, {"seconds": 20, "loss": 3.0}]
    found = mean_curve([CURVE, other, []], points=5)
    assert [point["seconds"] for point in found] == [0, 5, 10, 15, 20]
    assert [point["loss"] for point in found] == pytest.approx([5.0, 4.625, 4.25, 4.125, 4.0])
    assert mean_curve([]) == []


@given(st.integers(0, 400))
def test_thinning_keeps_both_ends(length: int) -> None:
    points = [{"step": float(i)} for i in range(length)]
    kept = thin(points, 60)
    assert len(kept) == min(length, 60)
    if points:
        assert (kept[0], kept[-1]) == (points[0], points[-1])


def test_shares_of_a_budget_are_joined_by_lines() -> None:
    losses = {1.0: 3.0, 0.5: 4.0, 0.25: 5.0}
    assert share_to(losses, 3.5) == (pytest.approx(0.75), True)
    assert share_to(losses, 4.5) == (pytest.approx(0.375), True)
    assert share_to(losses, 5.5) == (0.25, False)
    assert share_to(losses, 2.0) is None
