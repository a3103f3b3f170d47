"""What a long command shows while it works, and what it cost: share done, rate, time left, peak memory."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import orjson
import psutil
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from pipeline.meter import Meter, Reading, metered

INTERVAL = 0.25
"""Seconds between looks at memory and finished parts; where a look takes long, ten times as long as it took."""
PLAIN_SECONDS = 10.0
MODES = ("auto", "plain", "json", "none")


@dataclass
class Cost:
    """What a stage took."""

    seconds: float = 0.0
    peak_mb: float = 0.0
    """Resident memory of the driver and all its workers together, at its highest."""


def _resident_mb(process: psutil.Process) -> float:
    total = 0
    for one in [process, *process.children(recursive=True)]:
        try:
            total += one.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total / 2**20


def clock(seconds: float) -> str:
    """'1:02:03', or '2:03' below an hour."""
    minutes, rest = divmod(int(max(seconds, 0) + 0.5), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def described(reading: Reading) -> str:
    """Of a reading all but its stage: '42 %  17 of 40 parts  12.3 MB/s  0:35 left'."""
    if reading.share is None:
        return f"{reading.step}  {clock(reading.seconds)}".strip()
    words = [f"{reading.share:4.0%}", f"{reading.done:,} of {reading.total:,} {reading.unit}"]
    if reading.done:
        words.append(f"{reading.rate:,.1f} {reading.rate_unit}")
    if reading.left is not None:
        words.append(f"{clock(reading.left)} left")
    return "  ".join([reading.step, *words] if reading.step else words)


class _Display(Protocol):
    def say(self, text: str) -> None: ...
    def begin(self, stage: str) -> None: ...
    def show(self, meter: Meter) -> None: ...
    def end(self) -> None: ...


class _Nothing:
    def say(self, text: str) -> None: ...
    def begin(self, stage: str) -> None: ...
    def show(self, meter: Meter) -> None: ...
    def end(self) -> None: ...


class _Lines:
    """One line per interval, for logs."""

    def __init__(self, console: Console, seconds: float) -> None:
        self._console, self._seconds = console, seconds
        self._last = 0.0

    def say(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def begin(self, stage: str) -> None:
        self._last = time.monotonic()

    def show(self, meter: Meter) -> None:
        if time.monotonic() - self._last >= self._seconds:
            self._last = time.monotonic()
            reading = meter.read()
            self.say(f"{reading.stage:<12} {described(reading)}")

    def end(self) -> None: ...


class _Json:
    """One JSON object per interval and per message."""

    def __init__(self, console: Console, seconds: float) -> None:
        self._file, self._seconds = console.file, seconds
        self._last = 0.0

    def write(self, event: str, **values: Any) -> None:
        self._file.write(orjson.dumps({"event": event, **values}).decode() + "\n")
        self._file.flush()

    def say(self, text: str) -> None:
        self.write("note", text=text)

    def begin(self, stage: str) -> None:
        self._last = time.monotonic()
        self.write("begin", stage=stage)

    def show(self, meter: Meter) -> None:
        if time.monotonic() - self._last >= self._seconds:
            self._last = time.monotonic()
            self.write("progress", **asdict(meter.read()))

    def end(self) -> None: ...


class _Bar:
    """A bar on a terminal, gone when the stage ends."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar: Progress | None = None

    def say(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def begin(self, stage: str) -> None:
        columns = (TextColumn("{task.description:<12}", markup=False), BarColumn(24), TextColumn("{task.fields[told]}"))
        self._bar = Progress(*columns, console=self._console, transient=True)
        self._task = self._bar.add_task(stage, total=None, told="")
        self._bar.start()

    def show(self, meter: Meter) -> None:
        if self._bar is not None:
            reading = meter.read()
            total = None if reading.share is None else 1.0
            self._bar.update(self._task, total=total, completed=reading.share or 0.0, told=described(reading))

    def end(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def _display(mode: str, console: Console, seconds: float) -> _Display:
    if mode == "none":
        return _Nothing()
    if mode == "json":
        return _Json(console, seconds)
    return _Bar(console) if mode == "auto" and console.is_terminal else _Lines(console, seconds)


class StageProgress:
    """Shows stages one after another on stderr: a bar on a terminal, plain lines elsewhere, or as `mode` says.

    mode: one of MODES; seconds: between two lines of the modes plain and json.
    """

    def __init__(
        self,
        console: Console | None = None,
        quiet: bool = False,
        mode: str = "auto",
        seconds: float = PLAIN_SECONDS,
    ) -> None:
        self.console = console or Console(stderr=True)
        self._display = _display("none" if quiet else mode, self.console, seconds)
        self.finished: list[str] = []
        """Stages that ended, in this command or before it."""
        self.meter: Meter | None = None
        """Of the stage that is running, or that an error ended."""

    def say(self, text: str) -> None:
        self._display.say(text)

    def ended(self, stage: str, cost: Cost | None, input_bytes: int = 0) -> None:
        """Tells what a stage took; None: it had ended before this command."""
        self.finished.append(stage)
        self.meter = None
        if isinstance(self._display, _Json):
            if cost is None:
                self._display.write("end", stage=stage, finished_before=True)
        elif cost is None:
            self.say(f"{stage:<12} finished before")
        else:
            rate = input_bytes / 1e6 / max(cost.seconds, 1e-9)
            self.say(f"{stage:<12} {cost.seconds:8.1f} s  {rate:8.2f} MB/s  peak {cost.peak_mb:,.0f} MB")

    @contextmanager
    def stage(self, name: str, in_bytes: bool = False) -> Iterator[Cost]:
        """Shows the stage until the block ends; fills in its cost. `in_bytes`: weights of its parts are bytes.

        Inside it `current_meter()` is what work without parts tells how far it is.
        """
        cost, meter, stop = Cost(), Meter(name, in_bytes), threading.Event()
        self.meter = meter
        started = time.perf_counter()

        def watch() -> None:
            process = psutil.Process()
            while True:
                looked = time.monotonic()
                cost.peak_mb = max(cost.peak_mb, _resident_mb(process))
                with suppress(OSError):  # a store that does not answer is the stage's affair
                    self._display.show(meter)
                if stop.wait(max(INTERVAL, 10 * (time.monotonic() - looked))):
                    return

        self._display.begin(name)
        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        try:
            with metered(meter):
                yield cost
        finally:
            stop.set()
            watcher.join()
            cost.seconds = time.perf_counter() - started
            self._display.end()
        if isinstance(self._display, _Json):
            self._display.write("end", stage=name, finished_before=False, **asdict(cost))
