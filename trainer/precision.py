"""Precision chosen by a measurement: a matmul in fp32 and in bf16 on the device, the faster one wins.

bf16 is ten times as fast as fp32 on a CPU with AMX and a hundred times as slow on one with AVX2 alone, so it is
never assumed. Weights and optimiser state stay fp32; bf16 means autocast.
"""

import os
import time
from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch

Precision = Literal["fp32", "bf16"]
DTYPES: dict[Precision, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16}


class DeviceError(ValueError):
    """The device asked for is not there. The message names those that are."""


def be_deterministic(device: torch.device, everywhere: bool) -> None:
    """The same sums in the same order at every start: always on the CPU, on CUDA with `everywhere` only, where such
    kernels are slow and partly missing (torch warns)."""
    wanted = everywhere or device.type == "cpu"
    if wanted and device.type == "cuda":
        # cuBLAS reads it when it is first used.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.backends.cudnn.benchmark = not wanted
    torch.use_deterministic_algorithms(wanted, warn_only=True)
    # Filling fresh tensors with NaN, to catch reads of unset memory, costs 5 % of a step.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def resolve_device(name: str, local_rank: int | None = None) -> torch.device:
    """'auto' is CUDA where it is, else the CPU; else any name torch knows. Under torchrun each process of a machine
    has the accelerator of its `local_rank`. Raises DeviceError."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and local_rank is not None and torch.cuda.is_available():
        name = f"cuda:{local_rank}"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise DeviceError(f"system.device is '{name}'; allowed: auto, cpu, cuda, cuda:N") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise DeviceError(
            f"system.device is '{name}', but torch {torch.__version__} finds no CUDA here; use auto or cpu"
        )
    return device


def _seconds(device: torch.device, dtype: torch.dtype, rows: int, inner: int, columns: int, budget: float) -> float:
    """Fastest of several products [rows, inner] x [inner, columns], tried for about `budget` seconds."""
    left = torch.randn(rows, inner, generator=torch.Generator().manual_seed(0)).to(device, dtype)
    right = torch.randn(inner, columns, generator=torch.Generator().manual_seed(1)).to(device, dtype)

    def once() -> float:
        start = time.perf_counter()
        torch.mm(left, right)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter() - start

    best, end = once(), time.perf_counter() + budget
    while time.perf_counter() < end:
        best = min(best, once())
    return best


def matmul_rate(device: torch.device, precision: Precision, budget: float = 0.15) -> float:
    """GFLOP/s of a dense product of a training step's shape on this device, in this precision.

    A small product goes first: where it is already slow (bf16 in software), its rate is the answer, so that the
    whole measurement stays under a second on any machine.
    """
    dtype = DTYPES[precision]
    small = (256, 256, 256)
    large = (8192, 4096, 4096) if device.type == "cuda" else (2048, 256, 1024)
    with torch.no_grad():
        seconds = _seconds(device, dtype, *small, budget=budget / 10)
        shape = small
        if seconds * 32 < 4 * budget or device.type == "cuda":
            seconds, shape = _seconds(device, dtype, *large, budget=budget), large
    return 2 * shape[0] * shape[1] * shape[2] / seconds / 1e9


def measure(device: torch.device, budget: float = 0.15) -> dict[Precision, float]:
    """Precision -> GFLOP/s on this device, with the thread count that is set now."""
    return {name: matmul_rate(device, name, budget) for name in DTYPES}


def choose(wanted: str, rates: dict[Precision, float]) -> Precision:
    """'auto' takes the faster one, fp32 where they tie; 'fp32' and 'bf16' are taken as they are."""
    if wanted == "auto":
        return "bf16" if rates["bf16"] > rates["fp32"] else "fp32"
    if wanted not in DTYPES:
        raise ValueError(f"precision is '{wanted}'; allowed: auto, {', '.join(DTYPES)}")
    return wanted  # type: ignore[return-value]


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager:
    """Context of the forward pass: bf16 autocast, or nothing for fp32."""
    if precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)
