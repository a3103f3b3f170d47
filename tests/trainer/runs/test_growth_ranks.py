"""A run that grows on two processes is the run on one."""

from pathlib import Path

import pytest
from safetensors.torch import load_file

from trainer.log import read_log


def records(run: Path, kind: str) -> list[dict]:
    return [record for record in read_log(run / "log.jsonl") if record["kind"] == kind]


@pytest.mark.parametrize("strategy", ["ddp", pytest.param("fsdp", marks=pytest.mark.slow)])
def test_two_processes(prepared: Path, tmp_path: Path, tools, strategy: str) -> None:
    """Both rules that differ most, muon's groups and the averages: one layer, then four."""
    changes = {
        "model__layers": 4, "growth__depths": [1, 4], "growth__at": [0.5], "schedule__steps": 8,
        "optimizer__ema": 0.9, "optimizer__kind": "muon", "growth__rule": "interleave" if strategy == "ddp" else
        "identity",
    }  # fmt: skip
    tools.train_on_two(prepared, tmp_path / "two", tools.settings(**changes, system__strategy=strategy))
    tools.train(prepared, tmp_path / "one", overrides=tools.settings(**changes))
    for kind, key in (("train", "loss"), ("growth", "loss_after"), ("held_out", "loss")):
        two, one = ([r[key] for r in records(tmp_path / name, kind)] for name in ("two", "one"))
        assert two == pytest.approx(one, abs=1e-5), kind
    a, b = (load_file(tmp_path / name / "model.safetensors") for name in ("two", "one"))
    assert a.keys() == b.keys()
    assert all((a[name] - b[name]).abs().max() < 1e-4 for name in a)
