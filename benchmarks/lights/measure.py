"""Rows side by side: each in a process that waits while the others are measured, so that all meet the same machine.

Seconds of a cell (batch, length, threads) are of batches of texts, from raw text to labels, after a warm pass that
does not count. Rows take turns, one pass each a round; a row's figure is the median of its rounds, its spread their
least and greatest, and a speed-up the median of the ratios within a round.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from types import TracebackType
from typing import Any

from benchmarks.lights.model import Row

CHILD = Path(__file__).with_name("child.py")


class RowError(RuntimeError):
    """A row that cannot be measured."""


class Child:
    """A row's process. Use as a context manager."""

    def __init__(self, row: Row, threads: int) -> None:
        self.row = row
        environment = os.environ | {name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
        command = [row.python or sys.executable, str(CHILD), row.kind, json.dumps(row.arguments), str(threads)]
        # A file: a pipe that nobody reads stops a talkative process once it is full.
        self.errors = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115 (closed with the process)
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, text=True, env=environment
        )

    def __enter__(self) -> "Child":
        self.size: int = self._read()["size"]
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.process.kill()
        self.process.communicate()
        self.errors.close()

    def ask(self, order: dict[str, Any]) -> dict[str, Any]:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(order) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # the reading tells why
        return self._read()

    def _read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.process.wait()
            self.errors.seek(0)
            told = self.errors.read().strip().splitlines() or ["ended without a word"]
            raise RowError(f"{self.row.name}: {told[-1]}")
        return json.loads(line)


@dataclass(frozen=True)
class Cell:
    """What is timed."""

    batch: int
    length: int | None
    """Pieces of every text; None: texts as they are."""
    batches: list[list[str]] = field(repr=False)

    @property
    def name(self) -> str:
        return f"batch {self.batch}, {'texts as they are' if self.length is None else f'{self.length} pieces'}"


@dataclass
class Measured:
    """What a row came to."""

    row: Row
    size: int = 0
    labels: list[str] = field(default_factory=list)
    seconds: dict[tuple[str, int], list[float]] = field(default_factory=dict)
    """(cell, threads) -> seconds of a batch, one for each round."""
    error: str | None = None

    def milliseconds(self, cell: str, threads: int) -> dict[str, float] | None:
        if not (found := self.seconds.get((cell, threads))):
            return None
        return {name: 1e3 * pick(found) for name, pick in (("median", median), ("least", min), ("greatest", max))}

    def speedup(self, base: "Measured", cell: str, threads: int) -> float | None:
        """How many times as fast as the base; None where either was not measured."""
        mine, theirs = self.seconds.get((cell, threads)), base.seconds.get((cell, threads))
        if not mine or not theirs or len(mine) != len(theirs):
            return None
        return median(b / a for a, b in zip(mine, theirs, strict=True))


def measure(
    rows: Sequence[Row], cells: Sequence[Cell], texts: list[str], threads: Sequence[int], rounds: int, batch: int = 32
) -> list[Measured]:
    """Labels of `texts` and seconds of every cell. A row that fails is told and left out."""
    found = [Measured(row) for row in rows]
    for count in threads:
        running: list[tuple[Measured, Child]] = []
        try:
            for measured in found:
                if measured.error is None:
                    _start(measured, count, texts, batch, running)
            for cell in cells:
                start = time.perf_counter()
                _turns(running, cell, count, rounds)
                print(f"  {cell.name}, {count} thread(s): {time.perf_counter() - start:.0f} s", flush=True)
        finally:
            for _, child in running:
                child.__exit__(None, None, None)
    return found


def _start(
    measured: Measured, threads: int, texts: list[str], batch: int, running: list[tuple[Measured, Child]]
) -> None:
    child = Child(measured.row, threads)
    running.append((measured, child))
    try:
        child.__enter__()
        measured.size = child.size
        if not measured.labels:
            measured.labels = child.ask({"texts": texts, "batch": batch})["labels"]
    except RowError as error:
        measured.error = str(error)
        print(f"  failed: {error}", flush=True)


def _turns(running: list[tuple[Measured, Child]], cell: Cell, threads: int, rounds: int) -> None:
    order = {"batches": cell.batches, "length": cell.length, "passes": 1}
    taken: dict[int, list[float]] = {}
    for turn in range(rounds + 1):
        for k, (measured, child) in enumerate(running):
            if measured.error is not None:
                continue
            try:
                (seconds,) = child.ask(order)["seconds"]
            except RowError as error:
                measured.error = str(error)
                print(f"  failed: {error}", flush=True)
                continue
            if turn:
                taken.setdefault(k, []).append(seconds)
    for k, seconds_ in taken.items():
        measured = running[k][0]
        if measured.error is None:
            measured.seconds[cell.name, threads] = seconds_
