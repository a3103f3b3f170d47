"""Histograms and curves."""

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from pipeline.report.charts.bars import legend_above
from pipeline.report.charts.svg import DUPLICATE, FAINT, FILTERED, INK, KEPT, Chart, draw, short
from pipeline.report.model import Report, Rule
from pipeline.report.visible import visible_text

_DASHED = (0, (4, 3))
_TICKS = 5


def scores(rule: Rule, name: str) -> Chart | None:
    """Histogram of a rule's scores with its limits marked; bars stand side by side, whatever their bins' width."""
    told = rule.histogram
    if told is None:
        return None
    places = np.arange(len(told.edges))

    def paint(figure: Figure) -> None:
        # Placed by hand: a page holds dozens of these, and the layout engine takes 0.1 s for each.
        axes = figure.add_axes((0.12, 0.25, 0.86, 0.6))
        axes.set_yscale("log")
        for counts, colour in ((told.passing, KEPT), (told.failing, FILTERED)):
            axes.stairs(
                [max(count, 0.5) for count in counts], places, fill=True, color=colour, baseline=0.5, linewidth=0
            )
        highest = max(*told.passing, *told.failing)
        axes.set_ylim(0.5, 3 * highest)
        axes.set_xlim(0, len(places) - 1)
        axes.yaxis.set_major_locator(LogLocator(numticks=4))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(FuncFormatter(short))
        ticks = _ticks(told.edges)
        axes.set_xticks(np.interp(ticks, told.edges, places), [short(tick) for tick in ticks])
        axes.set_xlabel("score")
        axes.set_ylabel("records (log)")
        for limit in sorted({rule.limit_low, rule.limit_high} - {None}):  # type: ignore[type-var]
            at = float(np.interp(limit or 0.0, told.edges, places))
            axes.axvline(at, color=INK, linewidth=1.2, linestyle=_DASHED)
            side = at < 0.7 * places[-1]
            axes.annotate(
                f"limit {short(limit or 0.0)}",
                (at, 1.0),
                (3 if side else -3, 3),
                xycoords=("data", "axes fraction"),
                textcoords="offset points",
                ha="left" if side else "right",
                va="bottom",
            )

    alt = (
        f"Scores of {rule.scored:,} records by {visible_text(rule.name, 80)}, from {short(told.edges[0])} to "
        f"{short(told.edges[-1])}: {sum(told.failing):,} on the failing side, {sum(told.passing):,} pass."
    )
    return draw(name, paint, f"Scores of {visible_text(rule.name, 80)}", alt, 1.7, tight=False)


def _ticks(edges: Sequence[float]) -> list[float]:
    """Round numbers among the bins: equal steps, or powers of ten where bins grow."""
    steps = np.diff(edges)
    if len(steps) > 2 and steps[-2] > 4 * steps[1]:
        powers = [10.0**power for power in range(-10, 16)]
        every = max(1, math.ceil(sum(edges[0] < power < edges[-1] for power in powers) / _TICKS))
        return [edges[0], *[power for power in powers[::every] if edges[1] <= power < edges[-1]]]
    # The last bin takes all that lies beyond and may be far wider.
    last = edges[-1] if len(steps) < 2 or steps[-1] < 2 * steps[0] else edges[-2]
    return [tick for tick in MaxNLocator(_TICKS).tick_values(edges[0], last) if edges[0] <= tick <= last]


