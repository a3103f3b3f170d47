"""Whole runs of the tasks with a controller: resumed bit by bit, on two processes, evaluated and loaded again."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from trainer.checkpoint import load_checkpoint, load_newest
from trainer.log import read_log
from trainer.run import load_encoder, load_model

CHOICE = {"task__kind": "multiple-choice", "task__candidates": 5, "model__dropout": 0.1}
TASKS = {
    "choice": {**CHOICE, "task__difficulty": "candidates", "task__difficulty_gain": 0.5},
    "published": {**CHOICE, "task__sampling": "replacement", "task__difficulty": "mask-rate"},
    "replaced": {"task__kind": "replaced-token", "task__difficulty": "temperature", "task__difficulty_gain": 0.5},
}


@pytest.mark.parametrize("name", TASKS)
def test_resumes_bit_by_bit(prepared: Path, tmp_path: Path, tools, name: str) -> None:
    """With the difficulty on its way; the log has the parts, and the end is the held-out loss of the loaded model."""
    changes = {**TASKS[name], "schedule__decay": "constant", "schedule__warmup": 0.0}
    tools.train(prepared, tmp_path / "straight", overrides=tools.settings(**changes))
    for steps, resume in ((10, False), (24, True)):
        overrides = tools.settings(**changes, schedule__steps=steps)
        tools.train(prepared, tmp_path / "resumed", overrides=overrides, resume=resume)
    weights = [load_file(tmp_path / run / "model.safetensors") for run in ("straight", "resumed")]
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])
    states = [load_newest(tmp_path / run / "checkpoints", pytest.fail).state for run in ("straight", "resumed")]
    assert states[0].methods["difficulty"] == states[1].methods["difficulty"]
    assert states[0].methods["difficulty"]["success"] is not None
    records = [r for r in read_log(tmp_path / "straight" / "log.jsonl") if r["kind"] == "train"]
    values = [record["difficulty"] for record in records]
    assert values[0] != values[-1]
    for record in records:
        assert record["loss"] == pytest.approx(record["controller_loss"] + 50 * record["main_loss"], rel=1e-5)
        assert 0 <= record["replaced_accuracy"] <= 1
    assert records[-1]["controller_loss"] < records[0]["controller_loss"]
    assert records[-1]["main_loss"] < records[0]["main_loss"]


@pytest.mark.parametrize("kind", ["multiple-choice", "replaced-token"])
def test_with_notes_and_growth(prepared: Path, tmp_path: Path, tools, kind: str) -> None:
    """The encoder takes notes and grows, the controller does neither; the difficulty goes on through the growth."""
    changes = {
        "task__kind": kind, "task__controller_layers": 1, "task__difficulty": "temperature", "notes__enabled": True,
        "growth__depths": [1, 2], "growth__at": [0.5], "schedule__steps": 12, "schedule__decay": "constant",
        "schedule__warmup": 0.0, "checkpoint__every_steps": 4, "checkpoint__keep": 9,
    }  # fmt: skip
    run = tmp_path / "run"
    tools.train(prepared, run, overrides=tools.settings(**changes))
    model = load_model(run)
    assert (len(model.encoder.layers), len(model.controller.encoder.layers)) == (2, 1)
    assert int(model.encoder.notes.taken_W.sum()) > 0
    assert model.controller.encoder.notes is None
    before, after = (load_checkpoint(run / "checkpoints" / f"step-{step:08d}").state for step in (4, 12))
    assert (before.model["layers"], after.model["layers"]) == (1, 2)
    levels = [state.methods["difficulty"]["level"] for state in (before, after)]
    assert levels[0] != levels[1]
    # From the checkpoint before the growth leads through it to the same weights.
    for step in (8, 12):
        shutil.rmtree(run / "checkpoints" / f"step-{step:08d}")
    tools.train(prepared, run, overrides=tools.settings(**changes), resume=True)
    again = load_model(run).state_dict()
    assert all(torch.equal(tensor, again[name]) for name, tensor in model.state_dict().items())


def test_a_finished_run_is_evaluated_and_loaded(prepared: Path, tmp_path: Path, tools) -> None:
    run = tmp_path / "run"
    result = tools.train(prepared, run, overrides=tools.settings(**TASKS["choice"], optimizer__ema=0.9)).result
    assert result["task"] == "multiple-choice"
    assert {"controller_loss", "main_loss", "replaced_accuracy"} <= result["held_out_parts"].keys()
    code, _, output = tools.invoke_output("evaluate", run, "--json")
    assert code == 0
    found = json.loads(output)
    assert found["task"] == "multiple-choice"
    assert found["held_out_loss"] == pytest.approx(result["held_out_loss_end"], rel=1e-5)
    assert found["parts"] == pytest.approx(result["held_out_parts"], rel=1e-4)
    model = load_model(run)
    assert model.kind == "multiple-choice"
    assert model.settings.candidates == 5
    tokens = torch.arange(6, 22)[None]
    inputs = tokens, torch.ones_like(tokens), torch.arange(16)[None]
    assert torch.equal(load_encoder(run)(*inputs), model.encoder(*inputs))
    code, errors = tools.invoke("fill", run, "a [MASK]")
    assert code == 2
    assert "trained on multiple-choice, which leaves no masked-LM head" in errors
    code, _, output = tools.invoke_output("plan", "--preset", "tiny", "--set", "task.kind=multiple-choice", "--json")
    assert code == 0
    assert json.loads(output)["parameters"] > 1.2e6
    code, errors = tools.invoke("train", prepared, "-o", run, "--resume", "--set", "task.candidates=6")
    assert code == 2
    assert "task.candidates is 6, the run has 5" in errors
