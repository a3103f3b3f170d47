"""The run's care: full disks, roll-backs, ramps, averages; and the commands around a run."""

import json
import resource
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from trainer.bench import made_up_batch
from trainer.checkpoint import CheckpointError, load_checkpoint, load_newest
from trainer.config import build_config
from trainer.info import run_info, sparkline
from trainer.log import read_log
from trainer.loop import StopRequest, Trainer
from trainer.progress import ProgressLine
from trainer.run import RunDirectory
from trainer.tasks import masked_lm
from trainer.tasks.masked_lm import MaskedLM
from trainer.train import Session


def same_weights(one: Path, other: Path) -> bool:
    a, b = load_file(one / "model.safetensors"), load_file(other / "model.safetensors")
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def everything(tools, **changes: object) -> list[str]:
    """All that a checkpoint must carry: Muon, EMA, dropout, a ramp, tokens as the clock."""
    return tools.settings(
        **{
            "optimizer__kind": "muon", "optimizer__ema": 0.95, "model__dropout": 0.1, "schedule__by": "tokens",
            "schedule__tokens": 4000, "schedule__decay": "wsd", "schedule__batch_ramp": 0.5,
            "schedule__batch_start": 4, "system__accumulate": 2, "checkpoint__every_steps": 4, **changes,
        }
    )  # fmt: skip


def test_everything_is_resumed_bit_for_bit(prepared: Path, tmp_path: Path, tools) -> None:
    straight = tools.train(prepared, tmp_path / "straight", overrides=everything(tools))
    sizes = [r["tokens"] for r in read_log(tmp_path / "straight" / "log.jsonl") if r["kind"] == "train"]
    steps = [b - a for a, b in zip([0, *sizes], sizes, strict=False)]
    assert 1.6 < max(steps) / steps[0] < 2.4  # 4 rows, then 8
    assert straight.result["tokens"] >= 4000
    run = tmp_path / "cut"
    config = build_config(overrides=everything(tools))
    torch.manual_seed(5)
    session = Session(prepared, RunDirectory(run), config, None, ProgressLine(quiet=True))
    stop, take = StopRequest(), session.trainer.take_step

    def until_six(batches):
        stop.requested = session.trainer.step == 5
        return take(batches)

    session.trainer.take_step = until_six
    assert session.fit(None, stop) is None
    checkpoint = load_newest(run / "checkpoints", pytest.fail)
    assert checkpoint is not None
    assert checkpoint.state.step == 6
    assert checkpoint.averages.keys() == dict(session.model.named_parameters()).keys()
    assert tools.train(prepared, run, resume=True).step == straight.step
    assert same_weights(run, tmp_path / "straight")
    averages = load_newest(run / "checkpoints", pytest.fail).averages
    final = load_file(run / "model.safetensors")
    assert all(torch.equal(averages[name], final[name]) for name in averages)


def test_a_full_disk_costs_a_checkpoint_not_the_run(prepared: Path, tmp_path: Path, tools, capsys) -> None:
    """Files may not grow beyond a limit from step 8 to 16, as on a full disk."""
    run = tmp_path / "run"
    config = build_config(overrides=tools.settings())
    session = Session(prepared, RunDirectory(run), config, None, ProgressLine())
    limits, take = resource.getrlimit(resource.RLIMIT_FSIZE), session.trainer.take_step

    def on_a_full_disk(batches):
        full = 8 <= session.trainer.step < 16
        if not full:
            session.writer.wait()
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000 if full else limits[0], limits[1]))
        return take(batches)

    session.trainer.take_step = on_a_full_disk
    try:
        assert session.fit(None, StopRequest()) is not None
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    errors = capsys.readouterr().err
    assert "a checkpoint could not be written" in errors
    assert "training goes on" in errors
    names = [path.name for path in sorted((run / "checkpoints").iterdir())]
    assert names == ["step-00000006", "step-00000018", "step-00000024"]
    assert load_checkpoint(run / "checkpoints" / "step-00000006").state.step == 6


