"""What training needs of a machine, each tried: versions, memory, matmuls, attention, compilation, processes, disk."""

import os
import platform
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from uuid import uuid4

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from schemas.finding import Finding, State
from trainer.model.choice import choose_attention
from trainer.precision import be_deterministic, choose, measure, resolve_device

PYTHON = (3, 11)
TORCH = (2, 6)
LITTLE_DISK = 5e9
LITTLE_MEMORY = 2e9
LITTLE_SHM = 64 << 20
BACKENDS = {
    "flash": SDPBackend.FLASH_ATTENTION,
    "memory-efficient": SDPBackend.EFFICIENT_ATTENTION,
    "cudnn": SDPBackend.CUDNN_ATTENTION,
    "math": SDPBackend.MATH,
}
PAIR_PATIENCE = 60.0
"""Seconds that two processes get to find one another."""


def versions() -> Iterator[Finding]:
    fits = sys.version_info[:2] >= PYTHON
    venv = "python3.11 -m venv .venv && .venv/bin/pip install 'siliang[trainer]'"
    yield Finding("python", "ok" if fits else "fail", platform.python_version(), "" if fits else venv)
    there = tuple(int(part) for part in torch.__version__.split("+")[0].split(".")[:2])
    names = ", ".join(f"{name} {version(name)}" for name in ("safetensors", "sentencepiece", "pyarrow", "numba"))
    yield Finding(
        "torch",
        "ok" if there >= TORCH else "fail",
        f"{torch.__version__}, CPU capability {torch.backends.cpu.get_cpu_capability()}; {names}",
        "" if there >= TORCH else "pip install -c constraints.txt torch",
    )


def device() -> Iterator[Finding]:
    if not torch.cuda.is_available():
        built = torch.version.cuda
        seen = Path("/dev/nvidia0").exists()
        told = f"cpu, {os.cpu_count()} cores, torch uses {torch.get_num_threads()} threads; no CUDA device"
        if seen:
            # A device that torch does not see is lost speed, not a failure.
            why = "its driver does not fit" if built else "this torch is built without CUDA"
            yield Finding(
                "device", "warn", f"{told}: a GPU is there, but {why}", "pip install torch, built for your CUDA"
            )
        else:
            yield Finding("device", "ok", told)
        return
    for number in range(torch.cuda.device_count()):
        free, whole = torch.cuda.mem_get_info(number)
        name = torch.cuda.get_device_name(number)
        capability = ".".join(map(str, torch.cuda.get_device_capability(number)))
        yield Finding(
            "device",
            "ok",
            f"cuda:{number}, {name}, capability {capability}, {free / 1e9:.0f} of {whole / 1e9:.0f} GB free",
        )


def memory() -> Iterator[Finding]:
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:  # what the kernel could free, too
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        pass
    good = free >= LITTLE_MEMORY
    yield Finding(
        "memory", "ok" if good else "warn", f"{free / 1e9:.1f} GB free", "" if good else "--set data.batch_rows=8"
    )
    if Path("/dev/shm").is_dir():
        shared = shutil.disk_usage("/dev/shm").free
        good = shared >= LITTLE_SHM
        yield Finding(
            "shared memory",
            "ok" if good else "warn",
            f"{shared / 1e6:,.0f} MB of /dev/shm for batches of loader workers",
            "" if good else "docker run --shm-size=1g, or --set data.workers=0",
        )


def disk(directory: Path) -> Iterator[Finding]:
    place = directory.absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    good = free >= LITTLE_DISK
    yield Finding(
        "disk",
        "ok" if good else "warn",
        f"{free / 1e9:.1f} GB free at {place}",
        "" if good else "--output on a larger disk",
    )
    first, second = (place / f".siliang-doctor-{uuid4().hex}.{name}" for name in ("tmp", "safetensors"))
    try:
        with first.open("wb") as handle:
            handle.write(bytes(1 << 20))
            handle.flush()
            os.fsync(handle.fileno())
        os.replace(first, second)
    except OSError as error:
        yield Finding("write access", "fail", f"{place}: {error.strerror}", f"chmod u+w {place}, or another --output")
        return
    finally:
        first.unlink(missing_ok=True)
        second.unlink(missing_ok=True)
    yield Finding("write access", "ok", f"{place}: written, synced, renamed")


def precision() -> Iterator[Finding]:
    where = resolve_device("auto")
    rates = measure(where)
    told = ", ".join(f"{name} {rate:,.0f}" for name, rate in rates.items())
    chosen = choose("auto", rates)
    yield Finding("matmul", "ok", f"{told} GFLOP/s on {where.type}; system.precision = auto takes {chosen}")


