"""Every arm of the fair test: resumed bit for bit, and on two processes the run that it is on one."""

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from benchmarks.ablations.arms import Choice, read_arms
from trainer.log import read_log

ARMS = read_arms()
CHOSEN = {"all": "Pre-LN, stacking from two layers, high mask rate"}
"""What a search took, where the arm as it is has little of it."""
SHORT = {
    "model.layers": 4, "schedule.steps": 12, "evaluate.every_steps": 6, "checkpoint.every_steps": 4,
    "checkpoint.keep": 9, "data.mask_rate_steps": 6, "notes.warm_step": 2, "notes.half_window": 4,
}  # fmt: skip
"""In place of what is written for whole budgets."""
ALWAYS = ("model.layers", "schedule.steps", "evaluate.every_steps", "checkpoint.every_steps", "checkpoint.keep")


def overrides(tools, name: str) -> list[str]:
    arm = ARMS[name]
    choices = {choice.name: choice for choice in arm.choices}
    values = {**arm.values, **choices.get(CHOSEN.get(name, ""), Choice("", {})).values}
    values |= {key: value for key, value in SHORT.items() if key in values or key in ALWAYS}
    return tools.settings(**{key.replace(".", "__"): value for key, value in values.items()})


@pytest.mark.slow
@pytest.mark.parametrize("name", ARMS)
def test_resumed_and_on_two_processes(prepared: Path, tmp_path: Path, tools, name: str, capsys) -> None:
    given = overrides(tools, name)
    straight, resumed, two = (tmp_path / run for run in ("straight", "resumed", "two"))
    tools.train(prepared, straight, overrides=given)
    whole = load_file(straight / "model.safetensors")

    tools.copy_tree(straight, resumed)
    for later in ("step-00000008", "step-00000012"):
        shutil.rmtree(resumed / "checkpoints" / later)
    for end in ("model.safetensors", "model.json", "result.json"):
        (resumed / end).unlink()
    tools.train(prepared, resumed, resume=True)
    assert "step-00000004" in capsys.readouterr().err
    again = load_file(resumed / "model.safetensors")
    assert whole.keys() == again.keys()
    assert all(torch.equal(whole[key], again[key]) for key in whole)

    tools.train_on_two(prepared, two, given)
    for kind in ("train", "held_out"):
        one, other = ([r["loss"] for r in read_log(run / "log.jsonl") if r["kind"] == kind] for run in (straight, two))
        assert other == pytest.approx(one, abs=1e-5, rel=1e-5), kind
    both = load_file(two / "model.safetensors")
    assert whole.keys() == both.keys()
    assert {key for key in whole if (whole[key] - both[key]).abs().max() > 1e-4} == set()


def test_what_a_search_took_is_a_choice_of_its_arm() -> None:
    for name, chosen in CHOSEN.items():
        assert chosen in {choice.name for choice in ARMS[name].choices}
