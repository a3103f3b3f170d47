"""Runs that grow: what is carried, what is logged, and that a resumed one cannot be told from an undisturbed one."""

import json
import multiprocessing
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from trainer import train as train_module
from trainer.checkpoint import load_checkpoint, load_newest
from trainer.config import build_config
from trainer.deepen import deepen
from trainer.evaluate.held_out import evaluate_run
from trainer.log import SilentLog, read_log
from trainer.loop import StopRequest, Trainer
from trainer.model.flops import flops_per_token
from trainer.progress import ProgressLine
from trainer.run import RunDirectory, load_model
from trainer.tasks.masked_lm import MaskedLM
from trainer.train import Session

GROWS = {"model__layers": 4, "growth__depths": [1, 2, 4], "growth__at": [0.25, 0.5], "growth__warmup_steps": 2}
"""Of 24 steps: one layer for 6, two for 6, four for 12."""


def records(run: Path, kind: str) -> list[dict]:
    return [record for record in read_log(run / "log.jsonl") if record["kind"] == kind]


def same_tensors(one: Path, other: Path) -> bool:
    a, b = load_file(one), load_file(other)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.fixture(scope="module")
def grown(prepared: Path, tmp_path_factory: pytest.TempPathFactory, tools) -> Path:
    """24 steps with all that a growth must carry; tests must not change it."""
    run = tmp_path_factory.mktemp("grown") / "run"
    tools.train(prepared, run, overrides=tools.settings(**EVERYTHING))
    return run


NOTES = {"notes__enabled": True, "notes__half_window": 4}
EVERYTHING = {
    **GROWS, **NOTES, "optimizer__kind": "muon", "optimizer__ema": 0.9, "model__dropout": 0.1, "notes__start": "warm",
    "notes__warm_step": 3, "notes__refresh_steps": [6, 13],
}  # fmt: skip


def session_at(prepared: Path, run: Path, tools, steps: int, **changes: object) -> Session:
    """A session some steps on, before its growth."""
    config = build_config(overrides=tools.settings(model__layers=4, growth__depths=[2, 4], growth__at=[0.5], **changes))
    session = Session(prepared, RunDirectory(run), config, None, ProgressLine(quiet=True))
    batches = session.stream.batches(session.place)
    for _ in range(steps):
        session.trainer.take_step([next(batches)[0]])
    return session


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_weights_optimiser_and_averages_are_carried(prepared: Path, tmp_path: Path, tools, kind: str) -> None:
    session = session_at(prepared, tmp_path / "run", tools, 3, optimizer__ema=0.9, optimizer__kind=kind, **NOTES)
    before = session.trainer.optimizers
    state = {name: {key: value.clone() for optimizer in before for key, value in optimizer.state.get(p, {}).items()}
             for name, p in session.model.named_parameters()}  # fmt: skip
    weights = {name: p.detach().clone() for name, p in session.model.named_parameters()}
    averages = {name: tensor.clone() for name, tensor in session.averages().items()}
    notes = {name: buffer.clone() for name, buffer in session.model.named_buffers() if "notes" in name}
    assert notes["encoder.notes.taken_W"].sum() > 0
    session.trainer.guard.mean_norm = 7.0
    deepen(session, SilentLog(), 4, None)
    trainer = session.trainer
    assert trainer.model is session.model
    assert trainer.guard.seen == 0
    assert all(torch.equal(dict(session.model.named_buffers())[name], notes[name]) for name in notes)
    assert trainer.notes.notes is session.model.encoder.notes
    seen = 0
    for name, parameter in session.model.named_parameters():
        source = name
        for number in (2, 3):
            source = source.replace(f"layers.{number}.", f"layers.{number - 2}.")
        assert torch.equal(parameter, weights[source]), name
        assert torch.equal(trainer.averages.tensors[name], averages[source]), name
        (holder,) = [o for o in trainer.optimizers for group in o.param_groups for p in group["params"]
                     if p is parameter]  # fmt: skip
        assert type(holder).__name__ == ("Muon" if kind == "muon" and ".layers." in name and parameter.ndim == 2
                                         else "AdamW"), name  # fmt: skip
        held = holder.state[parameter]
        assert held.keys() == state[source].keys()
        assert all(torch.equal(held[key], state[source][key]) for key in held), name
        seen += len(held)
        assert source == name or held is not trainer.optimizers[0].state.get(source)
    assert seen >= len(state)
    step = trainer.take_step([next(session.stream.batches(session.place))[0]])
    assert step.skipped is None
    layers = session.model.encoder.layers
    assert not torch.equal(layers[0].attention.qkv.weight, layers[2].attention.qkv.weight)  # no memory is shared


