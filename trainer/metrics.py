"""Scores of predictions: accuracy, F1, Matthews, Pearson, Spearman. numpy in fp64; undefined ones are 0."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


def _confusion(truth: ArrayLike, guess: ArrayLike, classes: int) -> NDArray[np.float64]:
    """[classes, classes] counts: rows are the truth."""
    flat = np.bincount(
        np.asarray(truth, dtype=np.int64) * classes + np.asarray(guess, dtype=np.int64), minlength=classes * classes
    )
    return flat.reshape(classes, classes).astype(np.float64)


def accuracy(truth: ArrayLike, guess: ArrayLike) -> float:
    """Share of equal entries."""
    return float(np.mean(np.asarray(truth) == np.asarray(guess)))


def f1(truth: ArrayLike, guess: ArrayLike, classes: int) -> float:
    """Of class 1 where there are two; else the mean over classes that occur in truth or guess (macro)."""
    confusion = _confusion(truth, guess, classes)
    hits, either = np.diag(confusion), confusion.sum(0) + confusion.sum(1)
    each = np.divide(2 * hits, either, out=np.zeros(classes), where=either > 0)
    return float(each[1]) if classes == 2 else float(each[either > 0].mean())


def matthews(truth: ArrayLike, guess: ArrayLike, classes: int) -> float:
    """Matthews' correlation, for any number of classes (Gorodkin 2004, R_K); 0 where one side holds one class only."""
    confusion = _confusion(truth, guess, classes)
    total, hits = confusion.sum(), np.trace(confusion)
    true, guessed = confusion.sum(1), confusion.sum(0)
    spread = (total**2 - (guessed**2).sum()) * (total**2 - (true**2).sum())
    return float((hits * total - (true * guessed).sum()) / np.sqrt(spread)) if spread > 0 else 0.0


def pearson(left: ArrayLike, right: ArrayLike) -> float:
    """Linear correlation; 0 where a side does not vary."""
    a, b = np.asarray(left, dtype=np.float64), np.asarray(right, dtype=np.float64)
    a, b = a - a.mean(), b - b.mean()
    product = np.sqrt((a**2).sum() * (b**2).sum())
    return float(np.clip((a * b).sum() / product, -1, 1)) if product > 0 else 0.0


def ranks(values: ArrayLike) -> NDArray[np.float64]:
    """From 1; equal values share the mean of their ranks."""
    _, inverse, counts = np.unique(np.asarray(values, dtype=np.float64), return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[inverse]


def spearman(left: ArrayLike, right: ArrayLike) -> float:
    """Pearson's correlation of the ranks."""
    return pearson(ranks(left), ranks(right))


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Median, least and greatest of several runs, and the runs."""
    return {
        "median": float(np.median(values)),
        "least": float(min(values)),
        "greatest": float(max(values)),
        "values": [float(value) for value in values],
    }
