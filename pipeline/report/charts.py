"""The page's pictures: SVG drawn by matplotlib, one light and one dark version, the same bytes for the same numbers."""

import base64
import io
import math
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any
from xml.sax.saxutils import escape

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from pipeline.report.alarms import REMOVED_SHARE
from pipeline.report.model import Report
from pipeline.report.visible import cut, visible_text

INK, FAINT, GRID, PAPER = "#1d2733", "#5b6675", "#dfe4ea", "#ffffff"
KEPT, FILTERED, DUPLICATE, QUARANTINED = "#2f7d6b", "#c8843c", "#5876b8", "#b0455a"
NEAR = "#8a62a8"
DARK = {
    INK: "#e4e9ef",
    FAINT: "#a3aebb",
    GRID: "#313b47",
    PAPER: "#171c22",
    KEPT: "#4fae97",
    FILTERED: "#dba15f",
    DUPLICATE: "#839fdc",
    QUARANTINED: "#d97488",
    NEAR: "#b795d3",
}
"""Light colour -> dark colour: a picture is drawn once and recoloured."""

VERDICT_COLOURS = {"kept": KEPT, "filtered": FILTERED, "duplicate": DUPLICATE, "quarantined": QUARANTINED}
KIND_COLOURS = {"exact": DUPLICATE, "near": NEAR, "contained": FILTERED, "protected": QUARANTINED}
BARS = 14
"""Bars of a chart over names; its table holds the rest."""
LABEL = 22
"""Characters of a bar's label."""

_STYLE: dict[str, Any] = {
    "svg.hashsalt": "siliang",
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": FAINT,
    "axes.axisbelow": True,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "text.color": INK,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "path.simplify": False,
}


@dataclass(frozen=True)
class Chart:
    """A picture for `<picture>`: two data URIs and the text that stands for it."""

    light: str
    dark: str
    alt: str
    width: int
    height: int


def charts(report: Report) -> dict[str, Chart]:
    """Every chart there are numbers for, by name."""
    drawers: dict[str, Callable[[Report], Chart | None]] = {
        "flow": flow,
        "rules": rules,
        "removals": removals,
        "duplicates": duplicates,
        "languages": languages,
        "lengths": lengths,
        "zipf": zipf,
        "heaps": heaps,
        "performance": performance,
    }
    drawn = {name: draw(report) for name, draw in drawers.items()}
    return {name: chart for name, chart in drawn.items() if chart is not None}


def _draw(paint: Callable[[Axes], None], title: str, alt: str, height: float, width: float = 5.4) -> Chart:
    defaults: dict[Any, Any] = dict(matplotlib.rcParamsDefault)
    with matplotlib.rc_context(defaults | _STYLE), warnings.catch_warnings():
        # Only the room a label takes is measured with matplotlib's font; the reader's browser draws the text.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasSVG(figure)
        paint(figure.add_subplot())
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = buffer.getvalue()
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], count=1, flags=re.DOTALL)
    described = f'<title id="t">{escape(title)}</title><desc id="d">{escape(alt)}</desc>'
    svg = re.sub(r"<svg ([^>]*)>", rf'<svg role="img" aria-labelledby="t d" \1>{_literal(described)}', svg, count=1)
    dark = re.sub("|".join(DARK), lambda match: DARK[match.group()], svg)
    return Chart(_uri(svg), _uri(dark), alt, round(width * 96), round(height * 96))


def _literal(text: str) -> str:
    return text.replace("\\", r"\\")


def _uri(svg: str) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()


def _label(name: str) -> str:
    return cut(visible_text(name, LABEL), LABEL)


def _short(value: float, _position: object = None) -> str:
    for size, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{suffix}"
    return f"{value:.4g}"


def _bars(axes: Axes, names: Sequence[str], parts: Sequence[tuple[str, str, Sequence[float]]], unit: str) -> None:
    """Stacked horizontal bars, first name on top. parts: (legend, colour, value of each name)."""
    rows = range(len(names))
    left = [0.0] * len(names)
    for legend, colour, values in parts:
        axes.barh(rows, values, left=left, color=colour, height=0.72, label=legend)
        left = [a + b for a, b in zip(left, values, strict=True)]
    axes.set_yticks(rows, [_label(name) for name in names])
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    axes.spines["left"].set_visible(False)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(axis="x")
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(FuncFormatter(_short))
    axes.set_xlabel(unit)
    if len(parts) > 1:
        _legend(axes, len(parts))