def attention() -> Iterator[Finding]:
    """SDPA's kernels, each tried forward and backward on its own, and the path that training would take."""
    where = resolve_device("auto")
    dtypes = (torch.float32, torch.bfloat16)
    for dtype in dtypes:
        works = [name for name, backend in BACKENDS.items() if _runs(backend, where, dtype)]
        name = str(dtype).removeprefix("torch.")
        fused = [one for one in works if one != "math"]
        paths = ", ".join(
            f"{positions} {choose_attention(where, 128, positions, 'auto', dtype)}"
            for positions in ("absolute", "tupe-a", "tupe-r")
        )
        state: State = "ok" if fused else "warn" if works else "fail"
        remedy = "" if fused else "--set model.attention=written" if works else "pip install -c constraints.txt torch"
        yield Finding(f"attention {name}", state, f"{', '.join(works) or 'no kernel works'}; T = 128: {paths}", remedy)


def _runs(backend: SDPBackend, where: torch.device, dtype: torch.dtype) -> bool:
    q_BHTD = torch.randn(1, 2, 64, 32, device=where, dtype=dtype, requires_grad=True)
    try:
        with sdpa_kernel([backend]):
            F.scaled_dot_product_attention(q_BHTD, q_BHTD, q_BHTD).sum().backward()
    except RuntimeError:  # "No available kernel"
        return False
    return bool(torch.isfinite(q_BHTD.grad).all()) if q_BHTD.grad is not None else False


def compilation() -> Iterator[Finding]:
    """torch.compile, forward and backward: it needs a C++ compiler on CPUs, Triton on GPUs."""
    where = resolve_device("auto")
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 16), nn.GELU()).to(where)
    rows = torch.randn(4, 16, device=where)
    compiler = os.environ.get("CXX") or next(filter(None, map(shutil.which, ("g++", "clang++", "c++"))), None)
    started = time.perf_counter()
    try:
        torch.compiler.reset()
        with torch.random.fork_rng():
            output = torch.compile(model)(rows)
            output.sum().backward()
        same = torch.allclose(output, model(rows), atol=1e-4)
    except Exception as error:  # any of torch's compilers, or the toolchain they call
        first = (str(error).strip() or type(error).__name__).splitlines()[0][:160]
        yield Finding(
            "torch.compile",
            "warn",
            f"{type(error).__name__}: {first}; training runs without it",
            "apt-get install g++" if compiler is None else "--set system.compile=false",
        )
        return
    took = time.perf_counter() - started
    told = f"{compiler or 'no compiler needed'}, {took:.1f} s"
    if same:
        yield Finding("torch.compile", "ok", told)
    else:
        yield Finding("torch.compile", "fail", f"{told}; computes other numbers", "--set system.compile=false")


def repetition() -> Iterator[Finding]:
    """The same sums twice, as resuming bit for bit needs it."""
    where = resolve_device("auto")
    be_deterministic(where, where.type == "cuda")
    left = torch.randn(257, 511, generator=torch.Generator().manual_seed(0)).to(where)
    same = all(torch.equal(left @ left.T, left @ left.T) for _ in range(3))
    yield Finding(
        "repetition",
        "ok" if same else "warn",
        "equal bits" if same else "equal products differ in bits",
        "" if same else "--set system.deterministic=true",
    )


PAIR = """
import sys, torch
from datetime import timedelta
from torch import distributed as dist
backend, rank, port = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
dist.init_process_group(backend, init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2,
                        timeout=timedelta(seconds=50))
value = torch.tensor([rank + 1.0])
if backend == "nccl":
    value = value.cuda(rank)
dist.all_reduce(value)
assert value.item() == 3.0, value
dist.destroy_process_group()
"""


def processes() -> Iterator[Finding]:
    """Two processes that sum a number: by gloo, and by NCCL where two GPUs are there."""
    torchrun = shutil.which("torchrun") or Path(sys.executable).with_name("torchrun")
    backends = ["gloo"] + (["nccl"] if torch.cuda.device_count() > 1 and torch.distributed.is_nccl_available() else [])
    for backend in backends:
        started = time.perf_counter()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        with tempfile.TemporaryDirectory() as directory:
            command = [sys.executable, "-c", PAIR, backend]
            environment = os.environ | {"OMP_NUM_THREADS": "1"}
            pair = [
                subprocess.Popen(
                    [*command, str(rank), str(port)],
                    cwd=directory,
                    env=environment,
                    stderr=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    text=True,
                )
                for rank in range(2)
            ]
            errors = ""
            for one in pair:
                try:
                    errors = one.communicate(timeout=PAIR_PATIENCE)[1].strip() or errors
                except subprocess.TimeoutExpired:
                    one.kill()
                    errors = f"two processes did not meet within {PAIR_PATIENCE:.0f} s"
        took = time.perf_counter() - started
        if all(one.returncode == 0 for one in pair):
            yield Finding(backend, "ok", f"two processes summed in {took:.1f} s; {torchrun} starts them")
        else:
            remedy = "export GLOO_SOCKET_IFNAME=lo" if backend == "gloo" else "export NCCL_DEBUG=INFO, and look"
            yield Finding(backend, "warn", (errors or "failed").splitlines()[-1][:200], remedy)
