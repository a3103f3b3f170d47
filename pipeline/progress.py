"""What a long command shows while it works, and what it cost: seconds, parts done, peak memory."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psutil
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from pipeline.io import filesystem

INTERVAL = 0.25
"""Seconds between looks at memory and finished parts."""


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


class StageProgress:
    """A bar on a terminal, plain lines elsewhere."""

    def __init__(self, console: Console | None = None, quiet: bool = False) -> None:
        self.console = console or Console(stderr=True, quiet=quiet)

    def say(self, text: str) -> None:
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    @contextmanager
    def stage(self, name: str, parts_directory: str | None = None, total: int = 0) -> Iterator[Cost]:
        """Shows the stage until the block ends; fills in its cost. Progress is counted by the sidecars of parts."""
        cost = Cost()
        stop = threading.Event()
        started = time.perf_counter()
        columns = (
            TextColumn("{task.description:<12}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("parts"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=self.console, transient=True, disable=not self.console.is_terminal) as bar:
            task = bar.add_task(name, total=total or None)
            before = len(filesystem.listing(parts_directory)) if parts_directory else 0

            def watch() -> None:
                process = psutil.Process()
                while True:
                    cost.peak_mb = max(cost.peak_mb, _resident_mb(process))
                    if parts_directory and self.console.is_terminal:
                        bar.update(task, completed=min(total, len(filesystem.listing(parts_directory)) - before))
                    if stop.wait(INTERVAL):
                        return

            watcher = threading.Thread(target=watch, daemon=True)
            watcher.start()
            try:
                yield cost
            finally:
                stop.set()
                watcher.join()
                cost.seconds = time.perf_counter() - started