def test_bad_batches_are_skipped_then_left_behind(prepared: Path, tmp_path: Path, tools, capsys) -> None:
    """The forward gives NaN on four batches: three skipped, back to the checkpoint, on with the rows behind them."""
    run = tmp_path / "run"
    config = build_config(overrides=tools.settings())
    session = Session(prepared, RunDirectory(run), config, None, ProgressLine())
    model, calls = session.model, []
    original = model.forward

    def poisoned(batch):
        output = original(batch)
        if model.training:
            calls.append(batch.rows[0])
        bad = model.training and 9 <= len(calls) <= 11
        return output.__class__(output.loss * float("nan"), output.parts, output.targets) if bad else output

    model.forward = poisoned
    assert session.fit(None, StopRequest()) is not None
    errors = capsys.readouterr().err
    assert errors.count("skipped step") == 3
    assert "skipped step 9: loss nan" in errors
    assert "epoch 0, window" in errors
    assert "goes back to" in errors
    assert "step-00000006" in errors
    assert len(calls) == 11 + 18  # steps 7 to 24 after the roll-back
    assert len(set(calls)) == len(calls)  # no row twice
    assert session.trainer.step == 24
    state = load_newest(run / "checkpoints", pytest.fail).state
    assert (state.guard["skipped"], state.guard["rolled_back"]) == (3, 1)
    assert run_info(run).skipped == 3


def test_the_head_in_parts_and_recomputed_layers_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    config = build_config(preset="tiny", overrides=["model.layers=2", "model.dropout=0.1"])
    batch = made_up_batch(8, 64, 500, 0.2)
    gradients = []
    for logits, recompute in ((1 << 24, False), (500 * 7, True)):
        monkeypatch.setattr(masked_lm, "HEAD_LOGITS", logits)
        torch.manual_seed(0)
        model = MaskedLM(config.encoder(500))
        model.encoder.recompute = recompute
        torch.manual_seed(1)
        loss = model(batch).loss
        loss.backward()
        gradients.append([loss.detach(), *(p.grad for p in model.parameters())])
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def test_deterministic_dropout_per_step() -> None:
    """Whatever was drawn in between."""
    config = build_config(preset="tiny", overrides=["model.layers=1", "model.dropout=0.5"])
    losses = []
    for drawn in (0, 3):
        torch.manual_seed(0)
        trainer = Trainer(MaskedLM(config.encoder(500)), config, torch.device("cpu"), "fp32")
        torch.rand(drawn)
        batch = made_up_batch(4, 64, 500, 0.2)
        losses.append([trainer.take_step([batch]).loss for _ in range(3)])
    assert losses[0] == losses[1]
    assert len(set(losses[0])) == 3


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_one_batch_is_learnt_by_heart(kind: str) -> None:
    config = build_config(
        preset="tiny", overrides=["model.layers=1", f"optimizer.kind={kind}", "schedule.steps=40", "schedule.warmup=0"]
    )
    torch.manual_seed(0)
    trainer = Trainer(MaskedLM(config.encoder(500)), config, torch.device("cpu"), "fp32")
    batch = made_up_batch(4, 64, 500, 0.2)
    losses = [trainer.take_step([batch]).loss for _ in range(40)]
    assert losses[0] > 6
    assert losses[-1] < losses[0] - 2


def test_info(finished_run: Path, prepared: Path, tools) -> None:
    code, _, output = tools.invoke_output("info", finished_run, "--json")
    assert code == 0
    found = json.loads(output)
    assert found["status"] == "finished"
    assert found["checkpoints"] == [12, 18, 24]
    assert found["best"] == 24
    assert [point["step"] for point in found["curve"]] == [0, 10, 20, 24]
    assert len(found["source"]) == 16
    assert found["config"]["model"]["width"] == 16
    assert found["data"].keys() == {"train", "valid", "vocabulary", "vocabulary_size"}
    code, _, output = tools.invoke_output("info", finished_run)
    assert code == 0
    assert f"source {found['source']}" in output
    assert f"{found['curve'][-1]['loss']:.4f}" in output
    code, errors = tools.invoke("info", prepared)
    assert code == 1
    assert "no run here" in errors


def test_sparkline() -> None:
    assert sparkline([]) == ""
    assert sparkline([3.0, 3.0]) == "▁▁"
    assert sparkline([8, 7, 6, 5, 4, 3, 2, 1]) == "█▇▆▅▄▃▂▁"
    assert len(sparkline(list(range(1000)), 40)) == 40