def _legend(axes: Axes, columns: int) -> None:
    # The figure's, not the axes': long names leave the axes narrow, and a legend over them would be cut.
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.legend(loc="outside upper left", ncols=columns, handlelength=1, columnspacing=1.2)


def flow(report: Report) -> Chart | None:
    """Share of each source that stayed, and why the rest went."""
    if not report.counts.input:
        return None
    sources = sorted(report.sources, key=lambda source: (-source.counts.input, source.name))[:BARS]
    rows = [("all", report.counts), *((source.name, source.counts) for source in sources)]
    names = [f"{_label(name)}  {_short(counts.input)}" for name, counts in rows]
    parts = [
        (verdict, colour, [100 * getattr(counts, verdict) / max(1, counts.input) for _, counts in rows])
        for verdict, colour in VERDICT_COLOURS.items()
    ]

    def paint(axes: Axes) -> None:
        _bars(axes, names, parts, "share of the records that came in, %")
        axes.set_yticks(range(len(names)), names)
        axes.set_xlim(0, 100)

    c = report.counts
    alt = (
        f"Of {c.input:,} records {c.kept:,} were kept, {c.filtered:,} filtered, {c.duplicate:,} removed as duplicates "
        f"and {c.quarantined:,} quarantined; one bar for each source."
    )
    return _draw(paint, "What came in and what stayed", alt, 0.95 + 0.27 * len(rows))


def rules(report: Report) -> Chart | None:
    fired = [rule for rule in report.rules if rule.decided][:BARS]
    if not fired:
        return None
    values = [rule.decided for rule in fired]

    def paint(axes: Axes) -> None:
        _bars(axes, [rule.name for rule in fired], [("records", FILTERED, values)], "records decided against")

    alt = f"{len(fired)} rules by records decided against; most: {visible_text(fired[0].name, 60)}, {values[0]:,}."
    return _draw(paint, "Rules that decided", alt, 0.7 + 0.25 * len(fired))


def removals(report: Report) -> Chart | None:
    """Share of each source that deduplication removed, by kind, the greatest first."""
    losing = [source for source in report.sources if source.removed.total]
    if not losing:
        return None
    shown = sorted(losing, key=lambda source: (-source.deduplicated, source.name))[:BARS]
    names = [f"{_label(source.name)}  {_short(source.reached)}" for source in shown]
    parts = [
        (kind, colour, [100 * getattr(source.removed, kind) / source.reached for source in shown])
        for kind, colour in KIND_COLOURS.items()
        if getattr(report.duplicates, kind)
    ]

    def paint(axes: Axes) -> None:
        _bars(axes, names, parts, "share of the records that passed the rules, %")
        axes.set_yticks(range(len(names)), names)
        axes.set_xlim(0, max(100 * REMOVED_SHARE * 1.1, *(100 * source.deduplicated for source in shown)))
        axes.axvline(100 * REMOVED_SHARE, color=INK, linewidth=1, linestyle=(0, (4, 3)))

    alt = (
        f"{len(losing)} sources lost records to deduplication; most: {visible_text(shown[0].name, 60)}, "
        f"{100 * shown[0].deduplicated:.1f} %. The dashed line is the share that raises an alarm."
    )
    return _draw(paint, "Removed by deduplication", alt, 0.95 + 0.27 * len(shown))


def duplicates(report: Report) -> Chart | None:
    """Histogram of the verified Jaccard, and what MinHash would have found."""
    d = report.duplicates
    if not d.near:
        return None

    def paint(axes: Axes) -> None:
        widths = [high - low for low, high in pairwise(d.jaccard.edges)]
        axes.bar(d.jaccard.edges[:-1], d.jaccard.counts, width=widths, align="edge", color=DUPLICATE)
        axes.set_xlabel("exact Jaccard with the kept document")
        axes.set_ylabel("near-duplicates removed", color=DUPLICATE)
        axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.set_xlim(0, 1.005)
        curve = axes.twinx()
        curve.plot([x for x, _ in d.s_curve], [y for _, y in d.s_curve], color=FILTERED, linewidth=1.6)
        curve.set_ylim(0, 1.05)
        curve.set_ylabel("chance of being compared", color=FILTERED)
        curve.axvline(d.threshold, color=INK, linewidth=1, linestyle=(0, (4, 3)))
        curve.annotate(
            f"threshold {d.threshold:g}", (d.threshold, 1.0), (-5, 0), textcoords="offset points", ha="right"
        )

    alt = (
        f"{d.near:,} near-duplicates by exact Jaccard, threshold {d.threshold:g}; S-curve of {d.bands} bands of "
        f"{d.rows} rows."
    )
    return _draw(paint, "Near-duplicates", alt, 2.9)