@pytest.mark.parametrize("layers", [None, 1])
def test_a_controller_grows_with_the_encoder_unless_its_depth_is_set(prepared: Path, tmp_path: Path, tools, layers):
    own = {} if layers is None else {"task__controller_layers": layers}
    session = session_at(prepared, tmp_path / "run", tools, 0, task__kind="multiple-choice", **own)
    before = [part.attention.qkv.weight.clone() for part in session.model.controller.encoder.layers]
    bias = session.model.controller.bias.clone()
    deepen(session, SilentLog(), 4, None)
    after = [part.attention.qkv.weight for part in session.model.controller.encoder.layers]
    assert len(after) == (layers or 4)
    assert all(torch.equal(weight, before[number % len(before)]) for number, weight in enumerate(after))
    assert torch.equal(session.model.controller.bias, bias)
    assert session.flops == session.flops_at(4) > session.flops_at(2)


def test_a_reset_optimiser_starts_afresh(prepared: Path, tmp_path: Path, tools) -> None:
    session = session_at(prepared, tmp_path / "run", tools, 3, growth__optimizer="reset")
    deepen(session, SilentLog(), 4, None)
    assert [len(optimizer.state) for optimizer in session.trainer.optimizers] == [0]
    session.trainer.take_step([next(session.stream.batches(session.place))[0]])
    assert {float(state["step"]) for state in session.trainer.optimizers[0].state.values()} == {1.0}


def test_an_identity_growth_changes_no_loss(prepared: Path, tmp_path: Path, tools) -> None:
    """Of the weights and of their average; later steps move the new layers."""
    session = session_at(prepared, tmp_path / "run", tools, 3, growth__rule="identity", optimizer__ema=0.9)
    state, before = torch.get_rng_state(), session.held_out_now().loss
    deepen(session, SilentLog(), 4, None)
    assert torch.equal(torch.get_rng_state(), state)
    assert session.held_out_now().loss == before
    batches = session.stream.batches(session.place)
    for _ in range(3):
        session.trainer.take_step([next(batches)[0]])
    # New layers do not depend on what was drawn before, or a resumed run would have others.
    torch.rand(5)
    other = session_at(prepared, tmp_path / "other", tools, 1, growth__rule="identity")
    fresh = session_at(prepared, tmp_path / "fresh", tools, 2, growth__rule="identity")
    for session_again in (other, fresh):
        deepen(session_again, SilentLog(), 4, None)
    weights = [again.model.encoder.layers[3].attention.qkv.weight for again in (other, fresh)]
    assert torch.equal(*weights)
    layer = session.model.encoder.layers[3]
    assert layer.feed_forward.down.weight.abs().max() > 0
    assert session.held_out_now().loss != before


def test_what_a_growing_run_tells(grown: Path, prepared: Path, tools) -> None:
    result = json.loads((grown / "result.json").read_bytes())
    first, second = records(grown, "growth")
    assert [(r["step"], r["layers_before"], r["layers"]) for r in (first, second)] == [(7, 1, 2), (13, 2, 4)]
    # Its losses are those of the same weights evaluated elsewhere.
    checkpoint = load_checkpoint(grown / "checkpoints" / "step-00000012")
    assert checkpoint.state.model["layers"] == 2
    assert first["loss_after"] != first["loss_before"]
    rates = [r["learning_rate"] for r in records(grown, "train")]
    plain = [1e-3 * (1 - ((step + 0.5) / 24 - 0.02) / 0.98) for step in range(24)]
    factors = [rate / share for rate, share in zip(rates, plain, strict=True)]
    assert factors[1:] == pytest.approx([1] * 5 + [0.5] + [1] * 5 + [0.5] + [1] * 11)
    # The ledger by hand.
    tokens = [0, *(r["tokens"] for r in records(grown, "train"))]
    config = build_config(grown / "config.toml").encoder(600)
    expected = 0.0
    for layers, start, end in ((1, 0, 6), (2, 6, 12), (4, 12, 24)):
        shape = config.model_copy(update={"layers": layers})
        # The notes look at every state of the last layer, forward alone.
        each = flops_per_token(shape, 32, 0.15, 0.15 + 1 / 3)
        part = (tokens[end] - tokens[start]) * each
        depth = result["depths"].pop(0)
        assert (depth["layers"], depth["steps"]) == (layers, end - start)
        assert depth["flops"] == pytest.approx(part)
        expected += part
    assert result["flops"] == pytest.approx(expected)
    assert result["mfu"] == pytest.approx(
        expected / result["seconds"] / (result["matmul_gflops"]["fp32"] * 1e9), rel=1e-9
    )
    assert (result["layers"], result["flops_base"]) == (4, 0)
    assert sum(parameter.numel() for parameter in load_model(grown).parameters()) == result["parameters"]
    found = json.loads(tools.invoke_output("info", grown, "--json")[2])
    assert [entry["layers"] for entry in found["growth"] if entry["kind"] == "growth"] == [2, 4]
    assert "held-out loss" in tools.invoke_output("info", grown)[2]


