"""The training loop: steps, held-out losses, checkpoints, and what stops it."""

import gc
import hashlib
import math
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

import torch

from trainer.averages import Averages
from trainer.config import TrainConfig
from trainer.data.batch import Batch
from trainer.data.stream import StreamState
from trainer.distributed import World, without_sync
from trainer.growth import Growth
from trainer.guard import DivergedError, Guard
from trainer.heap import keep_memory
from trainer.log import RunLog, SilentLog
from trainer.method import Method
from trainer.notes import NoteTaker
from trainer.optim import (
    build_optimizers,
    clip_gradients,
    rows_at,
    run_progress,
    schedule_factor,
    set_learning_rate,
)
from trainer.parts import PartSums
from trainer.precision import DTYPES, Precision, autocast
from trainer.progress import ProgressLine, describe
from trainer.tasks.task import Task

__all__ = ["DivergedError", "Hooks", "StepResult", "StopRequest", "Trainer", "fit"]

RATE_STEPS = 50
"""Steps that the shown tokens/s is averaged over."""
FREEZE_STEPS = 20
"""Steps after which what lives is taken to live on: the garbage collector no longer walks over it."""


@dataclass(frozen=True)
class StepResult:
    """Numbers of one step, over all processes."""

    loss: float
    """Mean over the step's targets, nats."""
    gradient_norm: float
    """L2 norm of all gradients before clipping."""
    learning_rate: float
    tokens: int
    targets: int
    skipped: str | None = None
    """Why the weights were left alone, with the batch; None where they were updated."""
    parts: dict[str, float] = field(default_factory=dict)
    """Means of the task's parts, over all processes."""


class Trainer:
    """Model, optimisers and counters of a run; takes one optimiser step at a time."""

    def __init__(
        self,
        model: Task,
        config: TrainConfig,
        device: torch.device,
        precision: Precision,
        world: World | None = None,
    ) -> None:
        if device.type == "cpu":
            keep_memory()
        self.config = config
        self.device = device
        self.precision = precision
        self.world = world or World()
        self.warm: Callable[[], None] | None = None
        """Fills the notes from the corpus's windows, at the steps that the config names."""
        shape = model.encoder.config
        self.growth = Growth(config.growth, shape.layers, config.encoder(shape.vocabulary_size).layers)
        self.methods: dict[str, Method] = {"growth": self.growth}
        """Told of every step and saved with every checkpoint."""
        self.adopt(model)
        self.guard = Guard(config.guard)
        self.step = 0
        self.tokens = 0
        self.targets = 0
        self.seconds = 0.0
        """Training seconds: steps and their data."""
        self._draws = model.config.dropout > 0

    def adopt(self, model: Task) -> None:
        """Trains this model from now on, with fresh optimisers and averages; counters and methods' states go on."""
        self.model = model
        self.forward: Callable[[Batch], Any] = model
        self.optimizers = build_optimizers(model, self.config.optimizer, DTYPES[self.precision])
        self.averages = Averages(model, self.config.optimizer.ema) if self.config.optimizer.ema else None
        notes = model.encoder.notes
        self.notes = None if notes is None else NoteTaker(notes, self.config.notes.gamma, self.world)
        methods = model.methods()
        for name in methods.keys() & self.methods.keys():
            methods[name].load(self.methods[name].state())
        self.methods = {**methods, "growth": self.growth}

    @property
    def progress(self) -> float:
        """Share of the run that is done."""
        schedule = self.config.schedule
        if schedule.by == "steps":
            return min(1.0, self.step / schedule.steps)
        return min(1.0, run_progress(schedule, self.step, self.seconds, self.tokens))

    @property
    def micro_batches(self) -> int:
        """Of the next step: fewer on a batch ramp."""
        rows = rows_at(self.config.schedule, self.progress, self.config.data.batch_rows)
        return rows // self.config.micro_rows

    def _seed_dropout(self) -> None:
        """Draws depend on (seed, step, rank) alone: a resumed run needs no generator's state, on any world size."""
        address = f"{self.config.system.seed} {self.step} {self.world.rank}".encode()
        torch.manual_seed(int.from_bytes(hashlib.blake2b(address, digest_size=4).digest(), "little"))

    def take_step(self, batches: Sequence[Batch]) -> StepResult:
        """One update from the micro-batches of a step.

        Every prediction of a term of the loss weighs the same, so micro-batches and processes give the gradient of the
        whole batch.
        A step that the guard refuses counts, but leaves weights and optimisers as they are.
        """
        schedule, world = self.config.schedule, self.world
        factor = schedule_factor(schedule, run_progress(schedule, self.step, self.seconds, self.tokens))
        factor *= self.growth.factor(self.step)
        rate = self.config.optimizer.learning_rate * factor
        if self.warm is not None and self.step in self.config.notes.warm_steps:
            self.warm()
        self.model.train()
        if self._draws:
            self._seed_dropout()
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
        batches = [self.model.prepare(batch) for batch in batches]
        counts = zip(*(self.model.counts(batch) for batch in batches), strict=True)
        sums = [*map(sum, counts), sum(len(b.target_M) for b in batches), sum(b.token_count for b in batches)]
        *totals, targets, tokens = map(int, world.sum(sums))
        parts, noted = PartSums(), []
        for number, batch in enumerate(batches, 1):
            batch = batch.to(self.device, non_blocking=True)
            with without_sync(self.forward, self.model, number == len(batches)):
                with autocast(self.device, self.precision):
                    output = self.forward(batch)
                # The processes' gradients are averaged, hence `size`.
                terms = zip(output.summands, totals, strict=True)
                sum(term.mean * (term.count * world.size / max(total, 1)) for term, total in terms).backward()
            parts.add(output)
            noted.append((batch, output.notes_ND))
        norm = float(clip_gradients(self.model.parameters(), self.config.optimizer.clip_norm))
        loss, means = parts.read(world.sum(parts.numbers()), totals)
        skipped = self.guard.judge(loss, norm)
        if skipped is None:
            for optimizer in self.optimizers:
                set_learning_rate(optimizer, rate, factor)
                optimizer.step()
            if self.notes is not None:
                self.notes.update(noted)
        else:
            place = "; ".join(batch.describe() for batch in batches)
            skipped = f"step {self.step + 1}: {skipped} at {place}"
        self.step += 1
        self.tokens += tokens
        self.targets += targets
        self.growth.count(tokens)
        if skipped is None:
            if self.averages is not None:
                self.averages.update(self.step)
            for method in self.methods.values():
                method.observe(self.step, means)
        return StepResult(loss, norm, rate, tokens, targets, skipped, means)


