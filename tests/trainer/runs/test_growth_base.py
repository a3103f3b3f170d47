"""Growth from a shallower run, and what `plan` says of growing ones."""

import json
from pathlib import Path

import pytest
from safetensors.torch import load_file

from trainer.config import build_config
from trainer.log import read_log
from trainer.model.flops import flops_per_token
from trainer.run import load_model


def records(run: Path, kind: str) -> list[dict]:
    return [record for record in read_log(run / "log.jsonl") if record["kind"] == kind]


def test_from_a_shallower_run(finished_run: Path, prepared: Path, tmp_path: Path, tools) -> None:
    """Two layers, finished, become four before the first step, then six."""
    run = tmp_path / "run"
    changes = {"model__layers": 6, "growth__depths": [4, 6], "growth__at": [0.5]}
    arguments = tools.sets(tools.settings(**changes))
    code, errors = tools.invoke("train", prepared, "-o", run, "--grow-from", finished_run, *arguments)
    assert code == 0, errors
    first, second = records(run, "growth")
    assert [(r["step"], r["layers_before"], r["layers"]) for r in (first, second)] == [(1, 2, 4), (13, 4, 6)]
    base, result = (json.loads((path / "result.json").read_bytes()) for path in (finished_run, run))
    assert first["loss_before"] == pytest.approx(base["held_out_loss_end"], abs=1e-6)
    assert result["flops_base"] == base["flops"] == pytest.approx(base["tokens"] * flops_per_token(
        load_model(finished_run).config, 32, 0.15))  # fmt: skip
    assert [depth["steps"] for depth in result["depths"]] == [0, 12, 12]
    # Adam's count goes on from the base's 24 steps.
    state = load_file(run / "checkpoints" / "step-00000024" / "optimizer.safetensors")
    assert {float(value) for name, value in state.items() if name.endswith("/step")} == {48.0}
    # The base is not needed again.
    (run / "result.json").unlink()
    for name in ("step-00000018", "step-00000024"):
        for path in (run / "checkpoints" / name).iterdir():
            path.unlink()
        (run / "checkpoints" / name).rmdir()
    whole = (run / "model.safetensors").read_bytes()
    assert tools.train(prepared, run, resume=True).step == 24
    assert (run / "model.safetensors").read_bytes() == whole


@pytest.mark.parametrize(
    ("changes", "code", "message"),
    [
        ({"model__layers": 2}, 2, "has 2 layers, this run begins with 2; there is nothing to grow"),
        ({"model__width": 32}, 2, "is of another shape: model.width is 32, the base has 16"),
        ({"model__norm": "post"}, 2, "model.norm is 'post', the base has 'pre'"),
        ({"optimizer__kind": "muon"}, 2, "carry needs the base's optimizer.kind (adamw), this run has muon"),
        ({"growth__base": "nowhere"}, 1, "key 'growth.base': nowhere: no trained model here"),
    ],
)
def test_a_base_that_does_not_fit(finished_run: Path, prepared: Path, tmp_path: Path, tools, changes, code, message):
    values = {"model__layers": 4, "growth__base": str(finished_run), **changes}
    found, errors = tools.invoke("train", prepared, "-o", tmp_path / "run", *tools.sets(tools.settings(**values)))
    assert (found, message in errors) == (code, True), errors


def test_a_base_of_another_vocabulary(finished_run: Path, prepared: Path, tmp_path: Path, tools) -> None:
    tools.copy_tree(finished_run, tmp_path / "base")
    with open(tmp_path / "base" / "vocabulary" / "siliang.model", "ab") as file:
        file.write(b"\0")
    values = {"model__layers": 4, "growth__base": str(tmp_path / "base")}
    code, errors = tools.invoke("train", prepared, "-o", tmp_path / "run", *tools.sets(tools.settings(**values)))
    assert code == 2
    assert "another vocabulary" in errors


def test_plan_counts_every_depth(tools) -> None:
    shape = ["model.layers=4", "system.device=cpu", "system.threads=1", "schedule.steps=100"]
    grows = ["growth.depths=[1, 2, 4]", "growth.at=[0.25, 0.5]"]

    def planned(*more: str) -> dict:
        return json.loads(tools.invoke_output("plan", "--vocabulary", 600, "--json", *tools.sets([*shape, *more]))[2])

    plain, growing = planned(), planned(*grows)
    each = [flops_per_token(build_config(overrides=shape).encoder(600).model_copy(update={"layers": layers}), 64, 0.15)
            for layers in (1, 2, 4)]  # fmt: skip
    assert growing["tokens"] == plain["tokens"]
    assert growing["flops"] == pytest.approx(plain["tokens"] * (each[0] + each[1] + 2 * each[2]) / 4, rel=1e-3)
    assert growing["parameters"] == plain["parameters"]
    assert [depth["layers"] for depth in growing["depths"]] == [1, 2, 4]
    by_time = ["schedule.by=seconds", "schedule.seconds=100"]
    timed = planned(*grows, *by_time)
    assert timed["hours"] == pytest.approx(100 / 3600)
    assert [d["tokens"] * e for d, e in zip(timed["depths"], each, strict=True)] == pytest.approx(
        [timed["flops"] * share for share in (0.25, 0.25, 0.5)], rel=1e-3
    )
    ramp = ["schedule.batch_ramp=0.5", "schedule.batch_start=4", "system.accumulate=4"]
    ramped = planned(*grows, *ramp)
    assert sum(depth["tokens"] for depth in ramped["depths"]) == pytest.approx(ramped["tokens"], abs=3)
    # Rows go from 4 to 16 over the first half: 4 and 8 in the first quarter, 12 and 16 in the second.
    assert [depth["tokens"] / ramped["tokens"] for depth in ramped["depths"]] == pytest.approx(
        [6 / 52, 14 / 52, 32 / 52], rel=1e-2
    )
