"""Drawing with matplotlib: one light and one dark SVG of a picture, the same bytes for the same numbers."""

import base64
import io
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import escape

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

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


def draw(paint: Callable[[Axes], None], title: str, alt: str, height: float, width: float = 5.4) -> Chart:
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


def label(name: str) -> str:
    return cut(visible_text(name, LABEL), LABEL)


def short(value: float, _position: object = None) -> str:
    for size, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{suffix}"
    return f"{value:.4g}"


def bars(axes: Axes, names: Sequence[str], parts: Sequence[tuple[str, str, Sequence[float]]], unit: str) -> None:
    """Stacked horizontal bars, first name on top. parts: (legend, colour, value of each name)."""
    rows = range(len(names))
    left = [0.0] * len(names)
    for name, colour, values in parts:
        axes.barh(rows, values, left=left, color=colour, height=0.72, label=name)
        left = [a + b for a, b in zip(left, values, strict=True)]
    axes.set_yticks(rows, [label(name) for name in names])
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    axes.spines["left"].set_visible(False)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(axis="x")
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(FuncFormatter(short))
    axes.set_xlabel(unit)
    if len(parts) > 1:
        legend(axes, len(parts))


def legend(axes: Axes, columns: int) -> None:
    # The figure's, not the axes': long names leave the axes narrow, and a legend over them would be cut.
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.legend(loc="outside upper left", ncols=columns, handlelength=1, columnspacing=1.2)