class StopRequest:
    """While active, SIGTERM and SIGINT only set `requested`; a second SIGINT interrupts at once."""

    def __init__(self) -> None:
        self.requested = False
        self.interrupted = False
        """By SIGINT: whoever started the run is at the keyboard, and what was to follow must not."""
        self._previous: dict[int, Any] = {}

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.requested, self.interrupted = True, number == signal.SIGINT

    def __enter__(self) -> "StopRequest":
        # Python lets the main thread alone set handlers; elsewhere signals are the caller's affair.
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)


class RateMeter:
    """Tokens per second over the last steps, and the share of their time that went into waiting for data."""

    def __init__(self) -> None:
        self._steps: deque[tuple[int, float, float]] = deque(maxlen=RATE_STEPS)

    def add(self, tokens: int, seconds: float, waited: float = 0.0) -> None:
        self._steps.append((tokens, seconds, waited))

    def _sum(self, column: int) -> float:
        return sum(step[column] for step in self._steps)

    @property
    def tokens_per_second(self) -> float:
        return self._sum(0) / max(self._sum(1), 1e-9)

    @property
    def step_seconds(self) -> float:
        return self._sum(1) / max(len(self._steps), 1)

    @property
    def data_wait(self) -> float:
        """Share of the step's time."""
        return self._sum(2) / max(self._sum(1), 1e-9)


@dataclass(frozen=True)
class Hooks:
    """What the loop calls on its way."""

    evaluate: Callable[[], float]
    """Held-out loss of the model as it stands."""
    save: Callable[[StreamState, float | None, bool], None]
    """(place of the stream, held-out loss of this step where known, whether to wait until it is written)."""
    grow: Callable[[int, float | None], None]
    """(layers, held-out loss of this step where known): the trainer goes on with a deeper model."""
    roll_back: Callable[[str], None]
    """Weights, optimisers and counters of the last checkpoint; raises DivergedError with the reason where it cannot."""
    log: RunLog | SilentLog
    line: ProgressLine
    stop: StopRequest
    mfu: Callable[[float], float]
    """Tokens per second -> share of the machine's measured matmul rate."""


