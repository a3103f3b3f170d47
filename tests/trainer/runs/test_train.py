"""Whole runs: what they leave behind, how they fail."""

import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from schemas.manifest import file_digest
from trainer.checkpoint import load_newest
from trainer.config import build_config
from trainer.data.batch import Batch
from trainer.data.shards import Corpus
from trainer.data.stream import Stream
from trainer.evaluate.held_out import token_counts, unigram_logs
from trainer.log import read_log
from trainer.loop import Trainer
from trainer.run import load_encoder, load_model
from trainer.tasks.masked_lm import MaskedLM


def test_what_a_run_leaves_behind(finished_run: Path, prepared: Path, tools) -> None:
    result = json.loads((finished_run / "result.json").read_bytes())
    assert result["steps"] == 24
    assert result["precision"] == "fp32"
    assert result["held_out_loss_end"] != result["held_out_loss_start"]
    assert 0 < result["mfu"] < 1
    assert result["tokens_per_second"] == pytest.approx(result["tokens"] / result["seconds"])
    copied = finished_run / "vocabulary" / "siliang.model"
    assert file_digest(copied) == file_digest(prepared / "vocabulary" / "siliang.model")
    assert build_config(finished_run / "config.toml") == build_config(overrides=tools.settings())
    names = [path.name for path in sorted((finished_run / "checkpoints").iterdir())]
    assert names == ["step-00000012", "step-00000018", "step-00000024"]  # the last three of 6, 12, 18, 24
    records = read_log(finished_run / "log.jsonl")
    assert [r["step"] for r in records if r["kind"] == "train"] == list(range(1, 25))
    assert [r["step"] for r in records if r["kind"] == "held_out"] == [0, 10, 20, 24]
    assert records[-1]["loss"] == result["held_out_loss_end"]
    assert list((finished_run / "tensorboard").iterdir())


def test_final_weights_are_those_of_the_last_checkpoint(finished_run: Path, tmp_path: Path, tools) -> None:
    model = load_model(finished_run)
    assert not model.training
    checkpoint = load_newest(finished_run / "checkpoints", pytest.fail)
    assert checkpoint is not None
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, checkpoint.model[name]), name
    tools.copy_tree(finished_run, tmp_path / "unfinished")
    (tmp_path / "unfinished" / "model.safetensors").unlink()
    other = load_model(tmp_path / "unfinished")
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))


def make_trainer(prepared: Path, **changes: object) -> tuple[Trainer, Stream]:
    config = build_config(overrides=[f"{key.replace('__', '.')}={json.dumps(v)}" for key, v in changes.items()])
    torch.manual_seed(0)
    corpus = Corpus(prepared, "train")
    model = MaskedLM(config.encoder(corpus.vocabulary_size))
    model.set_output_bias(unigram_logs(token_counts(prepared, corpus.vocabulary_size)))
    rows = config.data.batch_rows // config.system.accumulate
    stream = Stream(corpus, config.data.sequence_length, rows, 0, config.data.masking(), 32)
    return Trainer(model, config, torch.device("cpu"), "fp32"), stream


def rows_of(batch: Batch, edges: tuple[int, ...]) -> Iterator[Batch]:
    """Its rows between the edges, as batches of their own."""
    length = batch.tokens_BT.shape[1]
    for first, last in pairwise(edges):
        here = (batch.target_index_M >= first * length) & (batch.target_index_M < last * length)
        yield replace(
            batch,
            tokens_BT=batch.tokens_BT[first:last],
            segments_BT=batch.segments_BT[first:last],
            positions_BT=batch.positions_BT[first:last],
            target_index_M=batch.target_index_M[here] - first * length,
            target_M=batch.target_M[here],
            token_count=int((batch.segments_BT[first:last] > 0).sum()),
        )


def test_accumulation_equals_one_batch(prepared: Path) -> None:
    """Over four steps: gradients, weights, losses. Micro-batches hold unequal numbers of targets."""
    shape = {
        "model__layers": 2,
        "model__width": 16,
        "model__heads": 2,
        "data__sequence_length": 32,
        "data__batch_rows": 8,
    }
    whole, one = make_trainer(prepared, **shape)
    split, four = make_trainer(prepared, **shape, system__accumulate=4)
    big, small = one.batches(), four.batches()
    for _ in range(4):
        batch, after = next(big)
        assert [next(small) for _ in range(4)][-1][1] == after
        micro = list(rows_of(batch, (0, 1, 3, 5, 8)))
        assert len({part.target_M.shape for part in micro}) > 1
        first, second = whole.take_step([batch]), split.take_step(micro)
        assert second.loss == pytest.approx(first.loss, abs=1e-6)
        assert second.gradient_norm == pytest.approx(first.gradient_norm, abs=1e-5)
        assert (second.targets, second.tokens) == (first.targets, first.tokens)
        pairs = zip(whole.model.named_parameters(), split.model.parameters(), strict=True)
        for (name, a), b in pairs:
            torch.testing.assert_close(a.grad, b.grad, rtol=0, atol=1e-6, msg=name)
    for a, b in zip(whole.model.parameters(), split.model.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-5)


