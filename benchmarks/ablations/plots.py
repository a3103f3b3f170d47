"""Loss curves as SVG: against training seconds, tokens and operations, a line an arm."""

from pathlib import Path

from benchmarks.ablations.curves import mean_curve
from benchmarks.ablations.summary import Summary

AXES = (("seconds", "training seconds"), ("tokens", "tokens"), ("flops", "operations"))


def by_axis(curves: list[list[dict[str, float]]], axis: str) -> list[dict[str, float]]:
    """The mean curve over another axis than seconds."""
    renamed = [[{"seconds": point[axis], "loss": point["loss"]} for point in curve] for curve in curves]
    return mean_curve(renamed)


def plot(summary: Summary, path: Path) -> bool:
    """Writes the figure; False where no arm has a curve yet. The same results give the same bytes."""
    rows = [row for row in summary.rows if row.curve]
    if not rows:
        return False
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "siliang"
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(AXES), figsize=(15, 5.5), sharey=True, layout="constrained")
    colours = pyplot.get_cmap("tab20")
    for axis, (key, label) in zip(axes, AXES, strict=True):
        for number, row in enumerate(rows):
            curves = [run["curve"] for run in row.runs if run.get("curve")]
            mean = by_axis(curves, key)
            style = "-" if number < 20 else "--"
            axis.plot(
                [point["seconds"] for point in mean], [point["loss"] for point in mean],
                style, color=colours(number % 20), label=row.arm.name, linewidth=1.2,
            )  # fmt: skip
        if summary.levels is not None:
            for level in ("unigram_entropy", "order_free"):
                axis.axhline(summary.levels[level], color="0.6", linewidth=0.8, linestyle=":")
        axis.set_xlabel(label)
        axis.grid(alpha=0.2)
    axes[0].set_ylabel("held-out loss, nats")
    axes[-1].legend(fontsize=7, ncols=2)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
    return True
