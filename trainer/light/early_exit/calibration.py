"""What each speed costs and saves on held-out texts, and the speed that a wish leads to.

Shape suffixes: N texts, E exits and last the fine-tuned head, K classes.
"""

import platform
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from trainer import metrics
from trainer.config import ConfigError
from trainer.finetune.examples import Example, collate
from trainer.finetune.note_finder import NoteFinder
from trainer.light.early_exit.branch import uncertainty
from trainer.light.early_exit.flops import text_flops
from trainer.light.early_exit.model import EarlyExitClassifier, ExitsConfig

SPEEDS = (0.0, 0.001, 0.002, 0.005, *(k / 100 for k in range(1, 101)))
TIMED_SPEEDS = tuple(k / 10 for k in range(11))
ROUNDS = 5
AGREEMENT = "agreement"
"""The metric of texts without labels: share of the fine-tuned head's own labels."""


class Point(BaseModel):
    """One speed."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    speed: float = Field(ge=0, le=1)
    score: float
    layers: float
    """Mean over the texts."""
    flops: float
    """Share of the whole model's operations."""
    leaving: list[int]
    """Texts that leave at each exit, and last those that never do."""
    milliseconds: dict[int, float] = {}
    """Of a batch, by its texts."""


class Calibration(BaseModel):
    """Of one file, on one machine."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    file: str
    """sha256 of the held-out texts."""
    examples: int
    metric: str
    full: float
    """Score of the whole model."""
    machine: str
    threads: int
    points: list[Point]

    def at(self, speed: float) -> Point:
        """The nearest point that is not faster."""
        return max((point for point in self.points if point.speed <= speed), key=lambda point: point.speed)

    def losing(self, points: float) -> float:
        """The speed of least work that loses at most so many points (hundredths of the score); of equals the lowest."""
        kept = [point for point in self.points if 100 * (self.full - point.score) <= points + 1e-9]
        return min(kept, key=lambda point: (point.flops, point.speed)).speed if kept else 0.0

    def within(self, milliseconds: float, batch: int) -> float:
        """The lowest speed whose measured time of a batch is at most `milliseconds`. Raises ConfigError."""
        timed = [point for point in self.points if batch in point.milliseconds]
        if not timed:
            measured = sorted({size for point in self.points for size in point.milliseconds})
            told = f"measured were batches of {', '.join(map(str, measured))}" if measured else "none was measured"
            raise ConfigError(f"--latency: no time of batches of {batch} is known; {told}; `calibrate` measures")
        fast = [point.speed for point in timed if point.milliseconds[batch] <= milliseconds]
        if not fast:
            least = min(timed, key=lambda point: point.milliseconds[batch])
            raise ConfigError(
                f"--latency {milliseconds:g}: the fastest, a batch of {batch} at speed {least.speed:g}, took "
                f"{least.milliseconds[batch]:.3g} ms; ask for more, or use a smaller model"
            )
        return min(fast)


def machine() -> str:
    """The processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def leaving(logits_NEK: Tensor, top: int | None, speed: float) -> NDArray[np.int64]:
    """Place in E where each text leaves at this speed."""
    unsure_NE = uncertainty(logits_NEK.flatten(0, 1), top).view(logits_NEK.shape[:2])[:, :-1].numpy()
    sure_NE = np.concatenate([unsure_NE < speed, np.ones((len(unsure_NE), 1), dtype=bool)], 1)
    return sure_NE.argmax(1)


def score(metric: str, truth: NDArray[np.int64], guess: NDArray[np.int64], classes: int) -> float:
    if metric in ("accuracy", AGREEMENT):
        return metrics.accuracy(truth, guess)
    return getattr(metrics, metric)(truth, guess, classes)