def test_divergence_names_the_batch_and_spares_the_weights(prepared: Path) -> None:
    trainer, stream = make_trainer(prepared, model__layers=1, data__batch_rows=4)
    batches = stream.batches()
    for _ in range(2):
        trainer.take_step([next(batches)[0]])
    with torch.no_grad():
        trainer.model.encoder.layers[0].feed_forward.up.bias[0] = float("inf")
    before = {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}
    batch, _ = next(batches)
    result = trainer.take_step([batch])
    assert result.skipped is not None
    assert result.skipped.startswith("step 3: loss nan")
    assert "epoch 0, window 0, rows 8-11" in result.skipped
    assert trainer.step == 3
    assert trainer.guard.skipped == trainer.guard.in_a_row == 1
    assert all(torch.equal(before[name], tensor) for name, tensor in trainer.model.state_dict().items())


def test_a_diverging_run_fails_and_keeps_its_checkpoint(prepared: Path, tmp_path: Path, tools) -> None:
    """A learning rate of 1e37 with a late warm-up: the weights overflow after some steps, going back does not help."""
    overrides = tools.settings(
        optimizer__learning_rate=1e37, optimizer__weight_decay=0.0, schedule__warmup=0.9, checkpoint__every_steps=1
    )
    code, errors = tools.invoke("train", prepared, "--output", tmp_path / "run", *tools.sets(overrides))
    assert code == 1
    (line,) = [line for line in errors.splitlines() if line.startswith("error:")]
    assert "epoch 0, window 0, rows" in line
    assert "3 roll-backs" in line
    assert errors.count("goes back to") == 3
    failed = int(line.split("step ")[1].split(":")[0])
    assert failed > 3
    checkpoint = load_newest(tmp_path / "run" / "checkpoints", pytest.fail)
    assert checkpoint is not None
    assert checkpoint.state.step == failed - 3  # two more were skipped before
    assert all(tensor.isfinite().all() for tensor in checkpoint.model.values())
    assert not (tmp_path / "run" / "result.json").exists()


def test_same_seed_same_weights_other_seed_others(prepared: Path, tmp_path: Path, tools) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        tools.train(prepared, tmp_path / name, overrides=tools.settings(schedule__steps=5, system__seed=seed))
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in "abc"]
    assert weights[0] == weights[1] != weights[2]


def test_bf16_and_auto_precision(prepared: Path, tmp_path: Path, tools) -> None:
    """Weights stay fp32 under autocast; 'auto' takes what it measured, and a resumed run keeps it."""
    small = tools.settings(schedule__steps=4, system__precision="bf16")
    result = tools.train(prepared, tmp_path / "bf16", overrides=small).result
    assert result["precision"] == "bf16"
    assert {p.dtype for p in load_model(tmp_path / "bf16").parameters()} == {torch.float32}
    run = tmp_path / "auto"
    result = tools.train(prepared, run, overrides=tools.settings(schedule__steps=4, system__precision="auto")).result
    rates = result["matmul_gflops"]
    assert result["precision"] == max(rates, key=rates.get)
    # As if the measurement had come out the other way at the start of the run.
    other = {"fp32": "bf16", "bf16": "fp32"}[result["precision"]]
    state = run / "checkpoints" / "step-00000004" / "state.json"
    text = state.read_text(encoding="utf-8")
    state.write_text(text.replace(f'"precision":"{result["precision"]}"', f'"precision":"{other}"').replace(
        f'"precision": "{result["precision"]}"', f'"precision": "{other}"'), encoding="utf-8")  # fmt: skip
    longer = tools.train(prepared, run, overrides=["schedule.steps=6"], resume=True).result
    assert longer["precision"] == other


def test_an_existing_run_is_not_overwritten(finished_run: Path, prepared: Path, tools) -> None:
    before = (finished_run / "model.safetensors").read_bytes()
    code, errors = tools.invoke("train", prepared, "--output", finished_run)
    assert code == 2
    assert (
        errors.strip() == f"error: {finished_run}: holds a run already; add --resume to go on, or name another --output"
    )
    assert (finished_run / "model.safetensors").read_bytes() == before


def test_resume_of_nothing_starts_fresh(prepared: Path, tmp_path: Path, tools) -> None:
    run = tmp_path / "run"
    assert tools.train(prepared, run, overrides=tools.settings(schedule__steps=3), resume=True).step == 3


def break_manifest(corpus: Path) -> str:
    (corpus / "manifest.json").unlink()
    return "no manifest.json here"


