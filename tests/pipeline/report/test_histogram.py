"""Histograms in bounded memory, against numpy over all values at once."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.report.histogram import BINS, WIDTH, ScoreHistogram

VALUES = st.lists(st.floats(-1e9, 1e9, width=32) | st.sampled_from([0.0, 1.0, 0.1]), min_size=1, max_size=200)


def histogram(values, marks=(), parts: int = 1):
    made = ScoreHistogram()
    for part in np.array_split(np.asarray(values, np.float64), parts):
        made.add(part)
    return made.summary(tuple(marks))


@given(VALUES, st.integers(1, 5), st.randoms(use_true_random=False))
def test_no_value_is_lost_and_order_does_not_count(values: list[float], parts: int, random) -> None:
    found = histogram(values, [0.5])
    shuffled = random.sample(values, len(values))
    assert histogram(shuffled, [0.5], parts) == found
    assert sum(found.counts) == len(values)
    assert len(found.edges) == len(found.counts) + 1 <= BINS + 1
    assert all(low < high for low, high in zip(found.edges, found.edges[1:], strict=False))
    assert found.edges[0] <= 0.5 <= found.edges[-1]


@pytest.mark.parametrize("scale", [1.0, 1000.0])
def test_bins_are_those_of_the_values(scale: float) -> None:
    values = np.random.default_rng(3).uniform(1, 10, 50_000) * scale
    found = histogram(values, [5 * scale])
    expected, _ = np.histogram(values, found.edges)
    # Values within WIDTH of an edge may count on its other side.
    near = 2 * WIDTH * 10 * scale / (9 * scale) * len(values)
    assert np.abs(np.array(found.counts)[1:-1] - expected[1:-1]).max() < near
    assert not found.log


def test_wide_ranges_are_logarithmic() -> None:
    found = histogram(np.geomspace(1, 1e6, 10_000), [10.0])
    assert found.log
    assert np.std(found.counts[1:-1]) < 0.1 * np.mean(found.counts[1:-1])


def test_a_few_far_values_do_not_stretch_it() -> None:
    values = np.concatenate([np.random.default_rng(0).uniform(0.2, 0.8, 10_000), [1e30]])
    found = histogram(values, [0.5])
    assert found.edges[-1] < 1
    assert sum(found.counts) == len(values)


def test_one_value_and_none() -> None:
    assert sum(histogram([0.0, 0.0]).counts) == 2
    assert histogram([], [1.0]) is None
    assert histogram([np.nan, np.inf], [1.0]) is None
