"""Precision chosen by a measurement: a matmul in fp32 and in bf16 on the device, the faster one wins.

bf16 is ten times as fast as fp32 on a CPU with AMX and a hundred times as slow on one with AVX2 alone, so it is
never assumed. Weights and optimiser state stay fp32; bf16 means autocast.
"""

import time
from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch

Precision = Literal["fp32", "bf16"]
DTYPES: dict[Precision, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16}


class DeviceError(ValueError):
    """The device asked for is not there. The message names those that are."""


def resolve_device(name: str) -> torch.device:
    """'auto' is CUDA where it is, else the CPU; else any name torch knows. Raises DeviceError."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
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
