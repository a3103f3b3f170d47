"""What cannot be exported is told in a line that names the way out, and leaves nothing behind."""

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from trainer.model.config import ModelConfig
from trainer.model.note_config import NoteConfig
from trainer.run import RunDirectory
from trainer.sections.task import TaskConfig
from trainer.tasks.multiple_choice import MultipleChoice


def refused(tools, code: int, *arguments: object, output: Path) -> str:
    before = sorted(path.name for path in output.parent.iterdir())
    found, errors = tools.invoke("export", *arguments, "--output", output)
    assert found == code, errors
    assert errors.startswith("error: ")
    assert "Traceback" not in errors
    assert sorted(path.name for path in output.parent.iterdir()) == before
    return errors


def test_an_output_that_holds_something(make_run, tools, tmp_path: Path) -> None:
    output = tmp_path / "out"
    output.mkdir()
    (output / "mine.txt").write_text("mine")
    assert "is not empty; name another --output" in refused(tools, 2, make_run(), output=output)
    assert (output / "mine.txt").read_text() == "mine"
    assert "is a file" in refused(tools, 2, make_run(), output=output / "mine.txt")
    (tmp_path / "empty").mkdir()
    assert tools.invoke("export", make_run(), "--output", tmp_path / "empty")[0] == 0


def test_an_unknown_format(make_run, tools, tmp_path: Path) -> None:
    errors = refused(tools, 2, make_run(), "--format", "gguf", output=tmp_path / "out")
    assert "--format gguf: allowed: huggingface, bert" in errors


def test_no_model(tools, tmp_path: Path) -> None:
    assert "no trained model here" in refused(tools, 1, tmp_path / "nothing", output=tmp_path / "out")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"norm": "post", "positions": "tupe-a"}, "positions 'tupe-a'"),
        ({"norm": "pre", "positions": "absolute"}, "norm 'pre'"),
        ({"norm": "post", "positions": "absolute", "embedding_norm": False}, "no norm on the embeddings"),
    ],
)
def test_no_plain_bert(make_run, tools, tmp_path: Path, changes: dict[str, object], reason: str) -> None:
    errors = refused(tools, 1, make_run(**changes), "--format", "bert", output=tmp_path / "out")
    assert reason in errors
    assert "--format huggingface exports it" in errors


def test_a_task_without_a_masked_lm_head(place, config, tools, tmp_path: Path) -> None:
    path, task = place(), TaskConfig(kind="multiple-choice")
    model = MultipleChoice(config(), task, 0, 0.15)
    RunDirectory(path).finish(model.state_dict(), model.config, task, {"steps": 7})
    errors = refused(tools, 1, path, output=tmp_path / "out")
    assert "was trained on multiple-choice, which leaves no masked-LM head" in errors
    assert "finetune" in errors


def with_notes(path: Path, taken: int) -> None:
    """Gives a model's directory a dictionary of three words."""
    described = path / "model.json"
    import json

    raw = json.loads(described.read_text())
    raw["config"]["notes"] = NoteConfig(words=3).model_dump()
    described.write_text(json.dumps(raw))
    tensors = load_file(path / "model.safetensors")
    width = ModelConfig.model_validate(raw["config"]).width
    tensors["encoder.notes.table_WD"] = torch.ones(3, width)
    tensors["encoder.notes.taken_W"] = torch.tensor([taken, 0, taken])
    save_file(tensors, path / "model.safetensors")
    (path / "notes.json").write_text('{"half_window": 4, "words": [[[9], 0]]}')


def test_notes(make_run, make_classifier, tools, tmp_path: Path) -> None:
    run, classifier = make_run(), make_classifier()
    for path in (run, classifier):
        with_notes(path, 5)
    assert "--drop-notes exports the model without" in refused(tools, 1, run, output=tmp_path / "out")
    assert "notes=drop" in refused(tools, 1, classifier, "--drop-notes", output=tmp_path / "out")
    code, told = tools.invoke("export", run, "--drop-notes", "--output", tmp_path / "out")
    assert (code, told) == (0, "the notes of 2 rare words were left behind\n")
    # Notes that were never taken change nothing, so there is nothing to drop.
    for path in (run, classifier):
        with_notes(path, 0)
        assert tools.invoke("export", path, "--output", tmp_path / path.name) == (0, "")


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-64])


def not_finite(path: Path) -> None:
    tensors = load_file(path)
    tensors["encoder.layers.0.feed_forward.up.bias"][3] = float("nan")
    save_file(tensors, path)


def other_shape(path: Path) -> None:
    tensors = load_file(path)
    tensors["encoder.layers.1.attention.qkv.weight"] = torch.zeros(5, 5)
    save_file(tensors, path)


@pytest.mark.parametrize("poison", [truncated, not_finite, other_shape])
def test_a_poisoned_model(make_run, make_classifier, tools, tmp_path: Path, poison) -> None:
    for number, made in enumerate((make_run(), make_classifier())):
        path = tmp_path / str(number)
        shutil.copytree(made, path)
        poison(path / "model.safetensors")
        assert str(path) in refused(tools, 1, path, output=tmp_path / "out")


def test_a_vocabulary_that_is_none(make_run, tools, tmp_path: Path) -> None:
    """Found before anything is written."""
    run = make_run(norm="post", positions="absolute")
    vocabulary = run / "vocabulary" / "siliang.model"
    vocabulary.write_bytes(b"not a model")
    for form in ("huggingface", "bert"):
        assert "not a SentencePiece model" in refused(tools, 1, run, "--format", form, output=tmp_path / "out")
    vocabulary.unlink()
    assert "no vocabulary here" in refused(tools, 1, run, output=tmp_path / "out")


def test_what_fails_on_the_way_leaves_nothing(make_run, tmp_path: Path) -> None:
    from trainer.export.staging import staged

    with pytest.raises(OSError, match="full"):
        with staged(tmp_path / "a" / "out") as directory:
            (directory / "half").write_text("half")
            raise OSError("the disk is full")
    assert list((tmp_path / "a").iterdir()) == []
