"""Several processes over gloo: the same losses and weights as one, and resumed on another number of them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from trainer.checkpoint import load_newest
from trainer.log import read_log

CHANGES = {"schedule__steps": 12, "evaluate__every_steps": 6, "optimizer__ema": 0.9}


def torchrun(tools, processes: int, prepared: Path, run: Path, *flags: str, **changes: object) -> str:
    arguments = tools.train_command(prepared, run, *flags, **{**CHANGES, **changes})
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    root = Path(__file__).parents[3]
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*launcher, *arguments[1:]], cwd=root, env=environment, capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


def curve(run: Path) -> list[tuple[str, int, float]]:
    return [(r["kind"], r["step"], r["loss"]) for r in read_log(run / "log.jsonl")]


def assert_equal_runs(one: Path, other: Path) -> None:
    ours, theirs = curve(one), curve(other)
    assert [entry[:2] for entry in ours] == [entry[:2] for entry in theirs]
    for (_, _, a), (_, _, b) in zip(ours, theirs, strict=True):
        assert a == pytest.approx(b, abs=1e-5)
    a, b = load_file(one / "model.safetensors"), load_file(other / "model.safetensors")
    assert a.keys() == b.keys()
    for name in a:
        assert (a[name] - b[name]).abs().max() < 1e-4, name


@pytest.fixture(scope="module")
def alone(prepared: Path, tmp_path_factory: pytest.TempPathFactory, tools) -> Path:
    run = tmp_path_factory.mktemp("alone") / "run"
    tools.train(prepared, run, overrides=tools.settings(**CHANGES))
    return run


@pytest.mark.slow
def test_two_sharded_then_one(prepared: Path, tmp_path: Path, alone: Path, tools) -> None:
    """FSDP2 over two processes for half the run, then one process; rank 0 alone logs."""
    run = tmp_path / "run"
    torchrun(tools, 2, prepared, run, schedule__steps=12, checkpoint__every_steps=6, system__strategy="fsdp")
    for step in (12,):
        tools.copy_tree(run / "checkpoints" / "step-00000006", tmp_path / "half")
        assert (run / "checkpoints" / f"step-{step:08d}").is_dir()
    assert_equal_runs(run, alone)
    resumed = tmp_path / "resumed"
    (resumed / "checkpoints").mkdir(parents=True)
    tools.copy_tree(tmp_path / "half", resumed / "checkpoints" / "step-00000006")
    tools.copy_tree(run / "tensorboard", resumed / "tensorboard")
    (resumed / "log.jsonl").write_bytes((run / "log.jsonl").read_bytes())
    assert tools.train(prepared, resumed, resume=True).step == 12
    assert_equal_runs(resumed, alone)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["adamw", "muon"])
@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_four_processes_then_two(prepared: Path, tmp_path: Path, tools, strategy: str, kind: str) -> None:
    """Accumulation and clipping included; then longer on another number of processes."""
    changes = {"system__strategy": strategy, "optimizer__kind": kind, "schedule__decay": "constant"}
    tools.train(prepared, tmp_path / "alone", overrides=tools.settings(**CHANGES, **changes))
    torchrun(tools, 4, prepared, tmp_path / "four", **{**changes, "schedule__steps": 6})
    messages = torchrun(tools, 2, prepared, tmp_path / "four", "--resume", **changes, system__accumulate=2)
    assert "goes on from" in messages
    assert_equal_runs(tmp_path / "four", tmp_path / "alone")


def test_two_replicas(prepared: Path, tmp_path: Path, alone: Path, tools) -> None:
    """DDP, with micro-batches of unequal numbers of targets."""
    torchrun(tools, 2, prepared, tmp_path / "run", system__accumulate=2)
    assert_equal_runs(tmp_path / "run", alone)


@pytest.mark.parametrize("strategy", ["ddp", pytest.param("fsdp", marks=pytest.mark.slow)])
def test_two_replicas_of_a_task_with_a_controller(prepared: Path, tmp_path: Path, tools, strategy: str) -> None:
    """Parts of the log too, with micro-batches of unequal counts."""
    changes = {"task__kind": "multiple-choice", "task__difficulty": "candidates", "task__weight": 1.0}
    torchrun(tools, 2, prepared, tmp_path / "two", **changes, system__accumulate=2, system__strategy=strategy)
    tools.train(prepared, tmp_path / "one", overrides=tools.settings(**CHANGES, **changes))
    assert_equal_runs(tmp_path / "two", tmp_path / "one")
    logs = [read_log(tmp_path / run / "log.jsonl") for run in ("one", "two")]
    for one, two in zip(*logs, strict=True):
        assert one.keys() == two.keys()
        for part in one.keys() & {"controller_loss", "main_loss", "replace_rate", "replaced_accuracy", "difficulty"}:
            assert one[part] == pytest.approx(two[part], abs=1e-5)
    states = [load_newest(tmp_path / run / "checkpoints", pytest.fail).state for run in ("one", "two")]
    assert states[0].methods["difficulty"] == pytest.approx(states[1].methods["difficulty"], abs=1e-6)


def test_rows_must_divide(prepared: Path, tmp_path: Path, tools, monkeypatch: pytest.MonkeyPatch) -> None:
    from trainer.config import ConfigError
    from trainer.distributed import World, check_divides

    check_divides(World(0, 4), 8)
    with pytest.raises(ConfigError, match="3 processes cannot share a micro-batch of 8 rows"):
        check_divides(World(0, 3), 8)
