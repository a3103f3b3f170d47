"""Runs jobs side by side, each on cores of its own, and keeps what comes out.

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
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.ablations.calibration import PARENT
from benchmarks.ablations.plan import Job, Losses
from benchmarks.ablations.results import Results, as_job, run_loss

ROOT = Path(__file__).parents[2]
VOID_LIMIT, FAILED_LIMIT = 4, 2
"""Runs of a job that are void, or fail, before a call of the queue gives it up."""
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
    lanes: Sequence[Sequence[int]]
    """Cores of each run; as many runs go on side by side as there are lanes."""
    hours: float | None = None
    pairs: Path | None = None
    pairs_limit: int | None = 200
    probe_steps: int = 1000
    band_words: int = 200
    child: Sequence[str] = (sys.executable, "-m", "benchmarks.ablations.child")
    """Command of a run; its directory is appended."""
    judged: bool = True
    """Whether runs on a disturbed machine are void; only the quick check does without."""


@dataclass
class Running:
    job: Job
    process: subprocess.Popen[bytes]
    directory: Path
    started: float = field(default_factory=time.monotonic)


def expected_seconds(job: Job) -> float:
    """Wall time of a run: its budget, evaluations on the way, the start and what is measured at the end."""
    return job.seconds * 1.15 + 2 * job.calibration_seconds + (90 if job.kind == "report" else 20)


def longest_seconds(job: Job) -> float:
    """After which a run is taken to hang."""
    return 2 * job.seconds + 1800


class Queue:
    def __init__(self, options: Options, results: Results, note: Callable[[str], None] = print) -> None:
        self.options, self.results, self.note = options, results, note
        self.running: dict[int, Running] = {}
        self.ballast: dict[int, subprocess.Popen[bytes]] = {}
        self.bad: dict[str, list[str]] = {}
        """Digest -> 'void' or 'failed' for each such run of this call."""
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
        waiting = False
        for lane in range(len(self.options.lanes)):
            if lane in self.running:
                continue
            job = self._next(pending, deadline)
            if job is None:
                waiting = True
                continue
            self._drop_ballast(lane)
            self._start(lane, job)
        if waiting and self.running:
            for lane in set(range(len(self.options.lanes))) - self.running.keys() - self.ballast.keys():
                self._load(lane)
        return bool(self.running)

    def _next(self, pending: Pending, deadline: float | None) -> Job | None:
        given_up = {digest for digest, bad in self.bad.items() if self._given_up(bad)}
        seen = given_up | {running.job.digest for running in self.running.values()}
        for job in pending(self.results.losses(), seen):
            if deadline is None or time.monotonic() + expected_seconds(job) <= deadline:
                return job
        return None

    @staticmethod
    def _given_up(bad: list[str]) -> bool:
        return bad.count("void") >= VOID_LIMIT or bad.count("failed") >= FAILED_LIMIT

    def given_up(self) -> list[str]:
        """Digests."""
        return [digest for digest, bad in self.bad.items() if self._given_up(bad)]

    def _environment(self, threads: int) -> dict[str, str]:
        own = {"OMP_NUM_THREADS": str(threads), "PYTHONPATH": str(ROOT), PARENT: str(os.getpid())}
        return {**os.environ, **own}

    def _start(self, lane: int, job: Job) -> None:
        options, directory = self.options, self.options.work / job.name
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        reference = self.results.reference(job.place.machine, job.place.precision, job.threads)
        order = {
            "job": asdict(job),
            "cores": list(options.lanes[lane]),
            "shards": str(options.shards),
            "reference": asdict(reference) if reference else None,
            "pairs": str(options.pairs) if options.pairs else None,
            "pairs_limit": options.pairs_limit,
            "probe_steps": options.probe_steps,
            "band_words": options.band_words,
            "judged": options.judged,
        }
        (directory / "order.json").write_text(json.dumps(order, indent=1), encoding="utf-8")
        with open(directory / "child.log", "wb") as log:
            process = subprocess.Popen(
                [*options.child, str(directory)],
                cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                env=self._environment(job.threads), start_new_session=True,
            )  # fmt: skip
        self.running[lane] = Running(job, process, directory)
        self.note(f"starts {job.name} ({job.choice}, rate {job.rate:g}, {job.seconds:g} s) on {options.lanes[lane]}")

    def _load(self, lane: int) -> None:
        cores = ",".join(map(str, self.options.lanes[lane]))
        command = [sys.executable, "-m", "benchmarks.ablations.calibration", "--ballast", cores]
        threads = len(self.options.lanes[lane])
        self.ballast[lane] = subprocess.Popen(
            command, cwd=ROOT, env=self._environment(threads), start_new_session=True, stdin=subprocess.DEVNULL
        )

    def _drop_ballast(self, lane: int) -> None:
        if process := self.ballast.pop(lane, None):
            process.kill()
            process.wait()

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
        self.bad.setdefault(job.digest, []).append("failed")
        self.results.add(job, {"failed": reason, "loss": None})
        self.note(f"failed {job.name}: {reason} ({running.directory / 'child.log'})")

    def _keep(self, job: Job, outcome: Path) -> None:
        run = json.loads(outcome.read_bytes())
        self.results.add(job, run)
        outcome.replace(outcome.with_name("kept.json"))
        if run["void"]:
            self.bad.setdefault(job.digest, []).append("void")
            self.note(f"void {job.name}: {run['void']}")
        else:
            self.done += 1
            told = run.get("diverged") or f"loss {run_loss(run):.4f}"
            self.note(f"done {job.name}: {told}")

    def _sweep(self) -> None:
        """Takes in what children of a killed queue had finished."""
        for outcome in sorted(self.options.work.glob("*/outcome.json")):
            order = json.loads((outcome.parent / "order.json").read_bytes())
            self._keep(as_job(order["job"]), outcome)

    def _end_all(self) -> None:
        for lane in list(self.ballast):
            self._drop_ballast(lane)
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
