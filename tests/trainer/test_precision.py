"""The choice of precision and device."""

import time

import pytest
import torch

from trainer.precision import DeviceError, autocast, choose, matmul_rate, measure, resolve_device

CPU = torch.device("cpu")


def test_the_faster_one_is_taken() -> None:
    assert choose("auto", {"fp32": 100.0, "bf16": 500.0}) == "bf16"
    assert choose("auto", {"fp32": 133.0, "bf16": 1.1}) == "fp32"
    assert choose("auto", {"fp32": 100.0, "bf16": 100.0}) == "fp32"
    assert choose("fp32", {"fp32": 1.0, "bf16": 500.0}) == "fp32"
    with pytest.raises(ValueError, match="allowed: auto, fp32, bf16"):
        choose("fp16", {"fp32": 1.0, "bf16": 1.0})


def test_measurement_is_short_and_chooses() -> None:
    start = time.perf_counter()
    rates = measure(CPU, budget=0.05)
    assert time.perf_counter() - start < 10
    assert rates["fp32"] > 0
    assert rates["bf16"] > 0
    assert choose("auto", rates) == max(rates, key=lambda name: (rates[name], name == "fp32"))


def test_measured_rate_is_that_of_a_timed_product() -> None:
    left, right = torch.randn(2048, 256), torch.randn(256, 1024)
    seconds = []
    for _ in range(20):
        start = time.perf_counter()
        torch.mm(left, right)
        seconds.append(time.perf_counter() - start)
    own = 2 * 2048 * 256 * 1024 / min(seconds) / 1e9
    assert own / 5 < matmul_rate(CPU, "fp32") < own * 5  # both are best of many; the machine may be shared


def test_autocast_is_bf16_or_nothing() -> None:
    layer, x = torch.nn.Linear(4, 4), torch.randn(2, 4)
    with autocast(CPU, "bf16"):
        assert layer(x).dtype == torch.bfloat16
    with autocast(CPU, "fp32"):
        assert layer(x).dtype == torch.float32
    assert layer.weight.dtype == torch.float32


def test_devices() -> None:
    assert resolve_device("cpu") == CPU
    assert resolve_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    with pytest.raises(DeviceError, match="allowed: auto, cpu, cuda"):
        resolve_device("gpu")
    if not torch.cuda.is_available():
        with pytest.raises(DeviceError, match="finds no CUDA"):
            resolve_device("cuda")
