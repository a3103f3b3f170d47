"""The page's pictures: SVG drawn by matplotlib, the same bytes for the same numbers."""

from collections.abc import Callable

from pipeline.report.charts import bars, curves, flow
from pipeline.report.charts.svg import Chart
from pipeline.report.model import Report

__all__ = ["Chart", "charts"]


def charts(report: Report, detailed: int = 0) -> dict[str, Chart]:
    """Every chart there are numbers for, by name; "score-N" is the histogram of the N-th rule, for the first
    `detailed` rules."""
    drawers: dict[str, Callable[[Report], Chart | None]] = {
        "flow": flow.flow,
        "flow-bars": flow.flow_bars,
        "rules": bars.rules,
        "removals": bars.removals,
        "duplicates": curves.duplicates,
        "languages": bars.languages,
        "lengths": curves.lengths,
        "repairs": bars.repairs,
        "zipf": curves.zipf,
        "heaps": curves.heaps,
        "performance": bars.performance,
    }
    drawn = {name: draw(report) for name, draw in drawers.items()}
    drawn |= {f"score-{n}": curves.scores(rule, f"score-{n}") for n, rule in enumerate(report.rules[:detailed])}
    return {name: chart for name, chart in drawn.items() if chart is not None}
