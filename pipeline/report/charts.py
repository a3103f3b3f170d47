"""The page's pictures."""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from pipeline.report.alarms import REMOVED_SHARE
from pipeline.report.drawing import (
    BARS,
    DUPLICATE,
    FILTERED,
    INK,
    KEPT,
    NEAR,
    QUARANTINED,
    Chart,
    bars,
    draw,
    label,
    legend,
    short,
)
from pipeline.report.model import Report, Rule
from pipeline.report.visible import visible_text

VERDICT_COLOURS = {"kept": KEPT, "filtered": FILTERED, "duplicate": DUPLICATE, "quarantined": QUARANTINED}
KIND_COLOURS = {"exact": DUPLICATE, "near": NEAR, "contained": FILTERED, "protected": QUARANTINED}
HISTOGRAMS = 30
"""Rules with a picture of their scores, some 15 kB each."""


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
    drawn = {name: drawer(report) for name, drawer in drawers.items()}
    drawn["scripts"] = scripts(report)
    drawn |= {f"rule {number}": scores(rule) for number, rule in enumerate(fired(report)[:HISTOGRAMS])}
    return {name: chart for name, chart in drawn.items() if chart is not None}


def fired(report: Report) -> Sequence[Rule]:
    """Rules that decided, most records first: in the order of their pictures "rule 0", "rule 1", ..."""
    return [rule for rule in report.rules if rule.decided]


def flow(report: Report) -> Chart | None:
    """Share of each source that stayed, and why the rest went."""
    if not report.counts.input:
        return None
    sources = sorted(report.sources, key=lambda source: (-source.counts.input, source.name))[:BARS]
    rows = [("all", report.counts), *((source.name, source.counts) for source in sources)]
    names = [f"{label(name)}  {short(counts.input)}" for name, counts in rows]
    parts = [
        (verdict, colour, [100 * getattr(counts, verdict) / max(1, counts.input) for _, counts in rows])
        for verdict, colour in VERDICT_COLOURS.items()
    ]

    def paint(axes: Axes) -> None:
        bars(axes, names, parts, "share of the records that came in, %")
        axes.set_yticks(range(len(names)), names)
        axes.set_xlim(0, 100)

    c = report.counts
    alt = (
        f"Of {c.input:,} records {c.kept:,} were kept, {c.filtered:,} filtered, {c.duplicate:,} removed as duplicates "
        f"and {c.quarantined:,} quarantined; one bar for each source."
    )
    return draw(paint, "What came in and what stayed", alt, 0.95 + 0.27 * len(rows))


def rules(report: Report) -> Chart | None:
    shown = fired(report)[:BARS]
    if not shown:
        return None
    values = [rule.decided for rule in shown]

    def paint(axes: Axes) -> None:
        bars(axes, [rule.name for rule in shown], [("records", FILTERED, values)], "records decided against")

    alt = f"{len(shown)} rules by records decided against; most: {visible_text(shown[0].name, 60)}, {values[0]:,}."
    return draw(paint, "Rules that decided", alt, 0.7 + 0.25 * len(shown))


def scores(rule: Rule) -> Chart | None:
    """Histogram of a rule's scores: the bins on its failing side in another colour, its limit a dashed line."""
    data, limit = rule.histogram, rule.limit_low
    if data is None or limit is None:
        return None
    limits = sorted({limit, rule.limit_high if rule.limit_high is not None else limit})

    def failing(low: float, high: float) -> bool:
        middle = (low + high) / 2
        return {"below": middle < limits[0], "above": middle > limits[-1], None: False}[rule.fails]

    def paint(axes: Axes) -> None:
        bins = list(pairwise(data.edges))
        colours = [FILTERED if failing(*edges) else KEPT for edges in bins]
        widths = [high - low for low, high in bins]
        axes.bar([low for low, _ in bins], data.counts, width=widths, align="edge", color=colours, linewidth=0)
        for one in limits:
            axes.axvline(one, color=INK, linewidth=1, linestyle=(0, (4, 3)))
        if data.log:
            axes.set_xscale("log")
            axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(short))
        axes.yaxis.set_major_locator(MaxNLocator(3, integer=True))
        axes.yaxis.set_major_formatter(FuncFormatter(short))
        axes.set_xlim(data.edges[0], data.edges[-1])
        axes.set_xlabel("score (log scale)" if data.log else "score")
        axes.set_ylabel("records")

    told = " to ".join(f"{one:g}" for one in limits)
    alt = f"{rule.scored:,} records by their score of {visible_text(rule.name, 60)}; the limit is {told}."
    return draw(paint, f"Scores of {visible_text(rule.name, 60)}", alt, 1.7)


