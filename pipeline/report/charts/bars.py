"""Bars over names."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from pipeline.report.charts.svg import (
    DUPLICATE,
    FILTERED,
    INK,
    KEPT,
    NEAR,
    QUARANTINED,
    WIDTH,
    Chart,
    draw,
    label,
    short,
)
from pipeline.report.model import Report
from pipeline.report.source_alarms import REMOVED_SHARE
from pipeline.report.visible import visible_text

BARS = 14
"""Bars of a chart over names; its table holds the rest."""
KIND_COLOURS = {"exact": DUPLICATE, "near": NEAR, "contained": FILTERED, "protected": QUARANTINED}
Part = tuple[str, str, Sequence[float]]
"""(legend, colour, value of each name)"""


def bars(axes: Axes, names: Sequence[str], parts: Sequence[Part], unit: str) -> None:
    """Stacked horizontal bars, first name on top."""
    rows = range(len(names))
    left = [0.0] * len(names)
    for legend, colour, values in parts:
        axes.barh(rows, values, left=left, color=colour, height=0.72, label=legend)
        left = [a + b for a, b in zip(left, values, strict=True)]
    axes.set_yticks(rows, list(names))
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    axes.spines["left"].set_visible(False)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(axis="x")
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.xaxis.set_major_formatter(FuncFormatter(short))
    axes.set_xlabel(unit)
    if len(parts) > 1:
        legend_above(axes, len(parts))


def legend_above(axes: Axes, columns: int) -> None:
    # The figure's, not the axes': long names leave the axes narrow, and a legend over them would be cut.
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.legend(loc="outside upper left", ncols=columns, handlelength=1, columnspacing=1.2)


def _height(count: int, legend: bool) -> float:
    return (0.85 if legend else 0.6) + 0.22 * count


def _drawn(name: str, names: Sequence[str], parts: Sequence[Part], unit: str, title: str, alt: str) -> Chart:
    def paint(figure: Figure) -> None:
        bars(figure.add_subplot(), names, parts, unit)

    return draw(name, paint, title, alt, _height(len(names), len(parts) > 1), WIDTH)


def rules(report: Report) -> Chart | None:
    """Records that each rule decided against: alone, or together with others."""
    fired = [rule for rule in report.rules if rule.decided][:BARS]
    if not fired:
        return None
    alone = [rule.alone or 0 for rule in fired]
    others = [rule.decided - (rule.alone or 0) for rule in fired]
    parts = [("it alone", FILTERED, alone), ("other rules as well", NEAR, others)]
    top = fired[0]
    alt = f"{len(fired)} rules by records decided against; most: {visible_text(top.name, 60)}, {top.decided:,}."
    names = [label(rule.name, 30) for rule in fired]
    return _drawn("rules", names, parts, "records decided against", "Rules that decided", alt)


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

    def paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        bars(axes, names, parts, "share of the records that passed the rules, %")
        axes.set_xlim(0, max(100 * REMOVED_SHARE * 1.1, *(100 * source.deduplicated for source in shown)))
        axes.axvline(100 * REMOVED_SHARE, color=INK, linewidth=1, linestyle=(0, (4, 3)))

    alt = (
        f"{len(losing)} sources lost records to deduplication; most: {visible_text(shown[0].name, 60)}, "
        f"{100 * shown[0].deduplicated:.1f} %. The dashed line is the share that raises an alarm."
    )
    return draw("removals", paint, "Removed by deduplication", alt, _height(len(shown), True))


def languages(report: Report) -> Chart | None:
    shown = report.languages[:BARS]
    if not shown:
        return None
    parts = [
        ("kept", KEPT, [item.kept for item in shown]),
        ("filtered or duplicate", FILTERED, [item.dropped for item in shown]),
    ]
    most = shown[0]
    alt = f"{len(report.languages)} languages; most: {visible_text(most.name, 40)}, {most.kept:,} records kept."
    return _drawn("languages", [label(item.name) for item in shown], parts, "records", "Languages", alt)


def repairs(report: Report) -> Chart | None:
    shown = report.repairs[:BARS]
    if not shown:
        return None
    values = [item.records for item in shown]
    alt = f"{len(report.repairs)} repairs by records changed; most: {visible_text(shown[0].name, 40)}, {values[0]:,}."
    return _drawn("repairs", [label(item.name) for item in shown], [("", KEPT, values)], "records", "Repairs", alt)


def performance(report: Report) -> Chart | None:
    timed = [stage for stage in report.performance.stages if stage.seconds] if report.performance else []
    timed = timed[:BARS]
    if not timed:
        return None
    values = [stage.seconds or 0.0 for stage in timed]
    names = [label(stage.name) for stage in timed]
    alt = f"Seconds of each stage, {sum(values):,.1f} in all."
    return _drawn("performance", names, [("", DUPLICATE, values)], "seconds", "Time of each stage", alt)