def languages(report: Report) -> Chart | None:
    shown = report.languages[:BARS]
    if not shown:
        return None
    parts = [
        ("kept", KEPT, [item.kept for item in shown]),
        ("filtered or duplicate", FILTERED, [item.dropped for item in shown]),
    ]

    def paint(axes: Axes) -> None:
        _bars(axes, [item.name for item in shown], parts, "records")

    alt = f"{len(report.languages)} languages; most: {visible_text(shown[0].name, 40)}, {shown[0].kept:,} records kept."
    return _draw(paint, "Languages", alt, 0.95 + 0.25 * len(shown))


def lengths(report: Report) -> Chart | None:
    data = report.lengths
    if not data.edges:
        return None

    def paint(axes: Axes) -> None:
        widths = [high - low for low, high in pairwise(data.edges)]
        left = data.edges[:-1]
        axes.bar(left, data.kept, width=widths, align="edge", color=KEPT, label="kept", linewidth=0)
        axes.bar(
            left,
            data.dropped,
            width=widths,
            align="edge",
            bottom=data.kept,
            color=FILTERED,
            label="filtered or duplicate",
        )
        axes.set_xscale("log")
        decades = math.log10(data.edges[-1] / data.edges[0])
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if decades < 4 else (1,)))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(_short))
        axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.yaxis.set_major_formatter(FuncFormatter(_short))
        axes.set_xlim(data.edges[0], data.edges[-1])
        axes.grid(axis="y")
        axes.set_xlabel("clean text, characters (log scale)")
        axes.set_ylabel("records")
        _legend(axes, 2)

    alt = f"Records by length of clean text: {sum(data.kept):,} kept and {sum(data.dropped):,} dropped, log bins."
    return _draw(paint, "Lengths", alt, 2.7)


def zipf(report: Report) -> Chart | None:
    points = report.words.zipf
    if len(points) < 3:
        return None

    def paint(axes: Axes) -> None:
        axes.loglog(
            [x for x, _ in points], [y for _, y in points], color=DUPLICATE, marker="o", markersize=3, linewidth=1
        )
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(FuncFormatter(_short))
            axis.set_minor_locator(NullLocator())
        axes.grid()
        axes.set_xlabel("rank of the word (log scale)")
        axes.set_ylabel("occurrences (log scale)")

    alt = f"Count against rank of {report.words.distinct:,} words, from {points[0][1]:,} down to {points[-1][1]:,}."
    return _draw(paint, "Word frequency", alt, 2.7)


def heaps(report: Report) -> Chart | None:
    """Distinct words against running words, and the law that is fitted to them."""
    told = report.words.counting
    if told is None or len(told.heaps) < 3:
        return None
    points, (k, beta) = told.heaps, told.heaps_law

    def paint(axes: Axes) -> None:
        ends = [max(1, points[0][0]), points[-1][0]]
        if k:
            law = [k * x**beta for x in ends]
            axes.loglog(ends, law, color=FILTERED, linewidth=1.2, label=f"{k:.3g} · n^{beta:.3g}")
        x, y = zip(*points, strict=True)
        axes.loglog(x, y, color=DUPLICATE, marker="o", markersize=3, linewidth=1, label="distinct words")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(FuncFormatter(_short))
            axis.set_minor_locator(NullLocator())
        axes.grid()
        axes.set_xlabel("running words n (log scale)")
        axes.set_ylabel("distinct words (log scale)")
        _legend(axes, 2)

    alt = f"Distinct words against running words, up to {points[-1][1]:,} in {points[-1][0]:,}"
    return _draw(paint, "Vocabulary growth", alt + (f"; Heaps' law with exponent {beta:.3g}." if k else "."), 2.9)


def performance(report: Report) -> Chart | None:
    timed = [stage for stage in report.performance.stages if stage.seconds] if report.performance else []
    timed = timed[:BARS]
    if not timed:
        return None
    values = [stage.seconds or 0.0 for stage in timed]

    def paint(axes: Axes) -> None:
        _bars(axes, [stage.name for stage in timed], [("seconds", DUPLICATE, values)], "seconds")

    alt = f"Seconds of each stage, {sum(values):,.1f} in all."
    return _draw(paint, "Time of each stage", alt, 0.7 + 0.25 * len(timed))