def newer_manifest(corpus: Path) -> str:
    path = corpus / "manifest.json"
    path.write_text(path.read_text(encoding="utf-8").replace("siliang/1", "siliang/2"), encoding="utf-8")
    return "schema siliang/2 is newer than this Siliang reads"


def missing_shard(corpus: Path) -> str:
    (corpus / "train" / "shard-00001-of-00002.arrow").unlink()
    return "shard-00001-of-00002.arrow: no such shard"


def cut_shard(corpus: Path) -> str:
    path = corpus / "valid" / "shard-00000-of-00002.arrow"
    path.write_bytes(path.read_bytes()[:-100])
    return "valid/shard-00000-of-00002.arrow: not a complete Arrow file"


def no_vocabulary(corpus: Path) -> str:
    (corpus / "vocabulary" / "siliang.model").unlink()
    return "siliang.model: no vocabulary here"


def no_frequency(corpus: Path) -> str:
    (corpus / "frequency" / "tokens.arrow").unlink()
    return "tokens.arrow: no such shard"


@pytest.mark.parametrize(
    "damage", [break_manifest, newer_manifest, missing_shard, cut_shard, no_vocabulary, no_frequency]
)
def test_a_broken_corpus_is_one_clear_line(prepared: Path, tmp_path: Path, tools, damage) -> None:
    corpus = tmp_path / "corpus"
    tools.copy_tree(prepared, corpus)
    message = damage(corpus)
    code, errors = tools.invoke("train", corpus, "--output", tmp_path / "run", *tools.sets(tools.settings()))
    assert code == 1
    (line,) = errors.strip().splitlines()
    assert line.startswith("error: ")
    assert message in line
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_an_empty_validation_split_is_one_clear_line(prepared: Path, tmp_path: Path, make_corpus, tools) -> None:
    tools.copy_tree(prepared, tmp_path / "corpus")
    make_corpus(tmp_path / "corpus", [[7, 8, 9] * 40] * 9, vocabulary_size=600)
    code, errors = tools.invoke("train", tmp_path / "corpus", "--output", tmp_path / "run")
    assert code == 1
    (line,) = errors.strip().splitlines()
    assert "valid: no tokens in 0 documents" in line


def test_usage_errors_exit_2(prepared: Path, tmp_path: Path, tools) -> None:
    run = tmp_path / "run"
    for arguments, message in (
        (("--preset", "huge"), "no preset 'huge'; allowed: tiny, small, base"),
        (("--set", "optimizer.rate=3"), "unknown key 'optimizer.rate'"),
        (("--config", tmp_path / "none.toml"), "none.toml: cannot be read"),
        (("--set", "system.device=gpu"), "allowed: auto, cpu, cuda"),
        (("--sett", "a"), "No such option"),
    ):
        code, errors = tools.invoke("train", prepared, "--output", run, *arguments)
        assert code == 2, errors
        assert message in errors
    assert tools.invoke("train", prepared, "--output", prepared)[0] == 2
    assert not run.exists()


def test_the_module_is_the_program(finished_run: Path, tools) -> None:
    """One real process: exit code, one line on stderr, no traceback; --help does not wait for torch."""
    done = tools.run_command(tools.command("fill", finished_run, "no gap here"))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: the text has no [MASK]; write one where a word is wanted\n"


def test_standard_held_out_masks_do_not_follow_the_training_masks(prepared: Path, tmp_path: Path, tools) -> None:
    def start_loss(name: str, **changes: object) -> float:
        train = tools.train(prepared, tmp_path / name, overrides=tools.settings(schedule__steps=1, **changes))
        return train.result["held_out_loss_start"]

    usual = start_loss("usual")
    other = {"data__mask_rate": 0.4, "data__mask_share": 1.0, "data__random_share": 0.0}
    assert start_loss("other", **other) != usual
    assert start_loss("standard", **other, evaluate__masks="standard") == usual


def test_the_encoder_of_a_run(finished_run: Path, prepared: Path) -> None:
    """And parts of the task in the log, the result and model.json."""
    tokens = torch.arange(6, 22)[None]
    inputs = tokens, torch.ones_like(tokens), torch.arange(16)[None]
    assert torch.equal(load_encoder(finished_run)(*inputs), load_model(finished_run).encoder(*inputs))
    for record in read_log(finished_run / "log.jsonl"):
        assert record["masked_lm"] == pytest.approx(record["loss"], rel=1e-6)
    described = json.loads((finished_run / "model.json").read_bytes())
    assert described["task"] == described["task_config"]["kind"] == "masked-lm"
    result = json.loads((finished_run / "result.json").read_bytes())
    assert result["held_out_parts"]["masked_lm"] == pytest.approx(result["held_out_loss_end"])