def test_plan_counts_what_the_model_has(tools) -> None:
    settings = tools.sets(["system.device=cpu", "system.threads=1", "optimizer.ema=0.9"])
    code, _, output = tools.invoke_output("plan", "--preset", "base", "--vocabulary", 30522, "--json", *settings)
    assert code == 0
    found = json.loads(output)
    config = build_config(preset="base")
    assert found["parameters"] == sum(p.numel() for p in MaskedLM(config.encoder(30522)).parameters())
    assert found["state_bytes"] == 4 * 5 * found["parameters"]
    assert found["steps"] == 100_000
    assert found["tokens"] == pytest.approx(100_000 * 256 * 512, rel=0.03)
    assert found["hours"] == pytest.approx(found["flops"] / (found["gflops"] * 1e9 * 0.4) / 3600)
    recomputed = tools.invoke_output("plan", "--preset", "base", "--json", *settings, "--set", "system.recompute=true")
    assert json.loads(recomputed[2])["activation_bytes"] < found["activation_bytes"] / 3


def test_bench_measures_a_step(tools) -> None:
    small = ["model.layers=1", "system.device=cpu", "system.threads=1", "system.precision=fp32"]
    code, _, output = tools.invoke_output("bench", "--seconds", 0.1, "--json", *tools.sets(small))
    assert code == 0
    found = json.loads(output)
    assert sum(found["shares"].values()) == pytest.approx(1)
    assert found["tokens_per_second"] == pytest.approx(16 * 64 / found["step_seconds"])
    assert 0 < found["mfu"] < 1


def test_sweep_stops_the_worse_half(prepared: Path, tmp_path: Path, tools) -> None:
    settings = tools.sets(tools.settings(schedule__steps=24, optimizer__weight_decay=0.0))
    arguments = ("sweep", prepared, "-o", tmp_path, "--rates", "1e-3,3.0,1e37", "--rungs", 2, "--json", *settings)
    code, errors, output = tools.invoke_output(*arguments)
    assert code == 0, errors
    trials = {trial["learning_rate"]: trial["losses"] for trial in json.loads(output.splitlines()[-1])}
    assert json.loads(output.splitlines()[-1])[0]["learning_rate"] == 1e-3, output
    assert [len(trials[rate]) for rate in (1e-3, 3.0, 1e37)] == [2, 2, 1]
    assert trials[1e37] == [None]  # it diverged
    assert trials[1e-3][1] < trials[3.0][1]
    assert (tmp_path / "rung-1" / "lr-0.001" / "result.json").is_file()


class Counter:
    """A method: counts the steps it is told of."""

    def __init__(self) -> None:
        self.seen, self.total = 0, 0.0

    def state(self) -> dict:
        return {"seen": self.seen, "total": self.total}

    def load(self, state: dict) -> None:
        self.seen, self.total = state["seen"], state["total"]

    def observe(self, step: int, parts) -> None:
        self.seen += 1
        self.total += parts["masked_lm"] / step


def test_methods_are_told_of_steps_and_resume(
    prepared: Path, tmp_path: Path, tools, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a checkpoint of a method that this run does not have is refused; one from before methods is not."""
    monkeypatch.setattr(MaskedLM, "methods", lambda self: {"counter": Counter()})
    states = []
    for stops in ((24,), (10, 24)):
        run = tmp_path / f"run-{len(stops)}"
        for steps in stops:
            changes = {"schedule__steps": steps, "schedule__decay": "constant", "schedule__warmup": 0.0}
            tools.train(prepared, run, overrides=tools.settings(**changes), resume=steps != stops[0])
        states.append(load_newest(run / "checkpoints", pytest.fail).state.methods["counter"])
    assert states[0] == states[1]
    assert states[0]["seen"] == 24
    assert states[0]["total"] > 1
    monkeypatch.undo()
    with pytest.raises(CheckpointError, match="unknown methods: counter"):
        tools.train(prepared, run, overrides=["schedule.steps=30"], resume=True)
    state = run / "checkpoints" / "step-00000024" / "state.json"
    raw = json.loads(state.read_bytes())
    del raw["methods"]
    raw["config"].pop("task")
    state.write_text(json.dumps(raw), encoding="utf-8")
    assert tools.train(prepared, run, overrides=["schedule.steps=30"], resume=True).step == 30
