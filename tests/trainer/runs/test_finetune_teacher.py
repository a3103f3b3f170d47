"""Fine-tuning with a teacher: soft labels of every kind, texts without labels, resume, what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import trainer.finetune.trial
from trainer.finetune.data import Files
from trainer.finetune.directory import load_classifier
from trainer.finetune.finetuning import finetune
from trainer.finetune.prediction import predict_rows
from trainer.finetune.settings import build_settings
from trainer.finetune.table import Columns, Row
from trainer.finetune.taught import Taught, taught_loss
from trainer.progress import ProgressLine

QUIET = ProgressLine(quiet=True)
BEASTS = ["the whale", "a shark", "the whales", "this whale of ours"]
SHIPS = ["the ship", "a boat", "her mast", "the captain and his ship"]


def settings(**changes: object):
    values = {"learning_rates": [0.01], "seeds": 1, "epochs": 8, "batch_rows": 8, "threads": 1, "device": "cpu"}
    values["precision"] = "fp32"  # what so few steps come to must not hang on the CPU
    return build_settings(chosen=values | changes)


def table(path: Path, rows: list[tuple[str, str]]) -> Path:
    path.write_text("".join(f"{text}\t{label}\n" for text, label in rows), encoding="utf-8")
    return path


def labelled(count: int) -> list[tuple[str, str]]:
    """Beasts are 1, ships 0; told by one word."""
    return [(f"{(BEASTS if k % 2 else SHIPS)[k // 2 % 4]} number {k}", str(k % 2)) for k in range(count)]


@pytest.fixture(scope="module")
def teacher(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("teacher")
    files = Files(
        table(place / "t.tsv", labelled(64)), table(place / "v.tsv", labelled(80)[64:]), Columns("1", None, "2")
    )
    finetune(finished_run, files, place / "classifier", settings(), QUIET)
    return place / "classifier"


def answers(path: Path, texts: list[str]) -> np.ndarray:
    rows = [Row("x", text) for text in texts]
    return np.array([list(found["probabilities"].values()) for found in predict_rows(load_classifier(path), rows)])


def test_it_says_what_its_teacher_says(teacher: Path, finished_run: Path, tmp_path: Path, tools) -> None:
    """From wrong labels and texts without any: a student of weight 1 follows its teacher alone."""
    wrong = [(text, str(1 - int(label))) for text, label in labelled(8)]
    train, valid = table(tmp_path / "train.tsv", wrong), table(tmp_path / "valid.tsv", labelled(80)[64:])
    more = tmp_path / "more.txt"
    more.write_text("\n".join(text for text, _ in labelled(64)) + "\n\n")
    output = tmp_path / "student"
    sets = ["learning_rates=[0.01]", "seeds=1", "epochs=8", "patience=8", "batch_rows=8", "threads=1", "device='cpu'"]
    sets.append("precision='fp32'")
    code, errors, printed = tools.invoke_output(
        "finetune", finished_run, "--train", train, "--valid", valid, "--text", 1, "--label", 2, "--teacher", teacher,
        "--unlabelled", more, "--unlabelled", train, *tools.sets([*sets, "teacher_weight=1", "teacher_temperature=1"]),
        "--output", output, "--json",
    )  # fmt: skip
    assert code == 0, errors
    result = json.loads(printed)
    assert result["examples"] == {"train": 80, "valid": 16}
    texts = [text for text, _ in labelled(64)]
    theirs, own = answers(teacher, texts), answers(output, texts)
    assert (theirs.argmax(1) == own.argmax(1)).mean() > 0.9
    alone = tmp_path / "alone"
    finetune(finished_run, Files(train, valid, Columns("1", None, "2")), alone, settings(), QUIET)
    assert abs(theirs - own).mean() < 0.5 * abs(theirs - answers(alone, texts)).mean()


def test_killed_it_ends_with_the_same_bytes(teacher: Path, finished_run: Path, tmp_path: Path, monkeypatch) -> None:
    files = Files(
        table(tmp_path / "t.tsv", labelled(24)), table(tmp_path / "v.tsv", labelled(32)), Columns("1", None, "2")
    )
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    few = settings(epochs=3)
    finetune(finished_run, files, whole, few, QUIET, teacher=teacher)
    saved = trainer.finetune.trial._save

    def save(path: Path, state, *rest: object) -> None:
        saved(path, state, *rest)
        if state.epoch == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr("trainer.finetune.trial._save", save)
    with pytest.raises(KeyboardInterrupt):
        finetune(finished_run, files, killed, few, QUIET, teacher=teacher)
    monkeypatch.undo()
    with pytest.raises(ValueError, match="was begun with other teacher"):
        finetune(finished_run, files, killed, few, QUIET, resume=True)
    finetune(finished_run, files, killed, few, QUIET, resume=True, teacher=teacher)
    assert (whole / "model.safetensors").read_bytes() == (killed / "model.safetensors").read_bytes()


@pytest.mark.parametrize("kind", ["regression", "tokens"])
def test_other_kinds(finished_run: Path, tmp_path: Path, kind: str) -> None:
    """Values of another scale, words of which one model cuts more than the other."""
    if kind == "regression":
        rows = [(text, str(10 * text.count("whale"))) for text, _ in labelled(32)]
        shifted = [(text, str(float(label) + (k % 2))) for k, (text, label) in enumerate(rows)]
    else:
        rows = [(text, " ".join("F" if "wha" in word else "O" for word in text.split())) for text, _ in labelled(32)]
        shifted = rows
    columns = Columns("1", None, "2")
    for name, told in (("a", rows), ("b", shifted)):
        table(tmp_path / f"{name}.tsv", told)
    valid = tmp_path / "a.tsv"
    few = settings(kind=kind, epochs=16, max_length=8 if kind == "tokens" else None)
    finetune(finished_run, Files(tmp_path / "a.tsv", valid, columns), tmp_path / "teacher", few, QUIET)
    few = settings(kind=kind, epochs=24, teacher_weight=1.0)
    files = Files(tmp_path / "b.tsv", valid, columns)
    finetune(finished_run, files, tmp_path / "student", few, QUIET, teacher=tmp_path / "teacher")
    texts = [Row("x", text) for text, _ in rows]
    found = [list(predict_rows(load_classifier(tmp_path / name), texts)) for name in ("teacher", "student")]
    if kind == "regression":
        theirs, own = (np.array([row["value"] for row in side]) for side in found)
        assert np.corrcoef(theirs, own)[0, 1] > 0.9
    else:
        pairs = [(a, b) for left, right in zip(*found, strict=True) for a, b in zip(left["labels"], right["labels"],
                 strict=True) if a is not None]  # fmt: skip
        assert np.mean([a == b for a, b in pairs]) > 0.9


def test_the_loss() -> None:
    """Each half is a mean over what has one."""
    logits = torch.tensor([[1.0, 0.0], [0.0, 2.0], [0.5, 0.5]])
    labels, told = torch.tensor([0.0, float("nan"), 1.0]), torch.tensor([[2.0, 0.0], [0.0, 1.0], [float("nan")] * 2])
    found = taught_loss(logits, labels, told, "classification", Taught([], 0.25, 2.0))
    hard = torch.nn.functional.cross_entropy(logits[[0, 2]], torch.tensor([0, 1]))
    p, q = (told[:2] / 2).softmax(-1), (logits[:2] / 2).softmax(-1)
    soft = (p * (p / q).log()).sum(-1).mean() * 4
    assert float(found) == pytest.approx(float(0.75 * hard + 0.25 * soft), rel=1e-6)
    nothing = taught_loss(logits, labels * float("nan"), told * float("nan"), "classification", Taught([], 0.5, 1.0))
    assert float(nothing) == 0


def test_what_is_refused(teacher: Path, finished_run: Path, tmp_path: Path, tools) -> None:
    train = table(tmp_path / "t.tsv", labelled(16))
    other = table(tmp_path / "o.tsv", [(text, "abc"[k % 3]) for k, (text, _) in enumerate(labelled(9))])
    plain = ["--train", train, "--valid", train, "--text", 1, "--label", 2, "--output", tmp_path / "out"]
    for more, code, message in (
        (["--unlabelled", train], 2, "without labels tell nothing without a --teacher"),
        (["--teacher", finished_run], 1, "not a classifier of `finetune"),
        (["--teacher", teacher, "--kind", "regression"], 2, "is of kind 'classification', this fine-tuning of kind"),
        (["--teacher", teacher, "--text-b", 2], 2, "reads single texts"),
        (["--teacher", teacher, "--train", other, "--valid", other], 2, "its classes are 0, 1; those of the training"),
        (["--teacher", teacher, "--unlabelled", tmp_path / "none.txt"], 1, "none.txt: cannot be read"),
        (["--teacher", teacher, "--set", "teacher_weight=2"], 2, "key 'teacher_weight'"),
    ):
        found, errors = tools.invoke("finetune", finished_run, *plain, *more)
        assert (found, message in errors) == (code, True), errors
        assert not (tmp_path / "out").exists()


def test_weights_of_the_teacher_stay(teacher: Path, finished_run: Path, tmp_path: Path) -> None:
    before = load_file(teacher / "model.safetensors")
    files = Files(
        table(tmp_path / "t.tsv", labelled(8)), table(tmp_path / "v.tsv", labelled(8)), Columns("1", None, "2")
    )
    finetune(finished_run, files, tmp_path / "out", settings(epochs=1), QUIET, teacher=teacher)
    assert all(torch.equal(tensor, before[name]) for name, tensor in load_file(teacher / "model.safetensors").items())
