"""`compress trim` on tiny models: fewer rows, the same answers; what is refused."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from trainer.finetune.data import Files
from trainer.finetune.directory import load_classifier
from trainer.finetune.finetuning import finetune
from trainer.finetune.prediction import predict_rows
from trainer.finetune.settings import build_settings
from trainer.finetune.table import Columns, Row
from trainer.progress import ProgressLine
from trainer.run import load_model
from trainer.tokenizer import Tokenizer

QUIET = ProgressLine(quiet=True)
TEXTS = ["the whale", "a ship of ours", "call me Ishmael \U0001f433", "the captain and the whales"]


@pytest.fixture(scope="module")
def place(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("trim")
    (directory / "texts.txt").write_text("\n".join(TEXTS) + "\n", encoding="utf-8")
    (directory / "train.tsv").write_text(
        "".join(f"{text}\t{k % 2}\n" for k, text in enumerate(TEXTS)), encoding="utf-8"
    )
    values = {"learning_rates": [0.02], "seeds": 1, "epochs": 2, "threads": 1, "device": "cpu"}
    files = Files(directory / "train.tsv", directory / "train.tsv", Columns("1", None, "2"))
    finetune(finished_run, files, directory / "whole", build_settings(chosen=values), QUIET)
    return directory


def trim(tools, *arguments: object) -> dict:
    code, errors, printed = tools.invoke_output("compress", "trim", *arguments, "--json")
    assert code == 0, errors
    return json.loads(printed)


def answers(path: Path, texts: list[str]) -> list[dict]:
    return list(predict_rows(load_classifier(path), [Row("x", text) for text in texts]))


def test_a_classifier(place: Path, tmp_path: Path, tools) -> None:
    """From lines and from a table: the same bits of every answer."""
    result = trim(tools, place / "whole", "--text", place / "texts.txt", "-o", tmp_path / "small")
    assert result["pieces"]["after"] < result["pieces"]["before"] == 600
    assert result["texts_cut_otherwise"] == 0
    small = load_classifier(tmp_path / "small")
    assert small.model.encoder.config.vocabulary_size == len(small.tokenizer) == result["pieces"]["after"]
    # In another order and company, too.
    texts = [*TEXTS, "ours", "the ship and the whale", " \U0001f433 "]
    assert answers(tmp_path / "small", texts) == answers(place / "whole", texts)
    table = trim(tools, place / "whole", "--text", place / "train.tsv", "--column", 1, "-o", tmp_path / "table")
    assert table["pieces"] == result["pieces"]
    code, errors = tools.invoke("predict", tmp_path / "small", place / "texts.txt")
    assert code == 0, errors


def test_a_run(place: Path, finished_run: Path, prepared: Path, tmp_path: Path, tools) -> None:
    trim(tools, finished_run, "--text", place / "texts.txt", "-o", tmp_path / "small")
    whole, small = load_model(finished_run), load_model(tmp_path / "small")
    old, new = (Tokenizer(path / "vocabulary" / "siliang.model") for path in (finished_run, tmp_path / "small"))
    numbers = {old.piece(k): k for k in range(len(old))}
    kept = [numbers[new.piece(k)] for k in range(len(new))]
    for text in TEXTS:
        outputs = []
        for model, tokenizer in ((whole, old), (small, new)):
            ids = torch.tensor([tokenizer.encode(text)])
            places = torch.arange(ids.shape[1])[None]
            outputs.append(model.logits(ids, torch.ones_like(ids), places, torch.arange(ids.shape[1])))
        assert torch.allclose(outputs[0][:, kept], outputs[1], atol=1e-6)
    code, errors = tools.invoke("fill", tmp_path / "small", "the [MASK]", "--json")
    assert code == 0, errors
    code, errors = tools.invoke("evaluate", tmp_path / "small")
    assert (code, "has another vocabulary" in errors) == (1, True), errors
    # All pieces of the shards: their frequencies are read.
    code, errors = tools.invoke(
        "compress", "trim", finished_run, "--text", prepared, "-o", tmp_path / "b", "--least", 20
    )
    assert code == 0, errors


def test_notes_are_renumbered(prepared: Path, tmp_path: Path, tools) -> None:
    run = tmp_path / "run"
    tools.train(prepared, run, overrides=tools.settings(notes__enabled=True, schedule__steps=10))
    (tmp_path / "t.tsv").write_text("".join(f"{text}\t{k % 2}\n" for k, text in enumerate(TEXTS * 2)), encoding="utf-8")
    values = {"learning_rates": [0.02], "seeds": 1, "epochs": 1, "threads": 1, "device": "cpu", "notes": "frozen"}
    files = Files(tmp_path / "t.tsv", tmp_path / "t.tsv", Columns("1", None, "2"))
    finetune(run, files, tmp_path / "whole", build_settings(chosen=values), QUIET)
    whole = load_classifier(tmp_path / "whole")
    word = next(pieces for pieces in sorted(whole.finder.finder.known) if len(pieces) > 1)
    texts = [*TEXTS, whole.tokenizer.decode(list(word)) + " the whale"]
    trim(tools, tmp_path / "whole", "--text", tmp_path / "t.tsv", "--column", 1, "-o", tmp_path / "small")
    assert answers(tmp_path / "small", texts) == answers(tmp_path / "whole", texts)
    code, errors = tools.invoke("compress", "trim", run, "--text", tmp_path / "t.tsv", "-o", tmp_path / "out")
    assert (code, "--drop-notes" in errors) == (1, True), errors
    trim(tools, run, "--text", tmp_path / "t.tsv", "--drop-notes", "-o", tmp_path / "out")
    assert load_model(tmp_path / "out").encoder.notes is None


def test_bad_use(place: Path, finished_run: Path, prepared: Path, tmp_path: Path, tools) -> None:
    empty, everything = tmp_path / "empty.txt", tmp_path / "everything.txt"
    empty.write_text("")
    tokenizer = Tokenizer(finished_run / "vocabulary" / "siliang.model")
    everything.write_text("\n".join(tokenizer.decode([k]) for k in range(262, 600)))
    other = tmp_path / "other"
    shutil.copytree(prepared, other)
    (other / "vocabulary" / "siliang.model").write_bytes(b"x")
    for source, text, more, code, message in (
        (place / "whole", empty, (), 1, "empty.txt: holds no text"),
        (place / "whole", tmp_path / "none.txt", (), 1, "none.txt: cannot be read"),
        (place / "whole", other, (), 1, "has another vocabulary than this model"),
        (place / "whole", "-", (), 2, "texts are read twice"),
        (place / "whole", empty, ("--column", 1, "--column", 2, "--column", 3), 2, "one of texts, or two of pairs"),
        (tmp_path, empty, (), 1, "no trained model here"),
    ):
        found, errors = tools.invoke("compress", "trim", source, "--text", text, *more, "-o", tmp_path / "out")
        assert (found, message in errors) == (code, True), errors
        assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".*"))
