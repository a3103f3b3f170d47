"""Zipf's and Heaps' curves of a corpus, as the points that a chart needs."""

from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.words.frequency import STEPS

ZIPF_POINTS: Final = 120


def zipf(counts: npt.NDArray[np.uint64]) -> list[tuple[int, int]]:
    """(rank, count) at ranks evenly spaced in the logarithm; `counts` [words] falling, rank 1 first."""
    if not len(counts):
        return []
    # Ranks up to 10^9 stand on one grid, so that the grid does not depend on the number of words.
    ranks = np.unique(np.geomspace(1, 1e9, 2 * ZIPF_POINTS).astype(np.int64))
    ranks = np.union1d(ranks[ranks <= len(counts)], [len(counts)])
    return [(int(rank), int(counts[rank - 1])) for rank in ranks]


def running_words(step: npt.NDArray[np.uint8], words: npt.NDArray[np.int64]) -> list[int]:
    """Running words by document step [STEPS]; `step` and `words` [documents]. Sums over batches and parts."""
    return np.bincount(step, weights=words, minlength=STEPS).astype(np.int64).tolist()


def heaps(words: pa.Table, running: list[int]) -> list[tuple[int, int]]:
    """(running words, distinct words) in growing shares of the documents in hash order, the whole corpus last.

    `words`: merged WORD_COUNTS; `running` as running_words sums them. Steps without a document are left out.
    """
    distinct = np.bincount(words["step"].to_numpy(), minlength=STEPS)[::-1].cumsum()
    read = np.array(running, dtype=np.int64)[::-1].cumsum()
    new = np.flatnonzero(np.diff(read, prepend=0))
    return [(int(read[i]), int(distinct[i])) for i in new]


def heaps_law(curve: list[tuple[int, int]]) -> tuple[float, float]:
    """(k, beta) of distinct = k * running ^ beta, least squares in the logarithms; (0, 0) for fewer than two points."""
    points = [(x, y) for x, y in curve if x and y]
    if len(points) < 2:
        return 0.0, 0.0
    x, y = np.log(np.array(points, dtype=np.float64)).T
    beta, offset = np.polyfit(x, y, 1)
    return round(float(np.exp(offset)), 6), round(float(beta), 6)