def test_held_out_losses_of_a_growth(prepared: Path, tmp_path: Path, tools) -> None:
    """The one before is the newest checkpoint's, the one after that of the copied weights."""
    run = tmp_path / "run"
    tools.train(prepared, run, overrides=tools.settings(**GROWS, checkpoint__every_steps=1, evaluate__every_steps=6,
                                                        checkpoint__keep=30))  # fmt: skip
    first, second = records(run, "growth")
    held_out = {r["step"]: r["loss"] for r in records(run, "held_out")}
    assert (first["loss_before"], second["loss_before"]) == (held_out[6], held_out[12])
    before, after = (load_checkpoint(run / "checkpoints" / f"step-{step:08d}").state for step in (6, 7))
    assert (before.model["layers"], after.model["layers"]) == (1, 2)
    assert after.methods["growth"]["grown_at"] == 6
    assert after.tokens > before.tokens
    assert after.stream != before.stream


def grow_and_die(shards: Path, run: Path, overrides: list[str], moment: str, layers: int) -> None:
    """In a process of its own: SIGKILL before, right after or two steps after the growth to this many layers."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)

    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    take = Trainer.take_step

    def grow(session, log, to, held_out) -> None:
        if (moment, to) == ("before", layers):
            session.writer.wait()
            die()
        deepen(session, log, to, held_out)
        if (moment, to) == ("at", layers):
            die()

    def step(trainer, batches):
        if moment == "after" and trainer.growth.layers == layers and trainer.growth.spent[-1].steps == 2:
            die()
        return take(trainer, batches)

    train_module.deepen = grow
    Trainer.take_step = step  # type: ignore[method-assign]
    train_module.train(shards, run, overrides=overrides, resume=True)


def start(target: Callable, *arguments: object) -> int | None:
    process = multiprocessing.get_context("fork").Process(target=target, args=arguments)
    process.start()
    process.join(60)
    return process.exitcode


@pytest.mark.parametrize("every", [5, pytest.param(6, marks=pytest.mark.slow)])
def test_killed_around_a_growth(prepared: Path, grown: Path, tmp_path: Path, tools, every: int) -> None:
    """Checkpoints beside the growths and right at them."""
    run, overrides = tmp_path / "run", tools.settings(**EVERYTHING, checkpoint__every_steps=every)
    for moment, layers in (("before", 2), ("at", 2), ("after", 2), ("before", 4), ("at", 4), ("after", 4)):
        assert start(grow_and_die, prepared, run, overrides, moment, layers) == -signal.SIGKILL, (moment, layers)
        assert not (run / "result.json").exists()
    tools.train(prepared, run, resume=True)
    assert same_tensors(run / "model.safetensors", grown / "model.safetensors")
    last = "checkpoints/step-00000024/optimizer.safetensors"
    assert same_tensors(run / last, grown / last)
    for kind in ("train", "held_out", "growth", "recovery"):
        ours, theirs = ([(r["step"], r.get("loss"), r.get("loss_after")) for r in records(path, kind)]
                        for path in (run, grown))  # fmt: skip
        assert ours == theirs, kind
    ours, theirs = (json.loads((path / "result.json").read_bytes()) for path in (run, grown))
    assert ours["flops"] == theirs["flops"]


def test_a_shallow_checkpoint_is_a_model_and_a_changed_growth_is_refused(prepared: Path, tmp_path: Path, tools) -> None:
    run = tmp_path / "run"
    config = build_config(overrides=tools.settings(**GROWS))
    session = Session(prepared, RunDirectory(run), config, None, ProgressLine(quiet=True))
    stop, take = StopRequest(), session.trainer.take_step

    def until_eight(batches):
        stop.requested = session.trainer.step == 7
        return take(batches)

    session.trainer.take_step = until_eight
    assert session.fit(None, stop) is None
    assert len(load_model(run).encoder.layers) == 2
    assert evaluate_run(run).held_out_loss == pytest.approx(session.held_out_now().loss, abs=1e-4)
    for override, message in (
        ("growth.at=[0.25, 0.6]", "growth.at is [0.25, 0.6], the run has [0.25, 0.5]"),
        ("growth.rule=interleave", "growth.rule is 'interleave', the run has 'stack'"),
    ):
        code, errors = tools.invoke("train", prepared, "--output", run, "--resume", "--set", override)
        assert code == 2
        assert message in errors
    deeper = ["model.layers=8", "growth.depths=[1, 2, 8]"]
    code, errors = tools.invoke("train", prepared, "--output", run, "--resume", *tools.sets(deeper))
    assert code == 2
    assert "model.layers is 8, the run has 4" in errors


def test_back_across_a_growth(prepared: Path, tmp_path: Path, tools, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bad batches two steps after the growth, the last checkpoint before it: back to one layer, and it grows again."""
    run, original, calls = tmp_path / "run", MaskedLM.forward, []

    def poisoned(self, batch):
        output = original(self, batch)
        if self.training:
            calls.append(len(self.encoder.layers))
        bad = self.training and 9 <= len(calls) <= 11
        return output.__class__(output.loss * float("nan"), output.parts, output.targets) if bad else output

    monkeypatch.setattr(MaskedLM, "forward", poisoned)
    changes = {"model__layers": 2, "growth__depths": [1, 2], "growth__at": [0.25], "checkpoint__every_steps": 5}
    outcome = tools.train(prepared, run, overrides=tools.settings(**changes, optimizer__ema=0.9))
    assert calls == [1] * 6 + [2] * 5 + [1] + [2] * 18
    assert outcome.result["skipped"] == 3
    assert [(depth["layers"], depth["steps"]) for depth in outcome.result["depths"]] == [(1, 6), (2, 18)]
    seconds = sum(depth["seconds"] for depth in outcome.result["depths"])
    assert seconds == pytest.approx(outcome.result["seconds"])
    assert load_newest(run / "checkpoints", pytest.fail).state.guard["rolled_back"] == 1