def points_of(
    model: EarlyExitClassifier, exits: ExitsConfig, logits_NEK: Tensor, examples: Sequence[Example], metric: str,
    speeds: Sequence[float],
) -> tuple[float, list[Point]]:  # fmt: skip
    """(score of the whole model, a point for each speed) from what every exit says of every text."""
    config, classes = model.encoder.config, logits_NEK.shape[-1]
    guesses_NE = logits_NEK.argmax(-1).numpy()
    whole = guesses_NE[:, -1]
    truth = whole if metric == AGREEMENT else np.array([e.labels[0] for e in examples], dtype=np.int64)
    layers_E = np.array([*model.exits, config.layers])
    lengths = np.array([len(example.ids) for example in examples])
    costs = {length: _costs(config.layers, model, exits, classes, length) for length in set(lengths.tolist())}
    found = []
    for speed in speeds:
        at_N = leaving(logits_NEK, model.top_classes, speed)
        guess = guesses_NE[np.arange(len(at_N)), at_N]
        asked = [costs[length][0][at] if speed else costs[length][1] for length, at in zip(lengths, at_N, strict=True)]
        found.append(
            Point(
                speed=speed,
                score=score(metric, truth, guess, classes),
                layers=float(layers_E[at_N].mean()),
                flops=sum(asked) / sum(costs[length][1] for length in lengths),
                leaving=np.bincount(at_N, minlength=len(layers_E)).tolist(),
            )
        )
    return score(metric, truth, whole, classes), found


def _costs(
    layers: int, model: EarlyExitClassifier, exits: ExitsConfig, classes: int, length: int
) -> tuple[list[int], int]:
    config = model.encoder.config
    each = [text_flops(config, classes, exits, length, number) for number in (*exits.exits, layers)]
    return each, text_flops(config, classes, None, length, layers)


def time_speeds(
    model: EarlyExitClassifier, examples: Sequence[Example], finder: NoteFinder | None, speeds: Sequence[float],
    batches: Sequence[int], seconds: float,
) -> dict[float, dict[int, float]]:  # fmt: skip
    """speed -> batch size -> milliseconds of a batch, from pieces to answers on the model's device, waited for.

    Batches are of texts in the file's order, the same ones for every speed; speeds take turns, and the median of
    ROUNDS turns counts. `seconds` is about what it takes.
    """
    found: dict[float, dict[int, float]] = {speed: {} for speed in speeds}
    for size in batches:
        # Every batch is full: of a file that is too short the first texts come again.
        count = max(len(examples) // size, 1)
        sets = [[number % len(examples) for number in range(k * size, (k + 1) * size)] for k in range(count)]
        _pass(model, examples, finder, sets[:1], 0.0)
        once = _pass(model, examples, finder, sets[:3], 0.0)
        sets = sets[: max(2, int(seconds / len(batches) / (once * len(speeds) * (ROUNDS + 1))))]
        taken: dict[float, list[float]] = {speed: [] for speed in speeds}
        for turn in range(ROUNDS + 1):
            for speed in speeds:
                needed = _pass(model, examples, finder, sets, speed)
                if turn:
                    taken[speed].append(needed)
        for speed in speeds:
            found[speed][size] = 1e3 * median(taken[speed])
    return found


def _pass(
    model: EarlyExitClassifier, examples: Sequence[Example], finder: NoteFinder | None, sets: list[list[int]],
    speed: float,
) -> float:  # fmt: skip
    """Seconds of a batch, on average."""
    device, longest = next(model.parameters()).device, model.encoder.config.max_length
    start = time.perf_counter()
    for numbers in sets:
        model.answer(collate(examples, numbers, longest, finder).to(device), speed).logits_BK.cpu()
    return (time.perf_counter() - start) / len(sets)


def calibrate(
    model: EarlyExitClassifier, exits: ExitsConfig, logits_NEK: Tensor, examples: Sequence[Example], metric: str,
    digest: str, finder: NoteFinder | None = None, batches: Sequence[int] = (), seconds: float = 0.0,
    more: Sequence[float] = (),
) -> Calibration:  # fmt: skip
    """All of SPEEDS and `more` are scored; TIMED_SPEEDS and `more` are timed where `seconds` are given."""
    full, points = points_of(model, exits, logits_NEK, examples, metric, sorted({*SPEEDS, *more}))
    if seconds and batches:
        timed = time_speeds(model, examples, finder, sorted({*TIMED_SPEEDS, *more}), batches, seconds)
        points = [p.model_copy(update={"milliseconds": timed.get(p.speed, {})}) for p in points]
    return Calibration(
        file=digest, examples=len(examples), metric=metric, full=full, machine=machine(),
        threads=torch.get_num_threads(), points=points,
    )  # fmt: skip
