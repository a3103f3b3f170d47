"""The training loop: steps, held-out losses, checkpoints, and what stops it."""

import math
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Any

import torch

from trainer.config import TrainConfig
from trainer.data.batch import Batch
from trainer.data.stream import StreamState
from trainer.log import RunLog
from trainer.optim import (
    build_optimizer,
    clip_gradients,
    run_progress,
    scale_gradients,
    schedule_factor,
    set_learning_rate,
)
from trainer.precision import Precision, autocast
from trainer.progress import ProgressLine, describe
from trainer.tasks.masked_lm import MaskedLM

RATE_STEPS = 50
"""Steps that the shown tokens/s is averaged over."""


class DivergedError(RuntimeError):
    """Loss or gradient is not finite. The message names the batch."""


@dataclass(frozen=True)
class StepResult:
    loss: float
    """Mean over the step's targets, nats."""
    gradient_norm: float
    """L2 norm of all gradients before clipping."""
    learning_rate: float
    tokens: int
    targets: int


class Trainer:
    """Model, optimiser and counters of a run; takes one optimiser step at a time."""

    def __init__(self, model: MaskedLM, config: TrainConfig, device: torch.device, precision: Precision) -> None:
        self.model = model
        self.forward: Callable[[Batch], Any] = model
        self.config = config
        self.device = device
        self.precision = precision
        self.optimizer = build_optimizer(model, config.optimizer)
        self.step = 0
        self.tokens = 0
        self.targets = 0
        self.seconds = 0.0
        """Training seconds: steps and their data."""

    @property
    def progress(self) -> float:
        """Share of the run that is done."""
        schedule = self.config.schedule
        return min(1.0, self.step / schedule.steps if schedule.by == "steps" else self.seconds / schedule.seconds)

    def take_step(self, batches: Sequence[Batch]) -> StepResult:
        """One update from the micro-batches of a step.

        Every target weighs the same, so micro-batches give the gradient of the whole batch.
        Raises DivergedError before the weights are touched.
        """
        schedule = self.config.schedule
        rate = self.config.optimizer.learning_rate * schedule_factor(
            schedule, run_progress(schedule, self.step, self.seconds)
        )
        self.model.train()
        self.optimizer.zero_grad(set_to_none=True)
        loss_sum, targets, tokens = torch.zeros((), device=self.device), 0, 0
        for batch in batches:
            batch = batch.to(self.device)
            with autocast(self.device, self.precision):
                output = self.forward(batch)
            weighted = output.loss if len(batches) == 1 else output.loss * output.targets
            weighted.backward()
            loss_sum += output.loss.detach() * output.targets
            targets += output.targets
            tokens += batch.token_count
        parameters = list(self.model.parameters())
        if len(batches) > 1:
            scale_gradients(parameters, 1 / max(targets, 1))
        norm = float(clip_gradients(parameters, self.config.optimizer.clip_norm))
        loss = float(loss_sum) / max(targets, 1)
        if not (math.isfinite(loss) and math.isfinite(norm)):
            place = "; ".join(batch.describe() for batch in batches)
            raise DivergedError(
                f"step {self.step + 1}: loss {loss}, gradient norm {norm} at {place}; "
                "lower optimizer.learning_rate or look at these rows; the last checkpoint is kept"
            )
        set_learning_rate(self.optimizer, rate)
        self.optimizer.step()
        self.step += 1
        self.tokens += tokens
        self.targets += targets
        return StepResult(loss, norm, rate, tokens, targets)


class StopRequest:
    """While active, SIGTERM and SIGINT only set `requested`; a second SIGINT interrupts at once."""

    def __init__(self) -> None:
        self.requested = False
        self._previous: dict[int, Any] = {}

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.requested = True

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
    """Tokens per second over the last steps."""

    def __init__(self) -> None:
        self._steps: deque[tuple[int, float]] = deque(maxlen=RATE_STEPS)

    def add(self, tokens: int, seconds: float) -> None:
        self._steps.append((tokens, seconds))

    @property
    def tokens_per_second(self) -> float:
        return sum(t for t, _ in self._steps) / max(sum(s for _, s in self._steps), 1e-9)

    @property
    def step_seconds(self) -> float:
        return sum(s for _, s in self._steps) / max(len(self._steps), 1)


@dataclass(frozen=True)
class Hooks:
    """What the loop calls on its way."""

    evaluate: Callable[[], float]
    """Held-out loss of the model as it stands."""
    save: Callable[[StreamState], None]
    """Writes a checkpoint that goes on at this place of the stream."""
    log: RunLog
    line: ProgressLine
    stop: StopRequest
    mfu: Callable[[float], float]
    """Tokens per second -> share of the machine's measured matmul rate."""


def time_left(trainer: Trainer, meter: RateMeter) -> float:
    """Training seconds to the end of the run."""
    schedule = trainer.config.schedule
    if schedule.by == "seconds":
        return schedule.seconds - trainer.seconds
    return (schedule.steps - trainer.step) * meter.step_seconds


def fit(
    trainer: Trainer, batches: Iterator[tuple[Batch, StreamState]], place: StreamState, hooks: Hooks
) -> float | None:
    """Trains from where `trainer` and `place` stand to the end of the schedule.

    Returns the held-out loss at the end, or None where a signal stopped the run (a checkpoint is saved then).
    Raises DivergedError; the last good checkpoint is left as it is.
    """
    config = trainer.config
    saved = held_out_step = -1
    held_out = math.nan
    meter = RateMeter()
    while trainer.progress < 1:
        if hooks.stop.requested:
            hooks.save(place)
            return None
        start = time.perf_counter()
        parts = [next(batches) for _ in range(config.system.accumulate)]
        result = trainer.take_step([batch for batch, _ in parts])
        seconds = time.perf_counter() - start
        place = parts[-1][1]
        trainer.seconds += seconds
        meter.add(result.tokens, seconds)

        rate = meter.tokens_per_second
        left = time_left(trainer, meter)
        hooks.line.update(trainer.progress, describe(trainer.step, result.loss, rate, hooks.mfu(rate), left))
        if trainer.step % config.system.log_every == 0:
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
            )
        if trainer.step % config.evaluate.every_steps == 0:
            held_out, held_out_step = hooks.evaluate(), trainer.step
        if trainer.step % config.checkpoint.every_steps == 0:
            hooks.save(place)
            saved = trainer.step
    if held_out_step != trainer.step:
        held_out = hooks.evaluate()
    if saved != trainer.step:
        hooks.save(place)
    return held_out
