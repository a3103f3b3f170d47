"""Filled gaps in the log: fixed texts, deterministic, and without any effect on the run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from trainer.fill import fill
from trainer.log import read_log
from trainer.tokenizer import Tokenizer


def samples(run: Path) -> list[dict]:
    return [record for record in read_log(run / "log.jsonl") if record["kind"] == "sample"]


@pytest.fixture(scope="module")
def run(prepared: Path, tmp_path_factory, tools) -> Path:
    path = tmp_path_factory.mktemp("samples") / "run"
    tools.train(prepared, path, overrides=tools.settings(evaluate__samples=3, optimizer__ema=0.9))
    return path


def test_texts_and_gaps_stay_the_same(run: Path, prepared: Path) -> None:
    found = samples(run)
    assert [(r["step"], r["sample"]) for r in found] == [(s, n) for s in (0, 10, 20, 24) for n in range(3)]
    tokenizer = Tokenizer(prepared / "vocabulary/siliang.model")
    for number in range(3):
        mine = [record for record in found if record["sample"] == number]
        assert len({tuple(record["text"]) for record in mine}) == 1
        assert len({tuple(gap["truth"] for gap in record["gaps"]) for record in mine}) == 1
        text, gaps = mine[0]["text"], mine[0]["gaps"]
        assert len(text) == len(gaps) + 1 >= 2
        whole = "".join(
            part
            for pair in zip(text, [*(gap["truth"].replace("▁", " ") for gap in gaps), ""], strict=True)
            for part in pair
        )
        assert " ".join(whole.split()) in " ".join(
            " ".join(path.read_text(encoding="utf-8").split())
            for path in sorted((Path(__file__).parents[3] / "samples/moby-dick").glob("*.txt"))
        )
        assert all(tokenizer.encode(gap["truth"].replace("▁", "")) for gap in gaps)
    for gap in (gap for record in found for gap in record["gaps"]):
        assert 0 < gap["truth_probability"] <= gap["probability"] <= 1 or gap["filled"] != gap["truth"]


def test_the_last_ones_are_what_the_finished_model_fills(run: Path) -> None:
    """`fill` on the same text; whole documents only, since it sees no neighbours' rows."""
    record = samples(run)[-1]
    assert record["step"] == 24
    best = {gap["filled"]: gap["probability"] for gap in record["gaps"]}
    masked = "[MASK]".join(record["text"]).strip()
    told = [gaps[0] for gaps in fill(run, masked)]
    assert len(told) == len(record["gaps"])
    assert {gap.piece for gap in told} & best.keys()


def test_they_change_nothing_else(run: Path, prepared: Path, tmp_path: Path, tools) -> None:
    tools.train(prepared, tmp_path / "bare", overrides=tools.settings(optimizer__ema=0.9))
    assert samples(tmp_path / "bare") == []
    ours, theirs = (load_file(path / "model.safetensors") for path in (run, tmp_path / "bare"))
    assert all((ours[name] == theirs[name]).all() for name in ours)
    losses = [
        [(r["kind"], r["step"], r["loss"]) for r in read_log(path / "log.jsonl") if "loss" in r]
        for path in (run, tmp_path / "bare")
    ]
    assert losses[0] == losses[1]


def test_a_resumed_run_has_them_once(run: Path, prepared: Path, tmp_path: Path, tools) -> None:
    half = tmp_path / "half"
    tools.train(prepared, half, overrides=tools.settings(evaluate__samples=3, optimizer__ema=0.9, schedule__steps=24))
    tools.copy_tree(half / "checkpoints", tmp_path / "kept")
    for path in (half / "checkpoints").iterdir():
        if path.name > "step-00000012":
            for file in path.iterdir():
                file.unlink()
            path.rmdir()
    tools.train(prepared, half, resume=True, overrides=tools.settings(evaluate__samples=3, optimizer__ema=0.9))
    assert samples(half) == samples(run)


@pytest.mark.parametrize("kind", ["multiple-choice", "replaced-token"])
def test_tasks_with_a_controller_show_what_it_fills(prepared: Path, tmp_path: Path, tools, kind: str) -> None:
    changes = {"task__kind": kind, "evaluate__samples": 2, "schedule__steps": 4, "system__log_every": 2}
    tools.train(prepared, tmp_path / "run", overrides=tools.settings(**changes))
    found = samples(tmp_path / "run")
    assert [(record["step"], record["sample"]) for record in found] == [(0, 0), (0, 1), (4, 0), (4, 1)]
    assert all(gap["probability"] > 0 for record in found for gap in record["gaps"])


@pytest.mark.slow
def test_sharded_processes_show_what_one_does(prepared: Path, tmp_path: Path, run: Path, tools) -> None:
    arguments = tools.train_command(
        prepared, tmp_path / "run", evaluate__samples=3, optimizer__ema=0.9, system__strategy="fsdp"
    )
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    root = Path(__file__).parents[3]
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*launcher, *arguments[1:]], cwd=root, env=environment, capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, done.stderr
    ours, theirs = samples(tmp_path / "run"), samples(run)
    assert [(r["step"], r["text"]) for r in ours] == [(r["step"], r["text"]) for r in theirs]
    for one, other in zip(ours, theirs, strict=True):
        for a, b in zip(one["gaps"], other["gaps"], strict=True):
            assert a["truth_probability"] == pytest.approx(b["truth_probability"], abs=2e-4)
