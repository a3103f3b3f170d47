"""Runs jobs side by side and keeps what comes out.

The queue remembers nothing but results: killed at any point, the next call does what is still to be done. Its children
end with it, and what they had not finished is run anew from its start.
"""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.ablations.machine import PARENT
from benchmarks.ablations.plan import Job, Losses
from benchmarks.ablations.results import Results, as_job, run_loss

ROOT = Path(__file__).parents[2]
FAILED_LIMIT = 2
"""Runs of a job that fail before a call of the queue gives it up."""
POLL_SECONDS = 0.25

Pending = Callable[[Losses, Collection[str]], list[Job]]
"""(losses of what is done, digests to leave out) -> jobs that may start, the most important first."""


class QueueError(RuntimeError):
    """The queue cannot work here. The message says why."""


@dataclass(frozen=True)
class Options:
    """What the runs of a call have in common beside the protocol."""

    shards: Path
    work: Path
    """Run directories, DIR/<job>; may be deleted between calls."""
    lanes: int
    """Runs side by side."""
    hours: float | None = None
    pairs: Path | None = None
    pairs_limit: int | None = 200
    tasks: Path | None = None
    probe_steps: int = 1000
    band_words: int = 200
    child: Sequence[str] = (sys.executable, "-m", "benchmarks.ablations.child")
    """Command of a run; its directory is appended."""


@dataclass
class Running:
    job: Job
    process: subprocess.Popen[bytes]
    directory: Path
    started: float = field(default_factory=time.monotonic)


def expected_seconds(job: Job) -> float:
    """Wall time of a run on a quiet machine: its budget, evaluations on the way, the start and what is measured at
    the end."""
    return job.seconds * 1.15 + (90 if job.kind == "report" else 20)


def longest_seconds(job: Job) -> float:
    """After which a run is taken to hang."""
    return 10 * job.seconds + 1800


class Queue:
    def __init__(self, options: Options, results: Results, note: Callable[[str], None] = print) -> None:
        self.options, self.results, self.note = options, results, note
        self.running: dict[int, Running] = {}
        self.failed: Counter[str] = Counter()
        """Digest -> runs of this call that failed."""
        self.done = 0
        self.stopping = False

    def run(self, pending: Pending) -> int:
        """Works until nothing is left, or nothing would end in time; the number of runs that count.

        Raises QueueError where another queue works in the same directory.
        """
        options = self.options
        options.work.mkdir(parents=True, exist_ok=True)
        deadline = None if options.hours is None else time.monotonic() + options.hours * 3600
        with open(options.work / "lock", "w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise QueueError(f"{options.work}: another queue works here; name another --work") from error
            self._sweep()
            previous = {number: signal.signal(number, self._stop) for number in (signal.SIGTERM, signal.SIGINT)}
            try:
                while self._turn(pending, deadline):
                    time.sleep(POLL_SECONDS)
            finally:
                self._end_all()
                for number, handler in previous.items():
                    signal.signal(number, handler)
        return self.done

    def _stop(self, number: int, frame: Any) -> None:
        self.stopping = True

    def _turn(self, pending: Pending, deadline: float | None) -> bool:
        for lane in list(self.running):
            self._reap(lane)
        if self.stopping:
            return False
        for lane in range(self.options.lanes):
            if lane in self.running:
                continue
            job = self._next(pending, deadline)
            if job is not None:
                self._start(lane, job)
        return bool(self.running)

    def _next(self, pending: Pending, deadline: float | None) -> Job | None:
        seen = set(self.given_up()) | {running.job.digest for running in self.running.values()}
        for job in pending(self.results.losses(), seen):
            if deadline is None or time.monotonic() + expected_seconds(job) <= deadline:
                return job
        return None

    def given_up(self) -> list[str]:
        """Digests."""
        return [digest for digest, number in self.failed.items() if number >= FAILED_LIMIT]

    def _environment(self, threads: int) -> dict[str, str]:
        own = {"OMP_NUM_THREADS": str(threads), "PYTHONPATH": str(ROOT), PARENT: str(os.getpid())}
        return {**os.environ, **own}

    def _start(self, lane: int, job: Job) -> None:
        options, directory = self.options, self.options.work / job.name
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        order = {
            "job": asdict(job),
            "shards": str(options.shards),
            "pairs": str(options.pairs) if options.pairs else None,
            "pairs_limit": options.pairs_limit,
            "tasks": str(options.tasks) if options.tasks else None,
            "probe_steps": options.probe_steps,
            "band_words": options.band_words,
        }
        (directory / "order.json").write_text(json.dumps(order, indent=1), encoding="utf-8")
        with open(directory / "child.log", "wb") as log:
            process = subprocess.Popen(
                [*options.child, str(directory)],
                cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                env=self._environment(job.threads), start_new_session=True,
            )  # fmt: skip
        self.running[lane] = Running(job, process, directory)
        self.note(f"starts {job.name} ({job.choice}, rate {job.rate:g}, {job.seconds:g} s: {job.bought.total:,} steps)")

    def _reap(self, lane: int) -> None:
        running = self.running[lane]
        job, code = running.job, running.process.poll()
        if code is None:
            if time.monotonic() - running.started < longest_seconds(job):
                return
            running.process.kill()
            running.process.wait()
        del self.running[lane]
        outcome = running.directory / "outcome.json"
        if outcome.is_file():
            self._keep(job, outcome)
            return
        log = (running.directory / "child.log").read_text(encoding="utf-8", errors="replace").strip().splitlines()
        reason = f"ran past {longest_seconds(job):,.0f} s" if code is None else f"exit code {code}"
        reason = f"{reason}: {log[-1]}" if log else reason
        self.failed[job.digest] += 1
        self.results.add(job, {"failed": reason, "loss": None})
        self.note(f"failed {job.name}: {reason} ({running.directory / 'child.log'})")

    def _keep(self, job: Job, outcome: Path) -> None:
        run = json.loads(outcome.read_bytes())
        self.results.add(job, run)
        outcome.replace(outcome.with_name("kept.json"))
        self.done += 1
        told = run.get("diverged") or f"loss {run_loss(run):.4f}"
        self.note(f"done {job.name}: {told}")

    def _sweep(self) -> None:
        """Takes in what children of a killed queue had finished."""
        for outcome in sorted(self.options.work.glob("*/outcome.json")):
            order = json.loads((outcome.parent / "order.json").read_bytes())
            self._keep(as_job(order["job"]), outcome)

    def _end_all(self) -> None:
        for running in self.running.values():
            running.process.terminate()
        for lane, running in list(self.running.items()):
            try:
                running.process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                running.process.kill()
                running.process.wait()
            del self.running[lane]
            if (outcome := running.directory / "outcome.json").is_file():
                self._keep(running.job, outcome)
            else:
                self.note(f"stopped {running.job.name}; it is run anew by the next call")
