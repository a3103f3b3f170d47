"""A line chart as inline SVG: no style attribute, no script, colours by class; the same bytes for the same numbers."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from trainer.report.visible import visible_text

WIDTH, HEIGHT = 420, 250
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 10, 40
POINTS = 240
"""Of a line at most: more of them are taken together in equal stretches, each shown by its mean."""
COLOURS = 8
"""Lines beyond it are told apart by dashes as well."""


@dataclass(frozen=True)
class Line:
    """One run in a chart."""

    run: int
    """Number of the run: its colour."""
    x: np.ndarray
    y: np.ndarray
    faint: bool = False
    """Behind the others, for numbers that jump."""
    dots: bool = False


def thinned(x: np.ndarray, y: np.ndarray, count: int = POINTS) -> tuple[np.ndarray, np.ndarray]:
    """Means of at most `count` stretches of equally many neighbours."""
    if len(x) <= count:
        return x, y
    edges = np.linspace(0, len(x), count + 1).astype(int)
    sizes = np.diff(edges)
    return np.add.reduceat(x, edges[:-1]) / sizes, np.add.reduceat(y, edges[:-1]) / sizes


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers from `low` to `high`, about `count` of them."""
    span = high - low
    if not span > 0:
        return [low]
    rough = span / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next((factor * power for factor in (1, 2, 2.5, 5) if factor * power >= rough * 0.999), 10 * power)
    first = math.ceil(low / step - 1e-9)
    return [k * step for k in range(first, math.floor(high / step + 1e-9) + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten between two logarithms, or round numbers where there is at most one."""
    first, last = math.ceil(low - 1e-9), math.floor(high + 1e-9)
    if last > first:
        every = max(1, (last - first + 1) // 5)
        return [float(k) for k in range(first, last + 1, every)]
    return [math.log10(value) for value in ticks(10**low, 10**high) if value > 0]


def short(value: float) -> str:
    """1.5k, 20M, 3.2e18, 2.5e-4."""
    size = abs(value)
    if size >= 1e15 or 0 < size < 1e-2:
        digits, _, power = f"{value:.2e}".partition("e")
        return f"{digits.rstrip('0').rstrip('.')}e{int(power)}"
    for unit, suffix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if size >= unit:
            return f"{value / unit:.4g}{suffix}"
    return f"{value:.4g}"


def chart(
    name: str,
    title: str,
    lines: Sequence[Line],
    x_label: str,
    marks: Sequence[tuple[int, float]] = (),
    log: bool = False,
) -> Markup | None:
    """None where no line has a point.

    Args:
        name: unique on the page.
        marks: (run, x) of upright lines.
        log: the logarithm of y is drawn; values of 0 and below are left out.
    """
    drawn = []
    for line in lines:
        keep = np.isfinite(line.x) & np.isfinite(line.y) & ((line.y > 0) | (not log))
        if keep.any():
            x, y = thinned(line.x[keep], line.y[keep])
            drawn.append((line, x, np.log10(y) if log else y))
    if not drawn:
        return None
    x_low, x_high = min(0.0, *(float(x.min()) for _, x, _ in drawn)), max(float(x.max()) for _, x, _ in drawn)
    y_low, y_high = min(float(y.min()) for _, _, y in drawn), max(float(y.max()) for _, _, y in drawn)
    margin = 0.05 * (y_high - y_low) or 0.05 * abs(y_high) or 0.5
    y_low, y_high = y_low - margin, y_high + margin
    x_scale = (WIDTH - LEFT - RIGHT) / ((x_high - x_low) or 1.0)
    y_scale = (HEIGHT - TOP - BOTTOM) / (y_high - y_low)

    def at(x: float, y: float) -> tuple[float, float]:
        return LEFT + (x - x_low) * x_scale, HEIGHT - BOTTOM - (y - y_low) * y_scale

    parts = [Markup('<rect class="frame" x="{}" y="{}" width="{}" height="{}"/>').format(
        LEFT, TOP, WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    )]  # fmt: skip
    for value in log_ticks(y_low, y_high) if log else ticks(y_low, y_high):
        height = at(x_low, value)[1]
        shown = short(10**value if log else 0.0 if abs(value) < 1e-9 * margin else value)
        parts.append(
            Markup('<path class="grid" d="M{} {:.1f}H{}"/><text x="{}" y="{:.1f}" text-anchor="end">{}</text>').format(
                LEFT, height, WIDTH - RIGHT, LEFT - 6, height + 3.5, shown
            )
        )
    for value in ticks(x_low, x_high, 4):
        parts.append(
            Markup('<text x="{:.1f}" y="{}" text-anchor="middle">{}</text>').format(
                at(value, y_low)[0], HEIGHT - BOTTOM + 15, short(value)
            )
        )
    parts.append(
        Markup('<text class="axis" x="{}" y="{}" text-anchor="middle">{}</text>').format(
            (LEFT + WIDTH - RIGHT) / 2, HEIGHT - 5, x_label
        )
    )
    for run, place in marks:
        if x_low <= place <= x_high:
            parts.append(Markup('<path class="mark r{} c{}" d="M{:.1f} {}V{}"/>').format(
                run, run % COLOURS, at(place, y_low)[0], TOP, HEIGHT - BOTTOM
            ))  # fmt: skip
    for line, x, y in sorted(drawn, key=lambda one: not one[0].faint):
        places = [at(*pair) for pair in zip(x.tolist(), y.tolist(), strict=True)]
        kind = f"line r{line.run} c{line.run % COLOURS} d{line.run // COLOURS % 3}{' faint' if line.faint else ''}"
        path = "L".join(f"{px:.1f} {py:.1f}" for px, py in places)
        parts.append(Markup('<path class="{}" d="M{}"/>').format(kind, path))
        if line.dots or len(places) == 1:
            dots = "".join(f"M{px:.1f} {py:.1f}h0" for px, py in places)
            parts.append(Markup('<path class="dots r{} c{}" d="{}"/>').format(line.run, line.run % COLOURS, dots))
    told = f"{visible_text(title, 80)} against {x_label}: {len({line.run for line, _, _ in drawn})} run(s)"
    return Markup(
        '<svg class="chart" viewBox="0 0 {} {}" role="img" aria-labelledby="{}-t"><title id="{}-t">{}</title>{}</svg>'
    ).format(WIDTH, HEIGHT, name, name, told, Markup("").join(parts))
