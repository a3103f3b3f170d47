"""Notes of rare words in fine-tuning: dropped, frozen, written on."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import trainer.finetune.trial
from trainer.checkpoint import CheckpointError
from trainer.data.shards import Corpus
from trainer.finetune.data import Files
from trainer.finetune.directory import load_classifier
from trainer.finetune.finetuning import finetune
from trainer.finetune.settings import build_settings
from trainer.finetune.table import Columns
from trainer.progress import ProgressLine
from trainer.run import RunError, load_encoder
from trainer.tokenizer import Tokenizer
from trainer.word_finder import WordFinder

QUIET = ProgressLine(quiet=True)
TABLE = "encoder.notes.table_WD"


@pytest.fixture(scope="module")
def noted(prepared: Path, tmp_path_factory: pytest.TempPathFactory, tools) -> Path:
    run = tmp_path_factory.mktemp("noted") / "run"
    notes = {"notes__enabled": True, "notes__half_window": 4, "schedule__steps": 12}
    tools.train(prepared, run, overrides=tools.settings(**notes))
    return run


@pytest.fixture
def files(noted: Path, prepared: Path, tmp_path: Path) -> Files:
    """Texts with words that have a note, and without."""
    tokenizer = Tokenizer(noted / "vocabulary" / "siliang.model")
    taken = load_encoder(noted).notes.taken_W
    known = WordFinder.read(Corpus(prepared, "train"), tokenizer).known
    words = sorted(tokenizer.decode(list(pieces)).strip() for pieces, k in known.items() if taken[k] > 0)
    words = [word for word in words if word.isalpha()][:8]
    assert len(words) == 8
    table = tmp_path / "train.tsv"
    table.write_text("".join(f"the {word}\t1\nthe of\t0\n" for word in words))
    return Files(table, table, Columns("1", None, "2"))


def settings(**changes: object):
    values = {"learning_rates": [0.01], "seeds": 1, "epochs": 2, "patience": 2, "batch_rows": 8, "threads": 1}
    return build_settings(chosen=values | {"device": "cpu"} | changes)


def test_dropped_frozen_and_written_on(noted: Path, files: Files, tmp_path: Path, tools) -> None:
    before = load_encoder(noted).state_dict()["notes.table_WD"]
    for mode in ("drop", "frozen", "update"):
        assert finetune(noted, files, tmp_path / mode, settings(notes=mode), QUIET) is not None
        tensors = load_file(tmp_path / mode / "model.safetensors")
        assert (TABLE in tensors) == (mode != "drop")
        assert (tmp_path / mode / "notes.json").exists() == (mode != "drop")
        assert (load_classifier(tmp_path / mode).finder is None) == (mode == "drop")
        code, errors, printed = tools.invoke_output("predict", tmp_path / mode, files.train, "--text", 1)
        assert code == 0, errors
        assert len(printed.splitlines()) == 16
        if mode != "drop":
            changed = (tensors[TABLE] != before).any(1)
            assert int(changed.sum()) == (8 if mode == "update" else 0)


def test_predictions_read_the_notes(noted: Path, files: Files, tmp_path: Path, tools) -> None:
    finetune(noted, files, tmp_path / "out", settings(notes="frozen"), QUIET)
    shown = ["predict", tmp_path / "out", files.train, "--text", 1, "--json"]
    before = [json.loads(line)["probability"] for line in tools.invoke_output(*shown)[2].splitlines()]
    described = json.loads((tmp_path / "out" / "notes.json").read_text())
    (tmp_path / "out" / "notes.json").write_text(json.dumps(described | {"words": []}))
    after = [json.loads(line)["probability"] for line in tools.invoke_output(*shown)[2].splitlines()]
    differ = [a != pytest.approx(b, abs=1e-7) for a, b in zip(before, after, strict=True)]
    assert differ == [True, False] * 8


def test_written_notes_resume_bit_for_bit(noted: Path, files: Files, tmp_path: Path, monkeypatch) -> None:
    config = settings(notes="update", epochs=3, patience=3)
    finetune(noted, files, tmp_path / "straight", config, QUIET)
    original, left = trainer.finetune.trial.collate, 3

    def dies(*arguments, **named):
        nonlocal left
        left -= 1
        if left < 0:
            raise KeyboardInterrupt
        return original(*arguments, **named)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(trainer.finetune.trial, "collate", dies)
        finetune(noted, files, tmp_path / "broken", config, QUIET)
    assert finetune(noted, files, tmp_path / "broken", config, QUIET, resume=True) is not None
    straight, broken = (load_file(tmp_path / name / "model.safetensors") for name in ("straight", "broken"))
    assert all(torch.equal(straight[name], broken[name]) for name in straight)


@pytest.mark.parametrize(
    "content",
    ["[", "{}", '{"half_window": 4, "words": [[[7], 99999]]}', '{"half_window": -1, "words": []}',
     '{"half_window": 4, "words": [[[7, 1e9], 0]]}', '{"half_window": 4, "words": [[[70000], 0]]}'],
)  # fmt: skip
def test_a_damaged_list_of_words_is_refused(noted: Path, files: Files, tmp_path: Path, content: str) -> None:
    finetune(noted, files, tmp_path / "out", settings(notes="frozen", epochs=1), QUIET)
    (tmp_path / "out" / "notes.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"notes\.json: damaged"):
        load_classifier(tmp_path / "out")


def test_a_run_without_notes_has_none_to_keep(finished_run: Path, files: Files, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="was trained without notes"):
        finetune(finished_run, files, tmp_path / "out", settings(notes="frozen"), QUIET)
    assert not (tmp_path / "out").exists()


def test_exits_of_a_classifier_with_notes(noted: Path, files: Files, tmp_path: Path, tools) -> None:
    finetune(noted, files, tmp_path / "full", settings(notes="frozen"), QUIET)
    held_out = tmp_path / "valid.tsv"
    held_out.write_text(files.train.read_text() + "the of\t0\n")
    arguments = ["--train", files.train, "--valid", held_out, "--text", 1, "--output", tmp_path / "fast"]
    for setting in ("epochs=1", "latency_seconds=0", "threads=1", "device='cpu'"):
        arguments += ["--set", setting]
    code, errors = tools.invoke("compress", "early-exit", tmp_path / "full", *arguments)
    assert code == 0, errors
    assert (tmp_path / "fast" / "notes.json").read_bytes() == (tmp_path / "full" / "notes.json").read_bytes()
    answers = []
    for name, more in (("full", []), ("fast", ["--speed", 0])):
        code, errors, printed = tools.invoke_output(
            "predict", tmp_path / name, files.train, "--text", 1, "--json", *more
        )
        assert code == 0, errors
        answers.append([json.loads(line)["probabilities"]["1"] for line in printed.splitlines()])
    assert answers[0] == pytest.approx(answers[1], abs=1e-6)
