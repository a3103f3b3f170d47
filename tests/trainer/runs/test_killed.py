"""Killed again and again at random moments, inside checkpoint writes too: the weights of an undisturbed run."""

import multiprocessing
import os
import random
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file

from trainer.checkpoint import checkpoints
from trainer.log import read_log
from trainer.train import train

STEPS = 400
LONG = {
    "data__sequence_length": 64, "data__batch_rows": 16, "schedule__steps": STEPS, "model__dropout": 0.1,
    "optimizer__ema": 0.99, "checkpoint__every_steps": 5, "evaluate__every_steps": 100,
}  # fmt: skip


def _silent(shards: Path, run: Path, overrides: list[str]) -> None:
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    train(shards, run, overrides=overrides, resume=True)


def start(shards: Path, run: Path, overrides: list[str]) -> multiprocessing.Process:
    """A run in a process of its own; forked, so that it trains at once."""
    process = multiprocessing.get_context("fork").Process(target=_silent, args=(shards, run, overrides))
    process.start()
    return process


def inside_a_write(run: Path) -> bool:
    return any((run / "checkpoints").glob(".step-*"))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_twenty_random_kills(prepared: Path, tmp_path: Path, tools) -> None:
    """Every third kill waits until a checkpoint is half written; the number of workers changes at each restart."""
    straight, run, draw = tmp_path / "straight", tmp_path / "run", random.Random(7)
    undisturbed = start(prepared, straight, tools.settings(**LONG))
    undisturbed.join()
    assert undisturbed.exitcode == 0
    in_writes = 0
    for kill in range(20):
        before = checkpoints(run / "checkpoints")[-1:]
        process = start(prepared, run, tools.settings(**LONG, data__workers=kill % 3))
        # At least one checkpoint further, so that twenty kills come to an end.
        while process.is_alive() and checkpoints(run / "checkpoints")[-1:] == before:
            time.sleep(0.001)
        time.sleep(draw.uniform(0, 0.05))
        end = time.monotonic() + 20
        while kill % 3 == 2 and process.is_alive() and not inside_a_write(run) and time.monotonic() < end:
            time.sleep(0.0002)
        assert process.is_alive(), f"the run ended before kill {kill + 1}"
        process.kill()
        process.join()
        in_writes += inside_a_write(run)
    assert in_writes >= 1
    last = start(prepared, run, tools.settings(**LONG))
    last.join()
    assert last.exitcode == 0
    for name in ("model.safetensors", f"checkpoints/step-{STEPS:08d}/optimizer.safetensors"):
        ours, theirs = load_file(run / name), load_file(straight / name)
        assert ours.keys() == theirs.keys()
        assert all((ours[key] == theirs[key]).all() for key in ours), name
    curves = [[(r["kind"], r["step"], r["loss"]) for r in read_log(path / "log.jsonl")] for path in (run, straight)]
    assert curves[0] == curves[1]
