"""model.onnx in ONNX Runtime: the same numbers for any batch and length, and what `predict` says by it."""

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from trainer.export.exporting import export
from trainer.export.onnx_directory import INPUTS, session_of
from trainer.export.quantising import quantise
from trainer.run import load_model

POSITIONS = ["absolute", "sinusoidal", "tupe-a", "bert-r", "alibi"]
SHAPES = [(3, 40), (1, 2), (5, 7), (1, 33)]


def check_masked_lm(run: Path, output: Path) -> None:
    """All outputs within 1e-4 for every shape, with and without padding."""
    export(run, "onnx", output)
    model, session = load_model(run), session_of(output / "model.onnx", 1)
    assert [(i.name, i.shape) for i in session.get_inputs()] == [(name, ["batch", "length"]) for name in INPUTS]
    for rows, length in SHAPES:
        tokens_BT = torch.randint(6, 600, (rows, length), generator=torch.Generator().manual_seed(length))
        mask_BT = torch.ones_like(tokens_BT)
        mask_BT[-1, length // 2 + 1 :] = 0
        positions_BT = torch.arange(length) * mask_BT
        inside = mask_BT.flatten().nonzero().flatten()
        logits, states = session.run(None, dict(zip(INPUTS, (tokens_BT.numpy(), mask_BT.numpy()), strict=True)))
        with torch.no_grad():
            expected = model.logits(tokens_BT, mask_BT, positions_BT, inside)
            h_BTD = model.encoder(tokens_BT, mask_BT, positions_BT)
        np.testing.assert_allclose(logits.reshape(rows * length, -1)[inside], expected, atol=1e-4, rtol=0)
        np.testing.assert_allclose(states[mask_BT.bool().numpy()], h_BTD[mask_BT.bool()], atol=1e-4, rtol=0)


@pytest.mark.slow
def test_a_masked_lm(make_run, tmp_path: Path) -> None:
    check_masked_lm(make_run(positions="rope", norm="pre-extra", head_scale=True, layers=1), tmp_path / "out")


@pytest.mark.slow
@pytest.mark.parametrize("positions", POSITIONS)
@pytest.mark.parametrize("norm", ["pre", "post"])
def test_all_kinds_of_models(make_run, tmp_path: Path, positions: str, norm: str) -> None:
    check_masked_lm(make_run(positions=positions, norm=norm), tmp_path / "out")


@pytest.mark.slow
def test_a_pruned_model(make_run, tmp_path: Path) -> None:
    shapes = [{"heads": [1, 3], "feed_forward": 16}, {"heads": [2], "feed_forward": 40}]
    check_masked_lm(make_run(positions="tupe-a", shapes=shapes), tmp_path / "out")


@pytest.fixture(scope="module")
def pair(make_classifier, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(classifier, its export); tests must not change them."""
    classifier = make_classifier(positions="tupe-r")
    output = tmp_path_factory.mktemp("onnx") / "out"
    export(classifier, "onnx", output)
    return classifier, output


def texts(path: Path) -> Path:
    long = "the sea and the ship " * 20
    path.write_text(f"the whale\n\n{long}\n" + "Call me Ishmael\n" * 40, encoding="utf-8")
    return path


def test_predict_says_the_same(pair: tuple[Path, Path], tools, tmp_path: Path) -> None:
    answers = []
    for path in pair:
        code, errors, output = tools.invoke_output("predict", path, texts(tmp_path / "texts.txt"), "--json")
        assert code == 0, errors
        assert "1 texts were longer than the model and were cut" in errors
        answers.append([json.loads(line) for line in output.splitlines()])
    assert len(answers[0]) == len(answers[1]) == 43
    for ours, theirs in zip(*answers, strict=True):
        assert ours["label"] == theirs["label"]
        assert theirs["probabilities"] == pytest.approx(ours["probabilities"], abs=1e-4)
    assert tools.invoke("predict", pair[1], tmp_path / "texts.txt", "--speed", "0.5")[0] == 2


def test_the_file_says_its_opset_and_its_bytes(pair: tuple[Path, Path]) -> None:
    described = json.loads((pair[1] / "model.json").read_text())
    model = onnx.load(pair[1] / "model.onnx")
    onnx.checker.check_model(model)
    assert [o.version for o in model.opset_import if not o.domain] == [described["onnx"]["opset"]]
    assert described["onnx"]["precision"] == "fp32"
    assert {path.name for path in pair[1].iterdir()} >= {"model.onnx", "model.json", "tokenizer.json", "vocabulary"}
    # No path of this machine in it.
    assert str(Path.home()).encode() not in (pair[1] / "model.onnx").read_bytes()
    assert b"site-packages" not in (pair[1] / "model.onnx").read_bytes()
    assert b"trainer/export" not in (pair[1] / "model.onnx").read_bytes()


@pytest.mark.parametrize("kind", ["regression", "tokens"])
@pytest.mark.slow
def test_values_and_words(make_classifier, tools, tmp_path: Path, kind: str) -> None:
    classifier = make_classifier(kind)
    export(classifier, "onnx", tmp_path / "out")
    answers = []
    for path in (classifier, tmp_path / "out"):
        (tmp_path / "texts.txt").write_text("the whale of the sea\nships\n")
        code, errors, output = tools.invoke_output("predict", path, tmp_path / "texts.txt", "--json")
        assert code == 0, errors
        answers.append([json.loads(line) for line in output.splitlines()])
    for ours, theirs in zip(*answers, strict=True):
        if kind == "regression":
            assert theirs["value"] == pytest.approx(ours["value"], abs=1e-4)
        else:
            assert theirs["labels"] == ours["labels"]


def labelled(path: Path) -> Path:
    path.write_text("".join(f"the whale number {k}\t{('no', 'yes', 'perhaps')[k % 3]}\n" for k in range(60)))
    return path


def test_int8(make_classifier, tools, tmp_path: Path) -> None:
    classifier, output = make_classifier(layers=1), tmp_path / "int8"
    options = ["--test", labelled(tmp_path / "t.tsv"), "--text", "1", "--label", "2"]
    code, errors, printed = tools.invoke_output("quantise", classifier, "--output", output, *options, "--json")
    assert (code, errors) == (0, "")
    found = json.loads(printed)
    assert found["examples"] == 60
    assert found["agreement"] > 0.8
    assert found["int8"]["loss"] == pytest.approx(found["fp32"]["loss"], abs=0.2)
    assert found["int8"] != found["fp32"]
    assert (output / "model.onnx").stat().st_size < 0.6 * (classifier / "model.safetensors").stat().st_size
    kinds = {node.op_type for node in onnx.load(output / "model.onnx").graph.node}
    assert "MatMulInteger" in kinds or "DynamicQuantizeMatMul" in kinds
    assert json.loads((output / "model.json").read_text())["onnx"]["precision"] == "int8"
    code, _, printed = tools.invoke_output("predict", output, texts(tmp_path / "texts.txt"))
    assert (code, len(printed.splitlines())) == (0, 43)
    errors = tools.invoke("quantise", classifier, "--output", output)[1]
    assert "is not empty" in errors


def test_a_quantised_test_set_is_read_first(pair: tuple[Path, Path], tools, tmp_path: Path) -> None:
    """Nothing is written for a label that training never saw or options that do not fit."""
    (tmp_path / "t.tsv").write_text("a whale\tmaybe\n")
    for code, options, told in (
        (1, ["--test", tmp_path / "t.tsv", "--text", "1", "--label", "2"], "label 'maybe' was never seen in training"),
        (2, ["--test", tmp_path / "t.tsv", "--text", "1"], "--test needs"),
        (2, ["--label", "2"], "belong to --test"),
        (2, ["--test", tmp_path / "t.tsv", "--text", "1", "--text-b", "1", "--label", "2"], "no --text-b"),
    ):
        found, errors = tools.invoke("quantise", pair[0], "--output", tmp_path / "out", *options)
        assert (found, told in errors) == (code, True), errors
        assert not (tmp_path / "out").exists()


def rewrite(path: Path, change) -> None:
    """Alters model.json, with the digest of model.onnx as it is now."""
    from schemas.manifest import file_digest

    described = json.loads((path / "model.json").read_text())
    change(described)
    described["onnx"]["sha256"] = file_digest(path / "model.onnx")
    (path / "model.json").write_text(json.dumps(described))


def truncated(path: Path) -> None:
    (path / "model.onnx").write_bytes((path / "model.onnx").read_bytes()[:-100])


def no_onnx(path: Path) -> None:
    (path / "model.onnx").write_bytes(b"not a model")
    rewrite(path, lambda described: None)


def files_elsewhere(path: Path) -> None:
    """Weights that would be read from a file outside."""
    secret = path.parent / "secret"
    secret.write_bytes(bytes(4 * 600 * 64))
    model = onnx.load(path / "model.onnx")
    largest = max(model.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    size = len(largest.raw_data)
    largest.ClearField("raw_data")
    largest.data_location = onnx.TensorProto.EXTERNAL
    for key, value in (("location", "../secret"), ("offset", "0"), ("length", str(size))):
        largest.external_data.add(key=key, value=value)
    (path / "model.onnx").write_bytes(model.SerializeToString())
    rewrite(path, lambda described: None)


def more_labels(path: Path) -> None:
    rewrite(path, lambda described: described["classification"]["labels"].append("more"))


def another_key(path: Path) -> None:
    rewrite(path, lambda described: described.update(code="import os"))


def not_finite(path: Path) -> None:
    model = onnx.load(path / "model.onnx")
    largest = max(model.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    largest.raw_data = np.full(len(largest.raw_data) // 4, np.nan, dtype=np.float32).tobytes()
    (path / "model.onnx").write_bytes(model.SerializeToString())
    rewrite(path, lambda described: None)


def other_vocabulary(path: Path) -> None:
    vocabulary = path / "vocabulary" / "siliang.model"
    vocabulary.write_bytes(vocabulary.read_bytes() + b"\n")


@pytest.mark.parametrize(
    "poison", [truncated, no_onnx, files_elsewhere, more_labels, another_key, not_finite, other_vocabulary]
)
def test_a_poisoned_directory(pair: tuple[Path, Path], tools, tmp_path: Path, monkeypatch, poison) -> None:
    path = tmp_path / "model"
    shutil.copytree(pair[1], path)
    poison(path)
    monkeypatch.chdir(path)
    code, errors = tools.invoke("predict", path, texts(tmp_path / "texts.txt"))
    assert code == 1, errors
    assert errors.startswith("error: ")
    assert len(errors.splitlines()) == 1


def test_predict_needs_a_classifier(make_run, tools, tmp_path: Path, pair: tuple[Path, Path]) -> None:
    path = tmp_path / "model"
    shutil.copytree(pair[1], path)
    rewrite(path, lambda described: described.update(classification=None))
    code, errors = tools.invoke("predict", path, texts(tmp_path / "texts.txt"))
    assert (code, "is a masked LM, no classifier" in errors) == (1, True)


@pytest.mark.slow
def test_the_same_bytes_twice(make_classifier, tmp_path: Path) -> None:
    classifier = make_classifier()
    for name in ("a", "b"):
        quantise(classifier, tmp_path / name)
    for path in (tmp_path / "a").rglob("*"):
        if path.is_file():
            assert path.read_bytes() == (tmp_path / "b" / path.relative_to(tmp_path / "a")).read_bytes(), path.name
