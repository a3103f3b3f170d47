"""Runs with notes: they resume and roll back bit for bit, and the notes come with the model."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from trainer.checkpoint import load_checkpoint
from trainer.config import ConfigError, build_config
from trainer.evaluate.held_out import evaluate_run
from trainer.info import run_info
from trainer.log import read_log
from trainer.loop import Trainer
from trainer.run import load_model

TABLE, TAKEN = "encoder.notes.table_WD", "encoder.notes.taken_W"
# A constant rate, so that a run of fewer steps is the first part of a longer one.
NOTES = {
    "notes__enabled": True, "notes__half_window": 4, "schedule__steps": 12, "schedule__decay": "constant",
    "schedule__warmup": 0.0, "evaluate__every_steps": 50, "checkpoint__every_steps": 4,
}  # fmt: skip
WARM = {**NOTES, "notes__start": "warm", "notes__warm_step": 2, "notes__refresh_steps": [8], "optimizer__ema": 0.9}


@pytest.fixture(scope="module")
def warm(prepared: Path, tmp_path_factory: pytest.TempPathFactory, tools) -> Path:
    run = tmp_path_factory.mktemp("warm") / "run"
    tools.train(prepared, run, overrides=tools.settings(**WARM))
    return run


def test_resumes_bit_exactly_before_and_after_warming(prepared, tmp_path, tools, warm):
    """Stopped right before the windows are read for the first time, in between, and right before they are read anew."""
    run = tmp_path / "run"
    for steps in (2, 5, 8, 12):
        tools.train(prepared, run, overrides=tools.settings(**{**WARM, "schedule__steps": steps}), resume=True)
    whole, resumed = load_file(warm / "model.safetensors"), load_file(run / "model.safetensors")
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    assert int(whole[TAKEN].sum()) > 0


def test_the_dictionary_lies_in_checkpoints_and_in_the_model(warm):
    checkpoint = load_checkpoint(warm / "checkpoints" / "step-00000012")
    model = load_model(warm)
    assert model.config.notes.words == len(checkpoint.model[TABLE]) == len(model.encoder.notes.table_WD)
    assert torch.equal(model.encoder.notes.table_WD, checkpoint.model[TABLE])
    assert not any("notes" in name for name in [*checkpoint.averages, *checkpoint.optimizer])
    # The last word has no window and is in no training document more often than the run could see.
    assert 0.9 < float((checkpoint.model[TAKEN] > 0).float().mean()) <= 1
    # Unfinished runs too, whose averages hold no dictionary.
    (warm / "model.json").rename(warm / "model.json.kept")
    assert torch.equal(load_model(warm).encoder.notes.table_WD, checkpoint.model[TABLE])
    (warm / "model.json.kept").rename(warm / "model.json")


def test_the_log_and_info_tell_of_the_notes(warm):
    records = [record for record in read_log(warm / "log.jsonl") if record["kind"] == "notes"]
    assert [record["step"] for record in records] == [0, 12]
    assert records[0]["filled"] == records[0]["share"] == 0
    assert records[1]["filled"] > 50
    assert 0 < records[1]["share"] < 0.5
    # Final states come out of a layer norm of width 16, and are averaged.
    assert 0.5 < records[1]["mean_norm"] < 4.1
    assert run_info(warm).notes["filled"] == records[1]["filled"]


def test_evaluation_reads_the_notes_as_in_training(warm):
    """... of the averaged model, which is the final one, and leaves them as they are."""
    result = json.loads((warm / "result.json").read_text())
    assert evaluate_run(warm).held_out_loss == pytest.approx(result["held_out_loss_end"], abs=1e-5)


def test_off_is_the_run_without(prepared, tmp_path, tools, finished_run):
    run = tmp_path / "run"
    tools.train(prepared, run, overrides=tools.settings(notes__share=0.3, notes__gamma=0.5))
    ours, theirs = load_file(run / "model.safetensors"), load_file(finished_run / "model.safetensors")
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_a_share_of_zero_is_the_run_without(prepared, tmp_path, tools):
    """Up to rounding: without notes the last layer is worked out for fewer positions, in products of another shape."""
    for name, changes in (("with", {**NOTES, "notes__share": 0.0}), ("without", {**NOTES, "notes__enabled": False})):
        tools.train(prepared, tmp_path / name, overrides=tools.settings(**changes))
    ours, theirs = (load_file(tmp_path / name / "model.safetensors") for name in ("with", "without"))
    assert all(torch.allclose(ours[name], theirs[name], rtol=0, atol=1e-4) for name in theirs)
    assert float(ours[TABLE].abs().sum()) > 0


def test_a_skipped_step_takes_no_notes(prepared, tmp_path, tools, monkeypatch):
    """... and going back to a checkpoint goes back to its dictionary."""
    tables, real = {}, Trainer.take_step

    def spoilt(trainer: Trainer, batches):
        before = trainer.notes.notes.table_WD.clone()
        if trainer.step in (5, 6) and not trainer.guard.rolled_back:
            weight = trainer.model.encoder.final_norm.weight
            kept = weight.detach().clone()
            weight.data.fill_(float("nan"))
            result = real(trainer, batches)
            weight.data.copy_(kept)
            assert result.skipped
            assert torch.equal(before, trainer.notes.notes.table_WD)
            return result
        result = real(trainer, batches)
        tables.setdefault(trainer.step, []).append((before, trainer.notes.notes.table_WD.clone()))
        return result

    monkeypatch.setattr(Trainer, "take_step", spoilt)
    tools.train(prepared, tmp_path / "run", overrides=tools.settings(**NOTES, guard__patience=2))
    # Step 4 was saved; after the two bad steps step 5 is taken again, from its dictionary.
    assert len(tables[5]) == 2
    assert torch.equal(tables[5][1][0], tables[4][0][1])
    assert not torch.equal(tables[5][1][0], tables[5][1][1])


def test_a_random_start_keeps_the_weights_start(prepared, tmp_path, tools):
    changes = {**NOTES, "schedule__steps": 1, "notes__start": "random", "notes__gamma": 1e-9}
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        tools.train(prepared, tmp_path / name, overrides=tools.settings(**changes, system__seed=seed))
    a, b, c = (load_file(tmp_path / name / "model.safetensors")[TABLE] for name in "abc")
    assert torch.equal(a, b)
    assert not torch.equal(a, c)
    assert float(a.std()) == pytest.approx(0.02, rel=0.05)


@pytest.mark.slow
def test_compiled(prepared, tmp_path, tools):
    for name in ("eager", "compiled"):
        tools.train(prepared, tmp_path / name, overrides=tools.settings(**WARM, system__compile=name == "compiled"))
    eager, compiled = (load_file(tmp_path / name / "model.safetensors") for name in ("eager", "compiled"))
    assert torch.equal(eager[TAKEN], compiled[TAKEN])
    assert torch.allclose(eager[TABLE], compiled[TABLE], atol=1e-4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"notes__start": "random", "notes__filled_only": True}, "random notes would never be used"),
        ({"notes__refresh_steps": [4]}, "need start = 'warm'"),
        ({"notes__start": "warm", "notes__warm_step": 4, "notes__refresh_steps": [4]}, "must rise"),
        ({"notes__enabled": True, "data__mask_rare": "mask"}, "would hardly ever be visible"),
        ({"model__notes": {"words": 3}}, "unknown key 'model.notes'"),
        ({"notes__lambda": 0.5}, "unknown key 'notes.lambda'; allowed here: enabled, share"),
    ],
)
def test_settings_that_make_no_sense_are_refused(prepared, tmp_path, tools, changes, message):
    with pytest.raises(ConfigError, match=message):
        tools.train(prepared, tmp_path / "run", overrides=tools.settings(**changes))


@pytest.mark.parametrize("kind", ["multiple-choice", "replaced-token"])
def test_other_tasks_take_notes_of_their_main_network(prepared, tmp_path, tools, kind):
    run = tmp_path / "run"
    tools.train(prepared, run, overrides=tools.settings(**WARM, task__kind=kind))
    weights = load_file(run / "model.safetensors")
    assert int((weights[TAKEN] > 0).sum()) > 50
    assert sorted(name for name in weights if "notes" in name) == [TABLE, TAKEN]


@pytest.mark.parametrize(
    ("changes", "scale"),
    [({}, "input"), ({"model__norm": "post"}, "input"), ({"model__norm": "post", "notes__place": "after"}, "none"),
     ({"notes__place": "after"}, "none"), ({"notes__place": "after", "model__embedding_norm": False}, "input"),
     ({"notes__scale": "none"}, "none")],
)  # fmt: skip
def test_the_scale_follows_where_notes_enter(tools, changes, scale):
    config = build_config(overrides=tools.settings(**NOTES, **changes))
    assert config.encoder(600, 5).notes.scale == scale
    assert config.encoder(600).notes is None
