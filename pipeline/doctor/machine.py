"""The machine: versions, cores, memory, disk, threads, files."""

import mmap
import os
import platform
import resource
import shutil
import sys
import time
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from uuid import uuid4

import llvmlite.binding
import numba
import numpy as np
import psutil
from packaging.requirements import Requirement

from schemas.finding import Finding, State

PYTHON = (3, 11), (3, 14)
"""Ours from, Beam's up to."""
MEMORY_ALONE, MEMORY_WORKER = 0.8e9, 0.75e9
"""Bytes that one process takes, and each local worker (benchmarks/RESULTS.md)."""
LITTLE_DISK = 5e9
OPEN_FILES = 1024
PROBE_BYTES = 8 << 20


def versions(extra: str) -> Iterator[Finding]:
    """Python, and every requirement of the distribution and of this extra."""
    running = sys.version_info[:2]
    fits = PYTHON[0] <= running <= PYTHON[1]
    yield Finding(
        "python",
        "ok" if fits else "fail",
        platform.python_version(),
        ""
        if fits
        else f"python{PYTHON[0][0]}.{PYTHON[0][1]} -m venv .venv && .venv/bin/pip install 'siliang[{extra}]'",
    )
    try:
        wanted = [Requirement(line) for line in requires("siliang") or ()]
    except PackageNotFoundError:
        yield Finding("siliang", "warn", "not installed, runs from its folder", f"pip install -e '.[{extra}]'")
        return
    found, wrong = [], []
    for requirement in wanted:
        if requirement.marker is not None and not any(
            requirement.marker.evaluate({"extra": one}) for one in ("", extra)
        ):
            continue
        try:
            there = version(requirement.name)
        except PackageNotFoundError:
            wrong.append(f"{requirement.name} is missing")
            continue
        if not requirement.specifier.contains(there, prereleases=True):
            wrong.append(f"{requirement.name} {there} is not {requirement.specifier}")
        found.append(f"{requirement.name} {there}")
    if wrong:
        yield Finding("packages", "fail", "; ".join(wrong), f"pip install -c constraints.txt 'siliang[{extra}]'")
    else:
        yield Finding("packages", "ok", f"{len(found)}: {', '.join(found)}")


def cores() -> int:
    """That this process may use: affinity and a container's share, too."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        if quota != "max":
            usable = min(usable, max(1, round(int(quota) / int(period))))
    except (OSError, ValueError):
        pass
    return usable


def memory() -> int:
    """Bytes that are free to this process: of the machine, and of its container."""
    free = psutil.virtual_memory().available
    try:
        limit = int(Path("/sys/fs/cgroup/memory.max").read_text())
        free = min(free, limit - int(Path("/sys/fs/cgroup/memory.current").read_text()))
    except (OSError, ValueError):
        pass  # no limit, or no control groups
    return free


def size(workers: int) -> Iterator[Finding]:
    """Cores and memory for so many local workers."""
    count, free = cores(), memory()
    yield Finding(
        "cores",
        "ok" if workers <= count else "warn",
        f"{count} usable of {os.cpu_count()}, load {os.getloadavg()[0]:.1f}",
        "" if workers <= count else f"--workers {count}",
    )
    needed = MEMORY_ALONE if workers == 1 else MEMORY_ALONE + workers * MEMORY_WORKER
    enough = max(1, min(count, int((free - MEMORY_ALONE) / MEMORY_WORKER)))
    state: State = "ok" if free >= needed else "fail" if free < MEMORY_ALONE else "warn"
    remedy = (
        "" if state == "ok" else "free memory, or use a larger machine" if state == "fail" else f"--workers {enough}"
    )
    yield Finding("memory", state, f"{free / 1e9:.1f} GB free, {needed / 1e9:.1f} GB for {workers} worker(s)", remedy)


def disk(directory: Path) -> Iterator[Finding]:
    """Space below `directory`, and whether files can be written, renamed and mapped there."""
    place = directory.absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    told = f"{free / 1e9:.1f} GB free at {place}"
    yield Finding(
        "disk", "ok" if free > LITTLE_DISK else "warn", told, "" if free > LITTLE_DISK else "--output on a larger disk"
    )
    first, second = (place / f".siliang-doctor-{uuid4().hex}.{name}" for name in ("tmp", "arrow"))
    data = np.random.default_rng(0).bytes(PROBE_BYTES)
    started = time.perf_counter()
    try:
        with first.open("wb") as handle:
            handle.write(data)
            handle.flush()
            os.fsync(handle.fileno())
        os.replace(first, second)
        with second.open("rb") as there, mmap.mmap(there.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            same = mapped[:] == data
    except OSError as error:
        yield Finding("write access", "fail", f"{place}: {error.strerror}", f"chmod u+w {place}, or another --output")
        return
    finally:
        first.unlink(missing_ok=True)
        second.unlink(missing_ok=True)
    rate = PROBE_BYTES / 1e6 / (time.perf_counter() - started)
    if same:
        yield Finding("write access", "ok", f"{place}: written, synced, renamed, mapped; {rate:,.0f} MB/s")
    else:
        yield Finding("write access", "fail", f"{place}: other bytes come back", "--output on another disk")


def open_files() -> Iterator[Finding]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    good = soft == resource.RLIM_INFINITY or soft >= OPEN_FILES
    yield Finding(
        "open files", "ok" if good else "warn", f"{soft} at once", "" if good else f"ulimit -n {min(hard, 65536)}"
    )


def threads(workers: int) -> Iterator[Finding]:
    """BLAS and numba: several workers with all cores each would only wait for one another."""
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]["name"]  # type: ignore[call-overload]
    named = {name: os.environ[name] for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS") if name in os.environ}
    told = ", ".join(f"{name}={value}" for name, value in named.items()) or "no limit set"
    crowded = workers > 1 and not named and (os.cpu_count() or 1) > 1
    yield Finding(
        "BLAS threads", "warn" if crowded else "ok", f"{blas}, {told}", "export OMP_NUM_THREADS=1" if crowded else ""
    )
    yield Finding("numba threads", "ok", f"{numba.get_num_threads()}; the kernels use one each")


def kernels() -> Iterator[Finding]:
    """Compiles a kernel for this processor, runs it, and looks where compiled ones are kept."""
    started = time.perf_counter()

    @numba.njit
    def total(values: np.ndarray) -> int:
        found = 0
        for value in values:
            found += value
        return found

    right = total(np.arange(1000)) == 499_500
    took = time.perf_counter() - started
    if not right:
        yield Finding("numba kernel", "fail", "computes wrong sums", "pip install --force-reinstall numba llvmlite")
        return
    yield Finding("numba kernel", "ok", f"compiled for {llvmlite.binding.get_host_cpu_name()} in {took:.1f} s")
    given = os.environ.get("NUMBA_CACHE_DIR")
    place = Path(given) if given else Path(__file__).parents[1] / "text" / "kernels"
    good = place.is_dir() and os.access(place, os.W_OK)
    if given and not place.exists():
        good = os.access(place.parent, os.W_OK)
    yield Finding(
        "kernel cache",
        "ok" if good else "warn",
        f"{place}{'' if good else ' cannot be written: every start compiles for a minute'}",
        "" if good else "export NUMBA_CACHE_DIR=$HOME/.cache/siliang-numba",
    )
