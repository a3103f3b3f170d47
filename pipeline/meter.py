"""How far a running stage is: what its jobs were to make, and which of it is there.

Workers on any runner tell of their work by the sidecars of finished parts alone, so the driver looks for these.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from pipeline.io import filesystem


@dataclass(frozen=True)
class Reading:
    """What a meter shows at one moment."""

    stage: str
    step: str = ""
    """Part of the stage that is running, where it has several."""
    share: float | None = None
    """Of the step, 0 to 1; None where it cannot be told."""
    done: int = 0
    total: int = 0
    unit: str = ""
    rate: float = 0.0
    """Per second: MB where `rate_unit` says so, else of `unit`."""
    rate_unit: str = ""
    seconds: float = 0.0
    """Since the stage began."""
    left: float | None = None
    """Seconds to the end of the step, if it goes on at the same pace."""


@dataclass
class _Step:
    directory: str
    weights: Mapping[str, int]
    """Sidecar that is missing -> weight of its part."""
    before: Mapping[str, str]
    done: set[str] = field(default_factory=set)

    def look(self) -> None:
        if len(self.done) < len(self.weights):
            there = filesystem.stamps(self.directory)
            self.done = {name for name in self.weights if name in there and there[name] != self.before.get(name)}

    @property
    def weight(self) -> int:
        return sum(self.weights[name] for name in self.done)


class Meter:
    """Of one stage. Written by the driver, read by the thread that shows it."""

    def __init__(self, stage: str, in_bytes: bool = False) -> None:
        self.stage = stage
        self._in_bytes = in_bytes
        """Whether weights of parts are bytes."""
        self._steps: list[_Step] = []
        self._step = ""
        self._began = self._step_began = time.monotonic()
        self._told: tuple[float, int, int, str] | None = None
        self.finished_parts = 0

    def expect(self, step: str, directory: str, weights: Mapping[str, int]) -> None:
        """A job will write the sidecars that are the keys of `weights` into `directory`."""
        weighed = {name: weight or 1 for name, weight in weights.items()}
        if not self._steps:
            self._step_began = time.monotonic()
        self._steps.append(_Step(directory, weighed, filesystem.stamps(directory)))
        self._step = step.removeprefix(self.stage).strip("/")

    def begin_job(self, name: str) -> None:
        self._step = name.removeprefix(self.stage).strip("/")
        self._step_began = time.monotonic()

    def end_job(self) -> None:
        for step in self._steps:
            step.look()
            self.finished_parts += len(step.done)
        self._steps, self._step = [], ""

    def tell(self, done: int, total: int, unit: str) -> None:
        """For work without parts: what is done of it."""
        self._told = done / max(total, 1), done, total, unit

    def read(self) -> Reading:
        now = time.monotonic()
        steps, seconds, elapsed = list(self._steps), now - self._began, now - self._step_began
        if steps:
            for step in steps:
                step.look()
            done, total = sum(len(step.done) for step in steps), sum(len(step.weights) for step in steps)
            weight, whole = sum(step.weight for step in steps), sum(sum(step.weights.values()) for step in steps)
            share, unit = weight / whole if whole else 1.0, "parts"
        elif self._told is not None:
            share, done, total, unit = self._told
            weight = done
        else:
            return Reading(self.stage, self._step, seconds=seconds)
        in_bytes = self._in_bytes and bool(steps)
        rate = (weight / 1e6 if in_bytes else done) / max(elapsed, 1e-9)
        left = elapsed * (1 - share) / share if share > 0 else None
        return Reading(
            self.stage, self._step, share, done, total, unit, rate, "MB/s" if in_bytes else f"{unit}/s", seconds, left
        )


_current: ContextVar[Meter | None] = ContextVar("meter of the running stage", default=None)


def current_meter() -> Meter | None:
    """That of the stage that the caller works for, if anything shows one."""
    return _current.get()


def tell(done: int, total: int, unit: str) -> None:
    """To the meter of the running stage, if there is one."""
    if (meter := _current.get()) is not None:
        meter.tell(done, total, unit)


@contextmanager
def metered(meter: Meter) -> Iterator[Meter]:
    token = _current.set(meter)
    try:
        yield meter
    finally:
        _current.reset(token)


@contextmanager
def metered_job(name: str) -> Iterator[None]:
    """Around one Beam job of the stage."""
    meter = _current.get()
    if meter is None:
        yield
        return
    meter.begin_job(name)
    try:
        yield
    finally:
        meter.end_job()
