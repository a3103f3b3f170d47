"""Was the machine the same all along? Two products timed before and after a run, what others took of its cores, and
the rule that makes a run void.

    python -m benchmarks.ablations.calibration --ballast      keeps the core it is pinned to busy until it is ended
"""

import hashlib
import os
import platform
import sys
import threading
import time
from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

LIMIT = 0.10
"""A run is void where a rate moved by more than this share, or others took more than this share of its time."""
REFERENCE_RUNS = 3
"""Runs from which on their median rates are what a later run is compared with."""
LOAD_SECONDS = 5.0


@dataclass(frozen=True)
class Rates:
    """Medians over a calibration."""

    matmul_gflops: float
    """A product [2048, 256] x [256, 1024], a training step's shape, in the run's precision."""
    memory_gb_s: float
    """a = b + s * c over arrays of 64 MB each, three of them moved (STREAM's triad)."""


def calibrate(precision: str, seconds: float) -> Rates:
    """Half of `seconds` for each product, with torch's threads as they are set."""
    import torch

    from trainer.precision import DTYPES

    dtype = DTYPES[precision]  # type: ignore[index]
    left, right = torch.randn(2048, 256).to(dtype), torch.randn(256, 1024).to(dtype)
    a, b, c = (torch.ones(1 << 24) for _ in range(3))

    def timed(work: Any) -> float:
        work()
        taken, end = [], time.perf_counter() + seconds / 2
        while not taken or time.perf_counter() < end:
            start = time.perf_counter()
            work()
            taken.append(time.perf_counter() - start)
        return median(taken)

    with torch.no_grad():
        products = timed(lambda: torch.mm(left, right))
        triads = timed(lambda: torch.add(b, c, alpha=3.0, out=a))
    return Rates(2 * 2048 * 256 * 1024 / products / 1e9, 3 * a.nbytes / triads / 1e9)


@dataclass(frozen=True)
class Disturbance:
    """What happened to a run's cores; None where the system does not tell."""

    waited: float | None
    """Share of the main thread's time that it was ready but not on a core."""
    stolen: float | None
    """Share of the cores' time that the hypervisor gave to others."""
    cpu: float
    """CPU seconds of the process over wall seconds and threads."""
    load: float
    """Highest one-minute load average seen."""


class Watch:
    """Measures a Disturbance from `with` to its end."""

    def __init__(self, cores: Collection[int], threads: int) -> None:
        self.cores, self.threads, self.load = cores, threads, 0.0
        self._ended = threading.Event()
        self._sampler = threading.Thread(target=self._sample, daemon=True)

    def _sample(self) -> None:
        while True:
            self.load = max(self.load, os.getloadavg()[0])
            if self._ended.wait(LOAD_SECONDS):
                return

    def _now(self) -> tuple[list[int] | None, tuple[int, int] | None, float, float]:
        return schedule_times(), core_times(self.cores), time.process_time(), time.perf_counter()

    def __enter__(self) -> "Watch":
        self._sampler.start()
        self._start = self._now()
        return self

    def __exit__(self, *_: object) -> None:
        end, start = self._now(), self._start
        self._ended.set()
        waited = stolen = None
        if start[0] and end[0]:
            ran, ready = (after - before for before, after in zip(start[0], end[0], strict=True))
            waited = ready / max(ran + ready, 1)
        if start[1] and end[1] and end[1][1] > start[1][1]:
            stolen = (end[1][0] - start[1][0]) / (end[1][1] - start[1][1])
        cpu = (end[2] - start[2]) / max(end[3] - start[3], 1e-9) / self.threads
        self.found = Disturbance(waited, stolen, cpu, self.load)


def schedule_times() -> list[int] | None:
    """[nanoseconds on a core, nanoseconds ready without one] of the main thread, as Linux counts them."""
    try:
        return [int(part) for part in Path(f"/proc/self/task/{os.getpid()}/schedstat").read_text().split()[:2]]
    except (OSError, ValueError):
        return None


def core_times(cores: Collection[int]) -> tuple[int, int] | None:
    """(stolen, all) ticks of these cores, as Linux counts them."""
    try:
        lines = Path("/proc/stat").read_text().splitlines()
    except OSError:
        return None
    ticks = [[int(part) for part in line.split()[1:9]] for line in lines if line[:3] == "cpu" and line[3:4].isdigit()]
    chosen = [row for number, row in enumerate(ticks) if number in cores and len(row) == 8]
    return (sum(row[7] for row in chosen), sum(map(sum, chosen))) if chosen else None


def moved(before: Rates, after: Rates) -> dict[str, float]:
    """Rate -> after / before - 1."""
    first, second = asdict(before), asdict(after)
    return {name: second[name] / first[name] - 1 for name in first}


def void(before: Rates, after: Rates, reference: Rates | None, disturbance: Disturbance) -> str | None:
    """Why a run does not count, or None: a rate moved by more than LIMIT during it, or stood so far from the median of
    earlier runs; or others took more than LIMIT of its time."""
    told = []
    for name, share in moved(before, after).items():
        if abs(share) > LIMIT:
            told.append(f"{name} moved by {share:+.0%} during the run")
    if reference is not None:
        for when, rates in (("before", before), ("after", after)):
            for name, share in moved(reference, rates).items():
                if abs(share) > LIMIT:
                    told.append(f"{name} {when} the run {share:+.0%} of earlier runs'")
    for name in ("waited", "stolen"):
        share = getattr(disturbance, name)
        if share is not None and share > LIMIT:
            told.append(f"{name} {share:.0%} of the time")
    return "; ".join(told) or None


def reference_of(rates: Iterable[Rates]) -> Rates | None:
    """Medians of earlier runs that count, once there are REFERENCE_RUNS of them."""
    known = list(rates)
    if len(known) < REFERENCE_RUNS:
        return None
    return Rates(median(r.matmul_gflops for r in known), median(r.memory_gb_s for r in known))


def machine() -> dict[str, str]:
    """What the processor is, and a short id of it: seconds are compared on one kind of machine only."""
    wanted = ("model name", "cpu family", "model", "stepping", "cache size")
    fields: dict[str, str] = {"architecture": platform.machine(), "cores": str(os.cpu_count())}
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip() in wanted:
                fields.setdefault(key.strip(), value.strip())
            elif key.strip() == "flags":
                fields.setdefault("features", " ".join(f for f in value.split() if f.startswith(("amx", "avx512_b"))))
    except OSError:
        fields["model name"] = platform.processor() or "unknown"
    told = "\n".join(f"{key} {value}" for key, value in sorted(fields.items()))
    return {"id": hashlib.blake2b(told.encode(), digest_size=3).hexdigest(), **fields}


def pin(cores: Collection[int]) -> None:
    """This process on these cores alone, where the system can."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)


def all_cores() -> list[int]:
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))


PARENT = "SILIANG_ABLATION_QUEUE"
"""Environment variable: process id of the queue."""


def end_with_parent() -> None:
    """Ends this process when the one that started it is gone, so that a killed queue leaves nothing running.

    The queue names itself in the environment: it may be gone before this process has come so far.
    """
    parent = int(os.environ.get(PARENT, os.getppid()))

    def look() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=look, daemon=True).start()


def ballast(cores: Collection[int]) -> None:
    """Work like a run's, for ever: a run beside an idle core would be faster than one beside another run."""
    pin(cores)
    end_with_parent()
    while True:
        calibrate("fp32", 2.0)


if __name__ == "__main__" and sys.argv[1:2] == ["--ballast"]:
    ballast([int(core) for core in sys.argv[2].split(",")])
