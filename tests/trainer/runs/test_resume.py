"""Killed, stopped and resumed runs end with the weights of the undisturbed one, bit for bit."""

import json
import signal
from itertools import pairwise
from pathlib import Path

import pytest
from safetensors.torch import load_file

from trainer.config import build_config
from trainer.log import read_log
from trainer.loop import StopRequest
from trainer.progress import ProgressLine
from trainer.run import RunDirectory
from trainer.train import Session

# Steps of about 10 ms, so that a signal meets the run on its way; dropout draws from torch's generator.
BUSY = {"data__sequence_length": 64, "data__batch_rows": 32, "schedule__steps": 40, "model__dropout": 0.1}


def same_weights(one: Path, other: Path) -> bool:
    a, b = load_file(one / "model.safetensors"), load_file(other / "model.safetensors")
    return a.keys() == b.keys() and all((a[name] == b[name]).all() for name in a)


def held_out_losses(run: Path) -> list[tuple[int, float]]:
    return [(r["step"], r["loss"]) for r in read_log(run / "log.jsonl") if r["kind"] == "held_out"]


def train_losses(run: Path) -> list[tuple[int, float]]:
    return [(r["step"], r["loss"]) for r in read_log(run / "log.jsonl") if r["kind"] == "train"]


@pytest.fixture(scope="module")
def undisturbed(prepared: Path, tmp_path_factory: pytest.TempPathFactory, tools) -> Path:
    run = tmp_path_factory.mktemp("undisturbed") / "run"
    tools.train(prepared, run, overrides=tools.settings(**BUSY))
    return run


def test_sigkill_and_resume_bit_for_bit(prepared: Path, tmp_path: Path, undisturbed: Path, tools) -> None:
    """Killed before the first checkpoint (step 6) and between later ones; once the number of workers changes."""
    run = tmp_path / "run"
    for step, changes in ((3, {}), (9, {}), (21, {"data__workers": 2})):
        arguments = tools.train_command(prepared, run, "--resume", **BUSY, **changes)
        code, errors = tools.signal_at_step(arguments, run, step, signal.SIGKILL)
        assert code == -signal.SIGKILL, errors
        assert not (run / "result.json").exists()
    done = tools.run_command(tools.command("train", prepared, "--output", run, "--resume"))
    assert done.returncode == 0, done.stderr
    assert "goes on from" in done.stderr
    assert same_weights(run, undisturbed)
    assert train_losses(run) == train_losses(undisturbed)
    assert held_out_losses(run) == held_out_losses(undisturbed)
    ours, theirs = (json.loads((path / "result.json").read_bytes()) for path in (run, undisturbed))
    for key in ("steps", "tokens", "targets", "held_out_loss_start", "held_out_loss_end", "unigram_entropy"):
        assert ours[key] == theirs[key], key


@pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_signal_saves_and_ends(
    prepared: Path, tmp_path: Path, undisturbed: Path, tools, number, exit_code: int
) -> None:
    run = tmp_path / "run"
    changes = {**BUSY, "checkpoint__every_steps": 1000}
    code, errors = tools.signal_at_step(tools.train_command(prepared, run, **changes), run, 8, number)
    assert code == exit_code, errors
    assert "--resume goes on" in errors
    assert "Traceback" not in errors
    if number == signal.SIGINT:
        assert "keeps the checkpoint of step" in errors
        command = errors.rstrip().splitlines()[-1]
        assert command.startswith("  siliang-trainer train ")
        assert command.endswith(" --resume")
    (checkpoint,) = (run / "checkpoints").iterdir()
    stopped = int(checkpoint.name.removeprefix("step-"))
    assert 8 <= stopped < 40
    assert not (run / "result.json").exists()
    outcome = tools.train(prepared, run, resume=True)
    assert outcome.step == 40
    assert same_weights(run, undisturbed)


def test_stopped_before_the_first_step(finished_run: Path, prepared: Path, tmp_path: Path, tools) -> None:
    """A signal during the first evaluation: a checkpoint of step 0, whose optimiser has no state yet."""
    config = build_config(overrides=tools.settings())
    session = Session(prepared, RunDirectory(tmp_path / "run"), config, None, ProgressLine())
    stop = StopRequest()
    stop.requested = True
    assert session.fit(None, stop) is None
    assert [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()] == ["step-00000000"]
    assert tools.train(prepared, tmp_path / "run", resume=True).step == 24
    assert same_weights(tmp_path / "run", finished_run)