@pytest.mark.parametrize(("rule", "spike"), [("stack", 0.5), ("interleave", 0.5), ("identity", 1e-6)])
def test_the_loss_jumps_little_and_recovers(
    prepared: Path, tmp_path: Path, make_corpus, tools, rule: str, spike: float
) -> None:
    """Learnt by heart: eight documents that are the held-out ones too."""
    tools.copy_tree(prepared, tmp_path / "few")
    documents = [[(7 + 13 * i + 5 * j * (i + 1)) % 590 + 6 for j in range(30)] for i in range(8)]
    make_corpus(tmp_path / "few", documents, vocabulary_size=600, valid=documents)
    changes = {
        "model__layers": 4, "growth__depths": [2, 4], "growth__at": [0.5], "growth__rule": rule,
        "schedule__steps": 120, "optimizer__learning_rate": 5e-3, "schedule__decay": "constant",
        "evaluate__every_steps": 1000, "model__width": 32,
    }  # fmt: skip
    run = tmp_path / "run"
    result = tools.train(tmp_path / "few", run, overrides=tools.settings(**changes)).result
    (growth,), (recovery,) = records(run, "growth"), records(run, "recovery")
    assert growth["loss_before"] < result["held_out_loss_start"] - 1
    assert growth["loss_after"] - growth["loss_before"] < spike
    assert recovery["loss"] <= growth["loss_before"] == recovery["loss_before"]
    assert recovery["steps"] in (1, 2, 4, 8, 16, 32, 60)
    assert result["held_out_loss_end"] < growth["loss_before"] - 0.2


def test_growth_by_tokens_and_by_seconds(prepared: Path, tmp_path: Path, tools) -> None:
    clocks = {"tokens": {"schedule__tokens": 4000}, "seconds": {"schedule__seconds": 0.6}}
    for by, change in clocks.items():
        run = tmp_path / by
        result = tools.train(prepared, run, overrides=tools.settings(**GROWS, schedule__by=by, **change)).result
        assert [depth["layers"] for depth in result["depths"]] == [1, 2, 4]
        total = change[f"schedule__{by}"]
        for growth, share in zip(records(run, "growth"), (0.25, 0.5), strict=True):
            spent = growth[by] - (growth["growth_seconds"] if by == "seconds" else 0)
            assert spent >= share * total - 1e-9
        assert sum(depth["tokens"] for depth in result["depths"]) == result["tokens"]
