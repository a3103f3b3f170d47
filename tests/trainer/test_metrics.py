"""Metrics against hand counts and scipy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.metrics import accuracy, f1, matthews, pearson, ranks, spearman, spread

stats = pytest.importorskip("scipy.stats")

TRUTH = [0, 0, 1, 1, 1, 0, 1, 0]
GUESS = [0, 1, 1, 1, 0, 0, 1, 0]


def test_two_classes_by_hand() -> None:
    tp, tn, fp, fn = 3, 3, 1, 1
    assert accuracy(TRUTH, GUESS) == 6 / 8
    assert f1(TRUTH, GUESS, 2) == pytest.approx(2 * tp / (2 * tp + fp + fn))
    assert matthews(TRUTH, GUESS, 2) == pytest.approx(
        (tp * tn - fp * fn) / ((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)) ** 0.5
    )


def test_one_sided_guesses_score_nothing() -> None:
    assert matthews([0, 1, 1], [1, 1, 1], 2) == 0.0
    assert f1([0, 0], [0, 0], 2) == 0.0
    assert pearson([1, 2, 3], [5, 5, 5]) == 0.0
    assert f1([0, 2], [0, 2], 3) == 1.0  # class 1 does not occur


def test_many_classes_are_correlations_of_indicators() -> None:
    rng = np.random.default_rng(0)
    truth, guess = rng.integers(0, 4, 200), rng.integers(0, 4, 200)
    t, g = np.eye(4)[truth], np.eye(4)[guess]
    covariance = lambda a, b: ((a - a.mean(0)) * (b - b.mean(0))).sum()  # noqa: E731
    expected = covariance(t, g) / (covariance(t, t) * covariance(g, g)) ** 0.5
    assert matthews(truth, guess, 4) == pytest.approx(expected)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(-5, 5), st.floats(-1e3, 1e3)), min_size=3, max_size=40))
def test_correlations_equal_scipys(pairs: list[tuple[int, float]]) -> None:
    left, right = map(list, zip(*pairs, strict=True))
    assert ranks(left).tolist() == stats.rankdata(left).tolist()
    if len(set(left)) > 1 and np.std(right) > 1e-6:
        assert pearson(left, right) == pytest.approx(stats.pearsonr(left, right)[0], abs=1e-6)
        assert spearman(left, right) == pytest.approx(stats.spearmanr(left, right)[0], abs=1e-9)


def test_spread() -> None:
    assert spread([0.3, 0.1, 0.2]) == {"median": 0.2, "least": 0.1, "greatest": 0.3, "values": [0.3, 0.1, 0.2]}
