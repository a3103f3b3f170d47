"""From fine bins, which any score falls into, to the few bins that a picture of them needs."""

import numpy as np
import numpy.typing as npt

from pipeline.report.kernels import OCTAVES, STEPS, ZERO
from pipeline.report.model import ScoreHistogram

MOST_BINS = 40
SHOWN = 0.999
"""Share of the scores that a picture shows in detail; the last bin takes what lies beyond."""
WIDE = 16.0
"""Greatest score shown over the limit above which bins grow with the score."""
PER_OCTAVE = 2
OCTAVES_SHOWN = 18


def lower_edges() -> npt.NDArray[np.float64]:
    """Lower edge of each fine bin, [kernels.BINS]; of those of negative scores the edge that is nearer to zero."""
    place = np.arange(OCTAVES * STEPS)
    positive = np.exp2(place // STEPS - OCTAVES // 2) * (1 + place % STEPS / STEPS)
    return np.concatenate([-positive[::-1], [0.0], positive])


def score_histogram(
    failing: npt.NDArray[np.int64],
    passing: npt.NDArray[np.int64],
    limits: tuple[float, float] | None,
    whole: bool,
) -> ScoreHistogram | None:
    """failing, passing: scores in fine bins [kernels.BINS]. limits: least and greatest in force. whole: all integers.

    At most MOST_BINS + 2 bins whose edges are edges of fine bins too, so that no count is a guess. None without scores.
    """
    both = failing + passing
    filled = np.flatnonzero(both)
    if not len(filled):
        return None
    edges = _wanted(both, filled, limits, whole)
    values = lower_edges()
    into = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)
    counts = [np.bincount(into, weights=part, minlength=len(edges) - 1).astype(np.int64) for part in (failing, passing)]
    return ScoreHistogram(
        edges=tuple(edges.tolist()), failing=tuple(counts[0].tolist()), passing=tuple(counts[1].tolist())
    )


def _wanted(
    both: npt.NDArray[np.int64], filled: npt.NDArray[np.int64], limits: tuple[float, float] | None, whole: bool
) -> npt.NDArray[np.float64]:
    values = lower_edges()
    cumulated = np.cumsum(both)
    low, top = float(values[filled[0]]), float(values[filled[-1]])
    most = float(values[np.searchsorted(cumulated, SHOWN * cumulated[-1])])
    # Limits of 10^300 mean "no limit": they would squeeze all scores into one bin.
    ends = [end for end in limits or () if abs(end) <= 64 * max(abs(low), abs(top), 1e-9)]
    low, most = min(low, *ends) if ends else low, max(most, *(1.25 * end for end in ends)) if ends else most
    median = float(values[np.searchsorted(cumulated, cumulated[-1] / 2)])
    # Where scores spread far beyond the limit (or, without one, beyond their median) equal bins would hide it.
    told = max((abs(end) for end in ends), default=0.0) or median
    if low >= 0 and told > 0 and most > WIDE * told:
        return _growing(values, filled, most, top)
    step = 2.0 ** np.ceil(np.log2(max(most - low, 2.0**-20) / MOST_BINS))
    # Never narrower than the fine bins of the greatest scores.
    step = max(step, 2.0 ** np.floor(np.log2(max(abs(low), abs(most), 2.0**-20))) / STEPS, 1.0 if whole else 0.0)
    first, last = np.floor(low / step), np.floor(most / step) + 1
    edges = np.arange(first, last + 1) * step
    return np.append(edges, _above(top)) if top >= edges[-1] else edges


def _growing(
    values: npt.NDArray[np.float64], filled: npt.NDArray[np.int64], most: float, top: float
) -> npt.NDArray[np.float64]:
    """A bin from zero on, then PER_OCTAVE bins in each octave."""
    positive = values[filled[filled > ZERO]]
    highest = int(np.floor(np.log2(most)))
    lowest = max(int(np.floor(np.log2(positive[0]))), highest - OCTAVES_SHOWN)
    octaves = np.exp2(np.arange(lowest, highest + 1))
    edges = (octaves[:, None] * (1 + np.arange(PER_OCTAVE) / PER_OCTAVE)).ravel()
    edges = np.append(edges, 2.0 ** (highest + 1))
    edges = edges if positive[0] > 0 and filled[0] > ZERO and edges[0] <= positive[0] else np.insert(edges, 0, 0.0)
    return np.append(edges, _above(top)) if top >= edges[-1] else edges


def _above(value: float) -> float:
    """The next power of two."""
    return float(2.0 ** (np.floor(np.log2(value)) + 1))
