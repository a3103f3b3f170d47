"""Which charts the page has, and their lines."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from markupsafe import Markup

from trainer.report.chart import Line, chart
from trainer.report.flops import flops_at
from trainer.report.history import AXES, History, Points

AXIS_LABELS = {
    "step": "steps",
    "tokens": "tokens",
    "seconds": "training seconds",
    "flops": "FLOPs, forward and backward",
}
COMMON = {
    "loss", "learning_rate", "gradient_norm", "tokens", "seconds", "tokens_per_second", "mfu", "data_wait",
}  # fmt: skip
"""Numbers of every run's records; what else stands there are parts of its task."""


@dataclass(frozen=True)
class Series:
    kind: str
    name: str
    faint: bool = False
    dots: bool = False


@dataclass(frozen=True)
class Spec:
    """One chart."""

    title: str
    about: str
    series: tuple[Series, ...]
    log: bool = False


@dataclass(frozen=True)
class Drawn:
    """One chart against each axis; None where no run tells that axis."""

    title: str
    about: str
    by_axis: dict[str, Markup | None]
    lost: int
    """Values that are not finite, of all runs."""


LOSS = Spec(
    "Held out and training",
    "Nats a prediction: held out with dots, training faint behind it. Upright lines: the model grew.",
    (Series("train", "loss", faint=True), Series("held_out", "loss", dots=True)),
)
OPTIMISATION = (
    Spec("Learning rate", "", (Series("train", "learning_rate"),)),
    Spec("Gradient norm", "Before it is clipped.", (Series("train", "gradient_norm"),), log=True),
)
SPEED = (
    Spec("Tokens per second", "Of the last 50 steps.", (Series("train", "tokens_per_second"),)),
    Spec("MFU", "Share of the matmul rate measured at the start.", (Series("train", "mfu"),)),
    Spec("Data wait", "Share of a step's time spent waiting for batches.", (Series("train", "data_wait"),)),
)
NOTES = (
    Spec("Notes filled", "Rare words with a note.", (Series("notes", "filled", dots=True),)),
    Spec("Norm of a note", "Mean L2 norm.", (Series("notes", "mean_norm", dots=True),)),
    Spec("Tokens with a note", "Share of the tokens that a note entered at.", (Series("notes", "share", dots=True),)),
)


def part_specs(histories: Sequence[History]) -> tuple[Spec, ...]:
    """Accuracies, difficulty and losses of the tasks, in the order in which the logs name them."""
    names = dict.fromkeys(
        name
        for history in histories
        for kind in ("train", "held_out")
        for name in history.names(kind)
        if name not in COMMON
    )
    return tuple(
        Spec(
            name.replace("_", " ").capitalize(),
            "",
            (Series("train", name, faint=True), Series("held_out", name, dots=True)),
        )
        for name in names
        if not all(_is_loss(history, name) for history in histories)
    )


def _is_loss(history: History, name: str) -> bool:
    """Whether a part says what the loss says: masked LM has no other."""
    parts, losses = history.points("train", name), history.points("train", "loss")
    return np.array_equal(parts.values, losses.values) or not len(parts)


class Curves:
    """Draws charts of some runs; lines of one run have one colour in all of them."""

    def __init__(self, histories: Sequence[History], paths: Sequence[Path]) -> None:
        self._histories = histories
        self._along: list[dict[str, np.ndarray | None]] = []
        self._steps: list[np.ndarray] = []
        for history, path in zip(histories, paths, strict=True):
            steps = np.array(sorted({record["step"] for records in history.records.values() for record in records}))
            self._steps.append(steps)
            along = {axis: history.along(axis, steps) for axis in AXES[:-1]}
            self._along.append({**along, "flops": flops_at(history, path, steps)})
        self._count = 0

    def total(self, run: int, axis: str) -> float | None:
        """Of the whole run."""
        along = self._along[run][axis]
        return None if along is None or not len(along) or not np.isfinite(along[-1]) else float(along[-1])

    def _x(self, run: int, axis: str, steps: np.ndarray) -> np.ndarray:
        along = self._along[run][axis]
        if along is None:
            return np.full(len(steps), np.nan)
        return along[np.searchsorted(self._steps[run], steps)]

    def draw(self, spec: Spec) -> Drawn | None:
        """None where no run has a number of it."""
        found: list[tuple[int, Series, Points]] = []
        for run, history in enumerate(self._histories):
            for series in spec.series:
                points = history.points(series.kind, series.name)
                if len(points) or points.lost:
                    found.append((run, series, points))
        if not found:
            return None
        self._count += 1
        beside = any(not series.faint for _, series, _ in found)
        by_axis = {}
        for axis in AXES:
            lines = [
                Line(run, self._x(run, axis, points.steps), points.values, series.faint and beside, series.dots)
                for run, series, points in found
            ]
            marks = [
                (run, float(x))
                for run, history in enumerate(self._histories)
                for x in self._x(run, axis, np.array([record["step"] for record in history.of("growth")], dtype=float))
            ]
            name = f"k{self._count}-{axis}"
            by_axis[axis] = chart(name, spec.title, lines, AXIS_LABELS[axis], marks, spec.log)
        return Drawn(spec.title, spec.about, by_axis, sum(points.lost for _, _, points in found))
