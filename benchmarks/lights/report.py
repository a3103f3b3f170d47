"""What was measured, as a table, as numbers, and as a plot of accuracy against latency."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.lights.measure import Cell, Measured

Scores = dict[str, float]


def scores(truth: Sequence[str], measured: Measured) -> Scores:
    """Accuracy and Matthews' correlation."""
    from trainer.metrics import accuracy, matthews

    names = sorted({*truth, *measured.labels})
    number = {name: k for k, name in enumerate(names)}
    encoded = [[number[name] for name in side] for side in (truth, measured.labels)]
    return {"accuracy": accuracy(*encoded), "matthews": matthews(*encoded, len(names))}


def against(measured: Measured, found: Sequence[Measured]) -> Measured | None:
    """What a row is compared with; None where that was not measured."""
    wanted = measured.row.against or found[0].row.name
    return next((other for other in found if other.row.name == wanted and not other.error), None)


def numbers(
    found: Sequence[Measured], cells: Sequence[Cell], threads: Sequence[int], truth: Sequence[str], metric: str
) -> list[dict[str, Any]]:
    """One object a row, for the JSON file."""
    rows = []
    for measured in found:
        row: dict[str, Any] = {"name": measured.row.name, "group": measured.row.group, "error": measured.error}
        if not measured.error:
            own, base = scores(truth, measured), against(measured, found)
            lost = None if base is None else 100 * (scores(truth, base)[metric] - own[metric])
            row |= {"bytes": measured.size, **own, "against": base and base.row.name, "points_lost": lost}
            row["cells"] = [
                {
                    "cell": cell.name,
                    "batch": cell.batch,
                    "length": cell.length,
                    "threads": count,
                    "milliseconds": measured.milliseconds(cell.name, count),
                    "speedup": None if base is None else measured.speedup(base, cell.name, count),
                }
                for cell in cells
                for count in threads
            ]
        rows.append(row)
    return rows


def headline(
    found: Sequence[Measured], rows: Sequence[dict[str, Any]], cell: str, threads: int
) -> dict[str, float | None]:
    """NAME_speedup and NAME_points_lost of the rows that have a metric, in one cell."""
    told: dict[str, float | None] = {}
    for measured, row in zip(found, rows, strict=True):
        if name := measured.row.metric:
            here = [c for c in row.get("cells", ()) if (c["cell"], c["threads"]) == (cell, threads)]
            told[f"{name}_speedup"] = here[0]["speedup"] if here else None
            told[f"{name}_points_lost"] = row.get("points_lost")
    return told


def print_table(rows: Sequence[dict[str, Any]], cells: Sequence[Cell], threads: Sequence[int], metric: str) -> None:
    """Milliseconds of a batch: median (least to greatest), and how many times as fast."""
    width = max(len(row["name"]) for row in rows)
    for cell in cells:
        for count in threads:
            print(f"\n{cell.name}, {count} {'thread' if count == 1 else 'threads'}")
            print(f"{'':{width}}  {metric:>8}   lost      MB        ms  (least to greatest)   times as fast")
            for row in rows:
                if row["error"]:
                    print(f"{row['name']:{width}}  failed: {row['error']}")
                    continue
                here = next(c for c in row["cells"] if (c["cell"], c["threads"]) == (cell.name, count))
                if (ms := here["milliseconds"]) is None:
                    continue
                lost = "" if row["points_lost"] is None else f"{row['points_lost']:6.2f}"
                speedup = "" if here["speedup"] is None else f"{here['speedup']:8.2f}"
                spread = f"({ms['least']:.2f} to {ms['greatest']:.2f})"
                print(
                    f"{row['name']:{width}}  {row[metric]:8.4f} {lost:>6} {row['bytes'] / 1e6:7.1f} "
                    f"{ms['median']:9.2f}  {spread:21} {speedup}"
                )


def plot(path: Path, title: str, rows: Sequence[dict[str, Any]], cell: str, threads: int, metric: str) -> None:
    """Accuracy against milliseconds of a batch: a line for each group, a point for each other row."""
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.5, 5.5), layout="constrained")
    axes = figure.add_subplot()
    groups: dict[str, list[tuple[float, float, str]]] = {}
    for row in rows:
        here = [c for c in row.get("cells", ()) if (c["cell"], c["threads"]) == (cell, threads) and c["milliseconds"]]
        if here:
            place = here[0]["milliseconds"]["median"], 100 * row[metric], row["name"]
            groups.setdefault(row["group"] or row["name"], []).append(place)
    colours = colormaps["tab20"]
    for number, (name, points) in enumerate(groups.items()):
        points.sort()
        colour = colours((2 * number) % 20 + number // 10 % 2)
        xs, ys = [x for x, _, _ in points], [y for _, y, _ in points]
        if len(points) > 1:
            axes.plot(xs, ys, marker="o", label=name, color=colour)
            for x, y, label in points:
                axes.annotate(
                    label.removeprefix(f"{name}, ").removeprefix("speed "),
                    (x, y),
                    fontsize=7,
                    xytext=(3, 4),
                    textcoords="offset points",
                )
        else:
            axes.plot(xs, ys, marker="s", linestyle="", markersize=8, label=name, color=colour)
    axes.set(xscale="log", xlabel=f"ms a batch ({cell}, {threads} thread(s))", ylabel=f"{metric} x 100", title=title)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7)
    figure.savefig(path, metadata={"Software": None}, dpi=120)
