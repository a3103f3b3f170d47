"""The flow picture: each source's records on their way to being kept, or out."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch, Rectangle
from matplotlib.path import Path

from pipeline.report.charts.bars import bars
from pipeline.report.charts.svg import (
    DUPLICATE,
    FAINT,
    FILTERED,
    INK,
    KEPT,
    NEAR,
    QUARANTINED,
    Chart,
    draw,
    label,
    short,
)
from pipeline.report.model import Removed, Report, Source

SOURCES, RULES = 10, 6
"""Streams that have a name of their own; the others flow together."""
VERDICT_COLOURS = {"kept": KEPT, "filtered": FILTERED, "duplicate": DUPLICATE, "quarantined": QUARANTINED}
_WIDE, _TALL, _SLOT = 9.6, 2.8, 0.22
"""Inches: width of the picture, height of all records, least height of a stream with its label."""
_NODE, _TEXT, _LETTER = 0.12, 9.5, 0.078
"""Inches: width of a node; points: size of its label; inches: what a letter of it takes."""


@dataclass(frozen=True)
class _Node:
    name: str
    size: int
    colour: str
    top: float
    height: float

    @property
    def middle(self) -> float:
        return self.top + self.height / 2


def _outcomes(report: Report) -> list[tuple[str, str, list[int]]]:
    """(name, colour, records of each source), kept first."""
    sources = report.sources
    found = [("kept", KEPT, [source.counts.kept for source in sources])]
    removed_of = {kind: [getattr(source.removed, kind) for source in sources] for kind in Removed.model_fields}
    names = {"exact": "exact copies", "near": "near-duplicates", "contained": "contained in another"}
    found += [(name, NEAR if kind == "near" else DUPLICATE, removed_of[kind]) for kind, name in names.items()]
    by_rule = [{item.name: item.count for item in source.filtered_by} for source in sources]
    shown = [rule.name for rule in report.rules if rule.decided][:RULES]
    found += [(rule, FILTERED, [counts.get(rule, 0) for counts in by_rule]) for rule in shown]
    rest = [
        source.counts.filtered - sum(counts.get(rule, 0) for rule in shown)
        for source, counts in zip(sources, by_rule, strict=True)
    ]
    found.append(("other rules", FILTERED, rest))
    found.append(("quarantined", QUARANTINED, [source.counts.quarantined for source in sources]))
    return [outcome for outcome in found if sum(outcome[2])]


def _column(items: Sequence[tuple[str, int, str]], total: int, height: float) -> list[_Node]:
    """Nodes from top to bottom, spread over `height`."""
    sizes = [_TALL * size / total for _, size, _ in items]
    slots = [max(size, _SLOT) for size in sizes]
    gap = (height - sum(slots)) / max(1, len(items) - 1) if len(items) > 1 else 0.0
    gap = min(gap, 0.3)
    top = (height - sum(slots) - gap * (len(items) - 1)) / 2
    nodes = []
    for (name, size, colour), drawn, slot in zip(items, sizes, slots, strict=True):
        nodes.append(_Node(name, size, colour, top + (slot - drawn) / 2, drawn))
        top += slot + gap
    return nodes


def flow(report: Report) -> Chart | None:
    """Streams from sources on the left to what became of their records on the right."""
    total = report.counts.input
    if not total:
        return None
    outcomes = _outcomes(report)
    few = report.sources[:SOURCES]
    left = [(source.name, source.counts.input, FAINT) for source in few]
    more = report.sources[SOURCES:]
    if more:
        left.append((f"{len(more):,} more", sum(source.counts.input for source in more), FAINT))
    right = [(name, sum(counts), colour) for name, colour, counts in outcomes]
    height = max(_needed(left, total), _needed(right, total))
    start, end = _column(left, total, height), _column(right, total, height)
    told = [f"{label(node.name, 24)} {short(node.size)}" for node in start]
    became = [f"{label(node.name, 30)} {short(node.size)} · {100 * node.size / total:.1f} %" for node in end]
    x_start, x_end = 0.15 + _LETTER * max(map(len, told)), _WIDE - 0.15 - _NODE - _LETTER * max(map(len, became))

    def paint(figure: Figure) -> None:
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_xlim(0, _WIDE)
        axes.set_ylim(height + 0.08, -0.08)
        axes.set_axis_off()
        arrived = [node.top for node in end]
        for number, node in enumerate(start):
            leaving = node.top
            for place, (_, colour, counts) in enumerate(outcomes):
                count = sum(counts[SOURCES:]) if number == SOURCES else counts[number]
                if count:
                    thick = _TALL * count / total
                    _stream(axes, (x_start + _NODE, leaving), (x_end, arrived[place]), thick, colour)
                    leaving += thick
                    arrived[place] += thick
        for nodes, texts, x in ((start, told, x_start), (end, became, x_end)):
            for node, text in zip(nodes, texts, strict=True):
                axes.add_patch(Rectangle((x, node.top), _NODE, max(node.height, 0.01), color=node.colour, linewidth=0))
                before = x == x_start
                at = x - 0.08 if before else x + _NODE + 0.08
                axes.text(
                    at, node.middle, text, ha="right" if before else "left", va="center", color=INK, fontsize=_TEXT
                )

    c = report.counts
    alt = (
        f"Of {c.input:,} records {c.kept:,} were kept, {c.filtered:,} filtered, {c.duplicate:,} removed as duplicates "
        f"and {c.quarantined:,} quarantined; streams from {len(report.sources):,} sources to these ends."
    )
    return draw("flow", paint, "What came in and what stayed", alt, height + 0.16, _WIDE, tight=False)


def _needed(items: Sequence[tuple[str, int, str]], total: int) -> float:
    return sum(max(_TALL * size / total, _SLOT) for _, size, _ in items) + 0.06 * len(items)


def _stream(axes: Axes, start: tuple[float, float], end: tuple[float, float], thick: float, colour: str) -> None:
    """A band from the point `start` to the point `end`, both at its upper edge."""
    (x, leaving), (to, arriving) = start, end
    middle = (x + to) / 2
    points = [(x, leaving), (middle, leaving), (middle, arriving), (to, arriving)]
    points += [(to, arriving + thick), (middle, arriving + thick), (middle, leaving + thick), (x, leaving + thick)]
    codes = [Path.MOVETO, *[Path.CURVE4] * 3, Path.LINETO, *[Path.CURVE4] * 3]
    axes.add_patch(PathPatch(Path(points, codes), facecolor=colour, alpha=0.42, linewidth=0))


def flow_bars(report: Report) -> Chart | None:
    """The same for narrow screens: share of each source that stayed, and why the rest went."""
    if not report.counts.input:
        return None
    rows = [("all", report.counts), *((source.name, source.counts) for source in _largest(report.sources))]
    names = [f"{label(name, 16)}  {short(counts.input)}" for name, counts in rows]
    parts = [
        (verdict, colour, [100 * getattr(counts, verdict) / max(1, counts.input) for _, counts in rows])
        for verdict, colour in VERDICT_COLOURS.items()
    ]

    def paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        bars(axes, names, parts, "share of the records that came in, %")
        axes.set_xlim(0, 100)

    c = report.counts
    alt = (
        f"Of {c.input:,} records {c.kept:,} were kept, {c.filtered:,} filtered, {c.duplicate:,} removed as duplicates "
        f"and {c.quarantined:,} quarantined; one bar for each source."
    )
    return draw("flow-bars", paint, "What came in and what stayed", alt, 0.85 + 0.22 * len(rows))


def _largest(sources: Sequence[Source]) -> Sequence[Source]:
    return sources[: SOURCES + 2]
