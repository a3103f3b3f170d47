"""A student that learns from a run: its loss, its start, its resume, stored logits, several processes."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from trainer.checkpoint import load_newest
from trainer.log import read_log
from trainer.run import load_model

STUDENT = {
    "model__layers": 1,
    "model__positions": "absolute",
    "schedule__steps": 12,
    "evaluate__every_steps": 6,
    "optimizer__learning_rate": 0.01,
}


@pytest.fixture(scope="module")
def teacher(prepared: Path, tmp_path_factory: pytest.TempPathFactory, tools) -> Path:
    """Past the frequencies of the pieces, so that there is something to be learnt from it."""
    run = tmp_path_factory.mktemp("teacher") / "run"
    told = {"schedule__steps": 60, "optimizer__learning_rate": 0.02, "model__positions": "absolute"}
    tools.train(prepared, run, overrides=tools.settings(**told, evaluate__every_steps=60, checkpoint__every_steps=60))
    return run


def student(teacher: Path, **changes: object) -> dict[str, object]:
    return {**STUDENT, "distillation__teacher": str(teacher), **changes}


def parts(run: Path, name: str) -> list[float]:
    return [record[name] for record in read_log(run / "log.jsonl") if record["kind"] == "train"]


def weights(run: Path) -> bytes:
    return (run / "model.safetensors").read_bytes()


def test_a_student_follows_its_teacher(teacher: Path, prepared: Path, tmp_path: Path, tools) -> None:
    """Narrower than its teacher, states and relations matched: every part falls, and nothing of the teacher is kept."""
    before = weights(teacher)
    changes = {"model__width": 8, "model__positions": "tupe-a", "notes__enabled": True, "optimizer__ema": 0.9}
    matched = {"distillation__hidden": 1.0, "distillation__attention": 1.0, "distillation__weight": 0.9}
    run = tmp_path / "run"
    told = tools.settings(**student(teacher, **changes, **matched, distillation__temperature=2.0, schedule__steps=24))
    result = tools.train(prepared, run, overrides=told).result
    for name in ("masked_lm", "divergence", "hidden", "attention"):
        found = parts(run, name)
        assert sum(found[12:]) < sum(found[:12]), name
    assert weights(teacher) == before
    model = load_model(run)
    assert model.config.width == 8
    assert not [name for name in model.state_dict() if name.startswith("training_only")]
    held = [record for record in read_log(run / "log.jsonl") if record["kind"] == "held_out"]
    assert held[-1]["loss"] == held[-1]["masked_lm"]
    assert held[-1]["divergence"] > 0
    state = load_newest(run / "checkpoints", warn=lambda text: None)
    extra = state.model.keys() - model.state_dict().keys()
    assert extra == {"training_only.0.weight", "training_only.0.bias"}
    assert result["teacher"] == state.state.methods["distillation"]["teacher"]
    # An unfinished student is a model as well.
    (run / "model.safetensors").unlink()
    assert load_model(run).config == model.config


def test_only_the_teachers_word(teacher: Path, prepared: Path, tmp_path: Path, tools) -> None:
    """weight = 0 is plain masked-LM training; a student that starts as all of its teacher has nothing to learn."""
    tools.train(prepared, tmp_path / "plain", overrides=tools.settings(**STUDENT))
    unheard = tools.settings(**student(teacher, distillation__weight=0.0))
    tools.train(prepared, tmp_path / "unheard", overrides=unheard)
    a, b = (load_file(tmp_path / name / "model.safetensors") for name in ("plain", "unheard"))
    assert all(torch.allclose(a[name], b[name], atol=1e-6) for name in a)
    same = {"model__layers": 2, "distillation__layers": [0, 1], "schedule__steps": 1, "distillation__hidden": 1.0}
    run = tmp_path / "same"
    tools.train(prepared, run, overrides=tools.settings(**student(teacher, **same, model__dropout=0.0)))
    assert abs(parts(run, "divergence")[0]) < 1e-6
    assert parts(run, "hidden")[0] < 1e-9


def test_a_start_from_chosen_layers(teacher: Path, prepared: Path, tmp_path: Path, tools) -> None:
    run = tmp_path / "run"
    told = tools.settings(**student(teacher, distillation__layers=[1], optimizer__learning_rate=1e-12))
    tools.train(prepared, run, overrides=told)
    own, theirs = load_model(run).state_dict(), load_model(teacher).state_dict()
    for name, tensor in own.items():
        source = name.replace("encoder.layers.0.", "encoder.layers.1.")
        assert torch.allclose(tensor, theirs[source], atol=1e-6), name


@pytest.mark.parametrize(
    ("changes", "code", "message"),
    [
        ({"distillation__layers": [0, 1]}, 2, "[0, 1]: must be 1 numbers, one for each of the student's layers, below"),
        ({"distillation__layers": [2]}, 2, "below the teacher's 2"),
        ({"distillation__layers": [0], "model__width": 8}, 2, "model.width is 8, the teacher has 16"),
        ({"distillation__teacher": "nowhere"}, 1, "key 'distillation.teacher': nowhere: no trained model here"),
        ({"distillation__teacher": ""}, 2, "key 'distillation': distillation.weight does nothing without"),
        ({"data__sequence_length": 64}, 2, "reads rows of up to 32 tokens; data.sequence_length is 64"),
        ({"task__kind": "replaced-token"}, 2, "[distillation] is for task.kind masked-lm"),
        ({"growth__depths": [1, 2], "growth__at": [0.5], "model__layers": 2}, 2, "a student keeps its depth"),
        ({"distillation__attention": 1.0, "distillation__relation_heads": 3}, 2, "must divide both widths"),
        ({"distillation__hidden": 1.0, "distillation__layer_map": [5]}, 2, "key 'distillation.layer_map': [5]"),
        ({"distillation__logits": "nowhere"}, 1, "nowhere: no stored logits here; `siliang-trainer compress teach`"),
    ],
)
def test_what_does_not_fit(teacher: Path, prepared: Path, tmp_path: Path, tools, changes, code, message) -> None:
    values = student(teacher, **{"distillation__weight": 0.7, **changes})
    found, errors = tools.invoke("train", prepared, "-o", tmp_path / "run", *tools.sets(tools.settings(**values)))
    assert (found, message in errors) == (code, True), errors
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_resumed_bit_by_bit(teacher: Path, prepared: Path, tmp_path: Path, tools) -> None:
    """Also where the teacher has moved; another teacher is refused."""
    told = student(teacher, distillation__hidden=1.0, model__dropout=0.1, model__width=8)
    whole, half = tmp_path / "whole", tmp_path / "half"
    tools.train(prepared, whole, overrides=tools.settings(**told))
    shutil.copytree(whole, half)
    shutil.rmtree(half / "checkpoints" / "step-00000012")
    moved = tmp_path / "moved"
    shutil.copytree(teacher, moved)
    tools.train(prepared, half, overrides=[f'distillation.teacher="{moved}"'], resume=True)
    assert weights(half) == weights(whole)
    other = tmp_path / "other"
    tools.train(prepared, other, overrides=tools.settings(schedule__steps=1))
    shutil.rmtree(half / "checkpoints" / "step-00000012")
    flags = ["--resume", "--set", f'distillation.teacher="{other}"']
    code, errors = tools.invoke("train", prepared, "-o", half, *flags)
    assert (code, "has learnt from another teacher" in errors) == (1, True), errors
    code, errors = tools.invoke("train", prepared, "-o", half, "--resume", *tools.sets(tools.settings(**STUDENT)),
                                "--set", 'distillation.teacher=""')  # fmt: skip
    assert code == 2, errors


def test_stored_logits(teacher: Path, prepared: Path, tmp_path: Path, tools) -> None:
    """They give what the teacher gives that runs along, resumed as well, and belong to their masks alone."""
    told = {**STUDENT, "distillation__top_k": 8, "distillation__temperature": 2.0, "schedule__steps": 8}
    values = tools.sets(tools.settings(**told, distillation__teacher=str(teacher)))
    store = tmp_path / "store"
    code, errors, printed = tools.invoke_output("compress", "teach", teacher, prepared, *values, "-o", store, "--json")
    assert code == 0, errors
    assert {"rows": 64, "top_k": 8}.items() <= json.loads(printed).items()
    assert tools.invoke("compress", "teach", teacher, prepared, *values, "-o", store)[0] == 2
    live, read = tmp_path / "live", tmp_path / "read"
    tools.train(prepared, live, overrides=tools.settings(**told, distillation__teacher=str(teacher)))
    stored = {**told, "distillation__logits": str(store)}
    tools.train(prepared, read, overrides=tools.settings(**stored, data__workers=2, system__accumulate=2))
    assert parts(read, "divergence") == pytest.approx(parts(live, "divergence"), rel=5e-3)
    a, b = load_file(live / "model.safetensors"), load_file(read / "model.safetensors")
    assert max(float((a[name] - b[name]).abs().max()) for name in a) < 1e-2
    whole = weights(read)
    shutil.rmtree(read / "checkpoints" / "step-00000008")
    tools.train(prepared, read, resume=True)
    assert weights(read) == whole
    for changes, code, message in (
        ({"system__seed": 1}, 2, "taught for other rows or masks (seed differ"),
        ({"data__mask_rate": 0.2}, 2, "(masking differ"),
        ({"distillation__temperature": 1.0}, 2, "taught at temperature 2"),
        ({"distillation__top_k": 9}, 2, "holds top_k = 8"),
        ({"schedule__steps": 20}, 1, "is not stored; teach more steps"),
    ):
        run = ["train", prepared, "-o", tmp_path / "bad", *tools.sets(tools.settings(**{**stored, **changes}))]
        found, errors = tools.invoke(*run)
        assert (found, message in errors) == (code, True), errors
        shutil.rmtree(tmp_path / "bad", ignore_errors=True)
    part = store / "source-00" / "part-00000.arrow"
    part.write_bytes(part.read_bytes()[:-100])
    found, errors = tools.invoke("train", prepared, "-o", tmp_path / "bad", *tools.sets(tools.settings(**stored)))
    assert (found, "run `siliang-trainer compress teach` again" in errors) == (1, True), errors


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_two_processes(teacher: Path, prepared: Path, tmp_path: Path, tools, strategy: str) -> None:
    told = student(teacher, distillation__hidden=1.0, schedule__steps=6, model__width=8, system__strategy=strategy)
    if strategy == "ddp":
        told["distillation__attention"] = 0.5
    tools.train(prepared, tmp_path / "one", overrides=tools.settings(**told))
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    arguments = tools.train_command(prepared, tmp_path / "two", **told)[1:]
    environment = {**os.environ, "PYTHONPATH": str(tools.root), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*launcher, *arguments], cwd=tools.root, env=environment, capture_output=True, text=True,
                          timeout=200)  # fmt: skip
    assert done.returncode == 0, done.stderr
    for name in ("divergence", "hidden", "loss", *(["attention"] if strategy == "ddp" else [])):
        assert parts(tmp_path / "two", name) == pytest.approx(parts(tmp_path / "one", name), abs=1e-5), name


@pytest.mark.slow
def test_compiled(teacher: Path, prepared: Path, tmp_path: Path, tools, capsys) -> None:
    told = student(teacher, distillation__hidden=1.0, distillation__attention=0.5, schedule__steps=4)
    tools.train(prepared, tmp_path / "a", overrides=tools.settings(**told, system__compile=True))
    assert "torch.compile does not work" not in capsys.readouterr().err
    tools.train(prepared, tmp_path / "b", overrides=tools.settings(**told))
    assert parts(tmp_path / "a", "loss") == pytest.approx(parts(tmp_path / "b", "loss"), abs=1e-4)
