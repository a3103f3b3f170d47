"""A bar plot of minimal pairs: one group of bars for each paradigm, one colour for each run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

FORMATS: Final = (".png", ".svg")


class PlotError(ValueError):
    """The plot cannot be drawn; the message says what is missing."""


def check_plot(path: Path) -> None:
    """Raises PlotError where matplotlib is missing or the file's ending is not one of FORMATS; before any work."""
    if path.suffix not in FORMATS:
        raise PlotError(f"{path}: plots are {' or '.join(FORMATS)} files")
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise PlotError(f"{path}: plots need matplotlib; `pip install matplotlib`") from error


def plot_pairs(path: Path, runs: Mapping[str, Mapping[str, float]]) -> None:
    """Writes the plot. `runs`: run -> paradigm -> accuracy; the paradigms are those of the first run.

    Raises PlotError, OSError.
    """
    check_plot(path)
    from matplotlib import rcParams
    from matplotlib.figure import Figure

    # Not pyplot: it would ask for a display and keep figures alive. The salt makes an SVG's ids reproducible.
    rcParams["svg.hashsalt"] = "siliang"
    names = list(next(iter(runs.values())))
    figure = Figure(figsize=(8, 1.5 + 0.22 * len(names) * max(1, len(runs))), layout="constrained")
    axes = figure.add_subplot()
    height = 0.8 / len(runs)
    for k, (run, scores) in enumerate(runs.items()):
        mean = sum(scores.values()) / len(scores)
        places = [place - 0.4 + height * (k + 0.5) for place in range(len(names))]
        axes.barh(places, [100 * scores[name] for name in names], height, label=f"{run} (mean {100 * mean:.1f})")
    axes.axvline(50, color="black", linewidth=0.8, linestyle="--")
    axes.set(yticks=range(len(names)), yticklabels=names, xlim=(0, 100), xlabel="accuracy, %; the line is chance")
    axes.invert_yaxis()
    figure.legend(loc="outside upper center")
    metadata = {"Date": None} if path.suffix == ".svg" else {"Software": None}
    figure.savefig(path, metadata=metadata, dpi=120)