def duplicates(report: Report) -> Chart | None:
    """Histogram of the verified Jaccard, and what MinHash would have found."""
    d = report.duplicates

    def paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        widths = [high - low for low, high in pairwise(d.jaccard.edges)]
        axes.bar(d.jaccard.edges[:-1], d.jaccard.counts, width=widths, align="edge", color=DUPLICATE)
        axes.set_xlabel("exact Jaccard with the kept document")
        axes.set_ylabel("near-duplicates removed", color=DUPLICATE)
        axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.yaxis.set_major_formatter(FuncFormatter(short))
        axes.set_xlim(0, 1.005)
        axes.set_ylim(0, max(1, *d.jaccard.counts) * 1.05)
        curve = axes.twinx()
        curve.plot([x for x, _ in d.s_curve], [y for _, y in d.s_curve], color=FILTERED, linewidth=1.8)
        curve.set_ylim(0, 1.05)
        curve.set_ylabel("chance of being compared", color=FILTERED)
        curve.axvline(d.threshold, color=INK, linewidth=1.2, linestyle=_DASHED)
        curve.annotate(
            f"threshold {d.threshold:g}", (d.threshold, 1.0), (-5, 0), textcoords="offset points", ha="right"
        )

    alt = (
        f"{d.near:,} near-duplicates by exact Jaccard, threshold {d.threshold:g}; S-curve of {d.bands} bands of "
        f"{d.rows} rows."
    )
    return draw("duplicates", paint, "Near-duplicates", alt, 2.5)


def lengths(report: Report) -> Chart | None:
    data = report.lengths
    if not data.edges:
        return None

    def paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        both = [a + b for a, b in zip(data.kept, data.dropped, strict=True)]
        axes.stairs(both, data.edges, fill=True, color=FILTERED, label="filtered or duplicate", linewidth=0)
        axes.stairs(data.kept, data.edges, fill=True, color=KEPT, label="kept", linewidth=0)
        axes.set_xscale("log")
        decades = math.log10(data.edges[-1] / data.edges[0])
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if decades < 3 else (1,)))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(short))
        axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.yaxis.set_major_formatter(FuncFormatter(short))
        axes.set_xlim(data.edges[0], data.edges[-1])
        axes.grid(axis="y")
        axes.set_xlabel("clean text, characters (log scale)")
        axes.set_ylabel("records")
        legend_above(axes, 2)

    alt = f"Records by length of clean text: {sum(data.kept):,} kept and {sum(data.dropped):,} dropped, log bins."
    return draw("lengths", paint, "Lengths", alt, 2.4)


def _both_log(axes: Axes, x: str, y: str) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(short))
        axis.set_minor_locator(NullLocator())
    axes.grid()
    axes.set_xlabel(f"{x} (log scale)")
    axes.set_ylabel(f"{y} (log scale)")


def zipf(report: Report) -> Chart | None:
    points = report.words.zipf
    if len(points) < 3:
        return None

    def paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        _dotted(axes, points, None)
        first = points[0][1]
        ideal = [(rank, first / rank) for rank, _ in points if first / rank >= 1]
        axes.plot(*zip(*ideal, strict=True), color=FAINT, linewidth=1, linestyle=_DASHED, label="1 / rank")
        _both_log(axes, "rank of the word", "occurrences")
        legend_above(axes, 2)

    alt = f"Count against rank of {report.words.distinct:,} words, from {points[0][1]:,} down to {points[-1][1]:,}."
    return draw("zipf", paint, "Word frequency", alt, 2.6)


def heaps(report: Report) -> Chart | None:
    """Distinct words against running words, and the law that is fitted to them."""
    told = report.words.counting
    if told is None or len(told.heaps) < 3:
        return None
    points, (k, beta) = told.heaps, told.heaps_law

    def paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        _dotted(axes, points, "distinct words")
        if k:
            ends = [max(1, points[0][0]), points[-1][0]]
            law = [k * x**beta for x in ends]
            axes.plot(ends, law, color=FILTERED, linewidth=1.4, label=f"{k:.3g} · n^{beta:.3g}")
        _both_log(axes, "running words n", "distinct words")
        legend_above(axes, 2)

    alt = f"Distinct words against running words, up to {points[-1][1]:,} in {points[-1][0]:,}"
    return draw(
        "heaps", paint, "Vocabulary growth", alt + (f"; Heaps' law with exponent {beta:.3g}." if k else "."), 2.6
    )


def _dotted(axes: Axes, points: Sequence[tuple[int, int]], legend: str | None) -> None:
    x, y = zip(*points, strict=True)
    axes.plot(x, y, color=DUPLICATE, marker="o", markersize=2.5, linewidth=1.2, label=legend or "words")
