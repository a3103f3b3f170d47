"""Checkpoints that someone tampered with: told in one line, no code run, nothing written."""

import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from trainer.finetune.data import Files
from trainer.finetune.finetuning import finetune
from trainer.finetune.settings import build_settings
from trainer.finetune.table import Columns
from trainer.progress import ProgressLine


class Exploit:
    """Unpickled, it makes a directory."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self):
        return os.mkdir, (str(self.place),)


@pytest.fixture(scope="module")
def classifier(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("classifier")
    table = directory / "train.tsv"
    table.write_text("the whale\t1\nthe ship\t0\n" * 4)
    config = build_settings(chosen={"learning_rates": [0.01], "seeds": 1, "epochs": 1, "threads": 1, "device": "cpu"})
    finetune(
        finished_run, Files(table, table, Columns("1", None, "2")), directory / "out", config, ProgressLine(quiet=True)
    )
    return directory / "out"


def a_pickle(run: Path, evil: Path) -> None:
    (run / "model.safetensors").write_bytes(pickle.dumps(Exploit(evil)))


def a_torch_file(run: Path, evil: Path) -> None:
    torch.save({"encoder.token_embedding.weight": Exploit(evil)}, run / "model.safetensors")


def a_pickle_beside(run: Path, evil: Path) -> None:
    for name in ("pytorch_model.bin", "model.pt", "training_args.bin"):
        (run / name).write_bytes(pickle.dumps(Exploit(evil)))
    (run / "model.safetensors").unlink()
    shutil.rmtree(run / "checkpoints", ignore_errors=True)


def truncated(run: Path, evil: Path) -> None:
    path = run / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def a_huge_header(run: Path, evil: Path) -> None:
    (run / "model.safetensors").write_bytes((1 << 60).to_bytes(8, "little") + b"{}")


def not_a_number(run: Path, evil: Path) -> None:
    tensors = load_file(run / "model.safetensors")
    tensors["encoder.token_embedding.weight"][7, 3] = float("nan")
    save_file(tensors, run / "model.safetensors")


def wrong_shape(run: Path, evil: Path) -> None:
    tensors = load_file(run / "model.safetensors")
    tensors["encoder.token_embedding.weight"] = tensors["encoder.token_embedding.weight"][:-1].clone()
    save_file(tensors, run / "model.safetensors")


def a_tensor_more(run: Path, evil: Path) -> None:
    tensors = load_file(run / "model.safetensors")
    save_file(tensors | {"../../evil": torch.zeros(1)}, run / "model.safetensors")


def a_tensor_less(run: Path, evil: Path) -> None:
    tensors = load_file(run / "model.safetensors")
    tensors.pop(sorted(tensors)[0])
    save_file(tensors, run / "model.safetensors")


def a_vast_model(run: Path, evil: Path) -> None:
    described = json.loads((run / "model.json").read_text())
    described["config"]["max_length"] = 1 << 40
    (run / "model.json").write_text(json.dumps(described))


def endless_layers(run: Path, evil: Path) -> None:
    described = json.loads((run / "model.json").read_text())
    described["config"]["layers"] = 1 << 40
    (run / "model.json").write_text(json.dumps(described))


def an_unknown_key(run: Path, evil: Path) -> None:
    described = json.loads((run / "model.json").read_text())
    described["config"]["auto_map"] = "../../evil.py"
    (run / "model.json").write_text(json.dumps(described))


def no_object(run: Path, evil: Path) -> None:
    (run / "model.json").write_text("[" * 50_000)


def another_vocabulary(run: Path, evil: Path) -> None:
    path = run / "vocabulary" / "siliang.model"
    path.write_bytes(path.read_bytes()[:1000])


POISONS = [
    a_pickle, a_torch_file, a_pickle_beside, truncated, a_huge_header, not_a_number, wrong_shape, a_tensor_more,
    a_tensor_less, a_vast_model, endless_layers, an_unknown_key, no_object, another_vocabulary,
]  # fmt: skip


@pytest.mark.parametrize("poison", POISONS)
def test_a_poisoned_classifier_is_refused(
    classifier: Path, tmp_path: Path, tools, poison: Callable[[Path, Path], None]
) -> None:
    run, evil, texts = tmp_path / "run", tmp_path / "evil", tmp_path / "texts.txt"
    shutil.copytree(classifier, run)
    texts.write_text("the whale\n")
    poison(run, evil)
    code, errors, printed = tools.invoke_output("predict", run, texts)
    assert code == 1, errors
    assert errors.startswith("error: ")
    assert str(run) in errors
    assert len(errors) < 600
    assert printed == ""
    assert not evil.exists()


@pytest.mark.parametrize("poison", POISONS)
def test_a_poisoned_run_is_refused(
    finished_run: Path, tmp_path: Path, tools, poison: Callable[[Path, Path], None]
) -> None:
    run, evil, table = tmp_path / "run", tmp_path / "evil", tmp_path / "train.tsv"
    shutil.copytree(finished_run, run)
    table.write_text("the whale\t1\nthe ship\t0\n" * 4)
    poison(run, evil)
    data = ["--train", table, "--valid", table, "--text", 1, "--label", 2, "--output", tmp_path / "out"]
    code, errors = tools.invoke("finetune", run, *data)
    assert code == 1, errors
    assert errors.startswith("error: ")
    assert str(run) in errors
    assert not evil.exists()
    assert not (tmp_path / "out").exists()


def test_paths_in_a_checkpoints_state_are_not_followed(finished_run: Path, tmp_path: Path, tools) -> None:
    """state.json names files with their sha256; only the known names are read."""
    run, evil = tmp_path / "run", tmp_path / "secret"
    shutil.copytree(finished_run, run)
    evil.write_text("secret")
    (run / "model.safetensors").unlink()
    for path in (run / "checkpoints").glob("step-*"):
        state = json.loads((path / "state.json").read_text())
        state["files"] = {"../../../secret": "0" * 64}
        (path / "state.json").write_text(json.dumps(state))
    code, errors = tools.invoke("evaluate", run)
    assert (code, "no sound checkpoint" in errors) == (1, True)
    assert evil.read_text() == "secret"