def scripts(report: Report) -> Chart | None:
    shown = report.scripts[:BARS]
    if len(shown) < 2:
        return None
    parts = [
        ("kept", KEPT, [item.kept for item in shown]),
        ("filtered or duplicate", FILTERED, [item.dropped for item in shown]),
    ]

    def paint(axes: Axes) -> None:
        bars(axes, [item.name for item in shown], parts, "records")

    alt = f"{len(report.scripts)} scripts; most: {shown[0].name}, {shown[0].kept:,} records kept."
    return draw(paint, "Scripts", alt, 0.95 + 0.25 * len(shown))


def removals(report: Report) -> Chart | None:
    """Share of each source that deduplication removed, by kind, the greatest first."""
    losing = [source for source in report.sources if source.removed.total]
    if not losing:
        return None
    shown = sorted(losing, key=lambda source: (-source.deduplicated, source.name))[:BARS]
    names = [f"{label(source.name)}  {short(source.reached)}" for source in shown]
    parts = [
        (kind, colour, [100 * getattr(source.removed, kind) / source.reached for source in shown])
        for kind, colour in KIND_COLOURS.items()
        if getattr(report.duplicates, kind)
    ]

    def paint(axes: Axes) -> None:
        bars(axes, names, parts, "share of the records that passed the rules, %")
        axes.set_yticks(range(len(names)), names)
        axes.set_xlim(0, max(100 * REMOVED_SHARE * 1.1, *(100 * source.deduplicated for source in shown)))
        axes.axvline(100 * REMOVED_SHARE, color=INK, linewidth=1, linestyle=(0, (4, 3)))

    alt = (
        f"{len(losing)} sources lost records to deduplication; most: {visible_text(shown[0].name, 60)}, "
        f"{100 * shown[0].deduplicated:.1f} %. The dashed line is the share that raises an alarm."
    )
    return draw(paint, "Removed by deduplication", alt, 0.95 + 0.27 * len(shown))


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
    return draw(paint, "Near-duplicates", alt, 2.9)


def languages(report: Report) -> Chart | None:
    shown = report.languages[:BARS]
    if not shown:
        return None
    parts = [
        ("kept", KEPT, [item.kept for item in shown]),
        ("filtered or duplicate", FILTERED, [item.dropped for item in shown]),
    ]

    def paint(axes: Axes) -> None:
        bars(axes, [item.name for item in shown], parts, "records")

    alt = f"{len(report.languages)} languages; most: {visible_text(shown[0].name, 40)}, {shown[0].kept:,} records kept."
    return draw(paint, "Languages", alt, 0.95 + 0.25 * len(shown))


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
        axes.xaxis.set_major_formatter(FuncFormatter(short))
        axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.yaxis.set_major_formatter(FuncFormatter(short))
        axes.set_xlim(data.edges[0], data.edges[-1])
        axes.grid(axis="y")
        axes.set_xlabel("clean text, characters (log scale)")
        axes.set_ylabel("records")
        legend(axes, 2)

    alt = f"Records by length of clean text: {sum(data.kept):,} kept and {sum(data.dropped):,} dropped, log bins."
    return draw(paint, "Lengths", alt, 2.7)


def zipf(report: Report) -> Chart | None:
    points = report.words.zipf
    if len(points) < 3:
        return None

    def paint(axes: Axes) -> None:
        axes.loglog(
            [x for x, _ in points], [y for _, y in points], color=DUPLICATE, marker="o", markersize=3, linewidth=1
        )
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(FuncFormatter(short))
            axis.set_minor_locator(NullLocator())
        axes.grid()
        axes.set_xlabel("rank of the word (log scale)")
        axes.set_ylabel("occurrences (log scale)")

    alt = f"Count against rank of {report.words.distinct:,} words, from {points[0][1]:,} down to {points[-1][1]:,}."
    return draw(paint, "Word frequency", alt, 2.7)


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
            axis.set_major_formatter(FuncFormatter(short))
            axis.set_minor_locator(NullLocator())
        axes.grid()
        axes.set_xlabel("running words n (log scale)")
        axes.set_ylabel("distinct words (log scale)")
        legend(axes, 2)

    alt = f"Distinct words against running words, up to {points[-1][1]:,} in {points[-1][0]:,}"
    return draw(paint, "Vocabulary growth", alt + (f"; Heaps' law with exponent {beta:.3g}." if k else "."), 2.9)


def performance(report: Report) -> Chart | None:
    timed = [stage for stage in report.performance.stages if stage.seconds] if report.performance else []
    timed = timed[:BARS]
    if not timed:
        return None
    values = [stage.seconds or 0.0 for stage in timed]

    def paint(axes: Axes) -> None:
        bars(axes, [stage.name for stage in timed], [("seconds", DUPLICATE, values)], "seconds")

    alt = f"Seconds of each stage, {sum(values):,.1f} in all."
    return draw(paint, "Time of each stage", alt, 0.7 + 0.25 * len(timed))