def time_left(trainer: Trainer, meter: RateMeter) -> float:
    """Training seconds to the end of the run."""
    schedule = trainer.config.schedule
    if schedule.by == "seconds":
        return schedule.seconds - trainer.seconds
    if schedule.by == "tokens":
        return (schedule.tokens - trainer.tokens) / max(meter.tokens_per_second, 1e-9)
    return (schedule.steps - trainer.step) * meter.step_seconds


def fit(
    trainer: Trainer, batches: Iterator[tuple[Batch, StreamState]], place: StreamState, hooks: Hooks
) -> float | None:
    """Trains from where `trainer` and `place` stand to the end of the schedule.

    Returns the held-out loss at the end, or None where a signal stopped the run (a checkpoint is saved then).
    Raises DivergedError; the last good checkpoint is left as it is.
    """
    try:
        return _fit(trainer, batches, place, hooks)
    finally:
        gc.unfreeze()


def _fit(
    trainer: Trainer, batches: Iterator[tuple[Batch, StreamState]], place: StreamState, hooks: Hooks
) -> float | None:
    config, world = trainer.config, trainer.world
    saved = held_out_step = -1
    held_out = math.nan
    meter = RateMeter()
    stop, taken = bool(world.sum([hooks.stop.requested])[0]), 0
    while trainer.progress < 1:
        if stop:
            hooks.save(place, None, True)
            return None
        if (layers := trainer.growth.wanted(trainer.progress)) > trainer.growth.layers:
            gc.unfreeze()
            hooks.grow(layers, held_out if held_out_step == trainer.step else None)
            meter, taken = RateMeter(), 0
        start = time.perf_counter()
        parts = [next(batches) for _ in range(trainer.micro_batches)]
        waited = time.perf_counter() - start
        result = trainer.take_step([batch for batch, _ in parts])
        seconds = time.perf_counter() - start
        place = parts[-1][1]
        if world.size > 1:
            # Rank 0's clock and any process's signal, so that all of them do the same.
            seconds, requested = world.sum([seconds if world.main else 0.0, hooks.stop.requested])
            stop = requested > 0
        else:
            stop = hooks.stop.requested
        trainer.seconds += seconds
        trainer.growth.spent[-1].seconds += seconds
        meter.add(result.tokens, seconds, waited)
        taken += 1
        if taken == FREEZE_STEPS:
            gc.collect()
            gc.freeze()

        rate = meter.tokens_per_second
        if result.skipped:
            hooks.line.note(f"skipped {result.skipped}")
            hooks.log.write("skipped", trainer.step, total=trainer.guard.skipped)
            if trainer.guard.out_of_patience:
                hooks.roll_back(result.skipped)
                saved = held_out_step = -1
                continue
        else:
            left = time_left(trainer, meter)
            shown = {name: result.parts[name] for name in trainer.model.shown if name in result.parts}
            text = describe(trainer.step, result.loss, rate, hooks.mfu(rate), left, shown)
            numbers = {"step": trainer.step, "loss": result.loss, "tokens_per_second": rate, "mfu": hooks.mfu(rate)}
            hooks.line.update(trainer.progress, text, left=left, **numbers)
        if trainer.step % config.system.log_every == 0 and not result.skipped:
            hooks.log.write(
                "train",
                trainer.step,
                loss=result.loss,
                learning_rate=result.learning_rate,
                gradient_norm=result.gradient_norm,
                tokens=trainer.tokens,
                seconds=trainer.seconds,
                tokens_per_second=rate,
                mfu=hooks.mfu(rate),
                data_wait=meter.data_wait,
                **result.parts,
            )
        if trainer.step % config.evaluate.every_steps == 0 or trainer.growth.probes:
            held_out, held_out_step = hooks.evaluate(), trainer.step
        if trainer.step % config.checkpoint.every_steps == 0 and not trainer.guard.in_a_row and trainer.progress < 1:
            hooks.save(place, held_out if held_out_step == trainer.step else None, False)
            saved = trainer.step
    if held_out_step != trainer.step:
        held_out = hooks.evaluate()
    if saved != trainer.step:
        hooks.save(place, held_out, True)
    return held_out