def test_a_damaged_newest_checkpoint_costs_only_its_steps(
    prepared: Path, tmp_path: Path, tools, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    tools.train(prepared, run, overrides=tools.settings())
    sound = (run / "model.safetensors").read_bytes()
    newest = run / "checkpoints" / "step-00000024" / "model.safetensors"
    data = bytearray(newest.read_bytes())
    data[-3] ^= 64
    newest.write_bytes(data)
    (run / "result.json").unlink()
    tools.train(prepared, run, resume=True)
    assert "step-00000024: model.safetensors does not match its sha256; falling back" in capsys.readouterr().err
    assert (run / "model.safetensors").read_bytes() == sound
    assert [path.name for path in sorted((run / "checkpoints").iterdir())][-1] == "step-00000024"


def test_a_finished_run_is_left_as_it_is_and_may_be_made_longer(
    prepared: Path, tmp_path: Path, tools, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    first = tools.train(prepared, run, overrides=tools.settings(schedule__decay="constant"))
    before = (run / "model.safetensors").read_bytes()
    assert tools.train(prepared, run, resume=True).result == first.result
    assert "finished already, at step 24" in capsys.readouterr().err
    assert (run / "model.safetensors").read_bytes() == before
    longer = tools.train(prepared, run, overrides=["schedule.steps=30"], resume=True)
    assert longer.result["steps"] == 30
    assert longer.result["held_out_loss_start"] == first.result["held_out_loss_start"]
    straight = tools.train(
        prepared, tmp_path / "straight", overrides=tools.settings(schedule__decay="constant", schedule__steps=30)
    )
    assert longer.result["tokens"] == straight.result["tokens"]


def test_by_seconds_goes_on_with_the_seconds_left(
    prepared: Path, tmp_path: Path, tools, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    clock = tools.settings(schedule__by="seconds", schedule__seconds=0.3)
    first = tools.train(prepared, run, overrides=clock).result
    assert "cannot be reproduced bit for bit" in capsys.readouterr().err
    assert 0.3 <= first["seconds"] < 2
    state = json.loads((run / "checkpoints" / f"step-{first['steps']:08d}" / "state.json").read_bytes())
    assert state["seconds"] == first["seconds"]
    whole = first["seconds"] + 0.3
    result = tools.train(prepared, run, overrides=[f"schedule.seconds={whole}"], resume=True).result
    assert whole <= result["seconds"] < whole + 2
    assert result["steps"] > first["steps"]
    records = [r for r in read_log(run / "log.jsonl") if r["kind"] == "train" and r["step"] > first["steps"]]
    for before, record in pairwise(records):
        # The rate of a step is set by the seconds that had passed when it began.
        expected = 1e-3 * (1 - (before["seconds"] / whole - 0.02) / 0.98)
        assert record["learning_rate"] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["optimizer.learning_rate=0.5"], "optimizer.learning_rate is 0.5, the run has 0.001"),
        (["model.width=32", "system.seed=4"], "model.width is 32, the run has 16; system.seed is 4, the run has 0"),
        (["data.mask_rate=0.3"], "data.mask_rate is 0.3, the run has 0.15"),
    ],
)
def test_another_config_is_refused_by_key(finished_run: Path, prepared: Path, tools, overrides, message) -> None:
    code, errors = tools.invoke("train", prepared, "--output", finished_run, "--resume", *tools.sets(overrides))
    assert code == 2
    assert message in errors


def test_other_shards_are_refused(finished_run: Path, prepared: Path, tmp_path: Path, make_corpus, tools) -> None:
    tools.copy_tree(prepared, tmp_path / "other")
    make_corpus(tmp_path / "other", [[7, 8, 9] * 40] * 9, vocabulary_size=600, valid=[[7, 8, 9] * 40])
    code, errors = tools.invoke("train", tmp_path / "other", "--output", finished_run, "--resume")
    assert code == 2
    assert "was trained on other shards (data train, data valid differ)" in errors


def test_the_same_shards_elsewhere_are_the_same(finished_run: Path, prepared: Path, tmp_path: Path, tools) -> None:
    tools.copy_tree(prepared, tmp_path / "moved")
    tools.copy_tree(finished_run, tmp_path / "run")
    code, errors = tools.invoke("train", tmp_path / "moved", "--output", tmp_path / "run", "--resume")
    assert code == 0, errors
