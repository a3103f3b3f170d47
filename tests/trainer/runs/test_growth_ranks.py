"""A run that grows on two processes is the run on one."""

import multiprocessing
import os
import socket
from pathlib import Path

import pytest
from safetensors.torch import load_file

from trainer import train as train_module
from trainer.log import read_log


def records(run: Path, kind: str) -> list[dict]:
    return [record for record in read_log(run / "log.jsonl") if record["kind"] == kind]


def one_of_two(rank: int, port: int, shards: Path, run: Path, overrides: list[str]) -> None:
    """A process as torchrun would start it, but forked: torch is imported already."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1",
                   "MASTER_PORT": str(port)}  # fmt: skip
    train_module.train(shards, run, overrides=overrides)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@pytest.mark.parametrize("strategy", ["ddp", pytest.param("fsdp", marks=pytest.mark.slow)])
def test_two_processes(prepared: Path, tmp_path: Path, tools, strategy: str) -> None:
    """Both rules that differ most, muon's groups and the averages: one layer, then four."""
    changes = {
        "model__layers": 4, "growth__depths": [1, 4], "growth__at": [0.5], "schedule__steps": 8,
        "optimizer__ema": 0.9, "optimizer__kind": "muon", "growth__rule": "interleave" if strategy == "ddp" else
        "identity",
    }  # fmt: skip
    port, overrides = free_port(), tools.settings(**changes, system__strategy=strategy)
    fork = multiprocessing.get_context("fork")
    both = [fork.Process(target=one_of_two, args=(rank, port, prepared, tmp_path / "two", overrides))
            for rank in (0, 1)]  # fmt: skip
    for process in both:
        process.start()
    for process in both:
        process.join(120)
    assert [process.exitcode for process in both] == [0, 0]
    tools.train(prepared, tmp_path / "one", overrides=tools.settings(**changes))
    for kind, key in (("train", "loss"), ("growth", "loss_after"), ("held_out", "loss")):
        two, one = ([r[key] for r in records(tmp_path / name, kind)] for name in ("two", "one"))
        assert two == pytest.approx(one, abs=1e-5), kind
    a, b = (load_file(tmp_path / name / "model.safetensors") for name in ("two", "one"))
    assert a.keys() == b.keys()
    assert all((a[name] - b[name]).abs().max() < 1e-4 for name in a)
