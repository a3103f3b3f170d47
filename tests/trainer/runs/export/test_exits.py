"""Early exits in int8: segments whose batch shrinks between them, and what `predict` says by them."""

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from schemas.manifest import file_digest
from trainer.export.exit_directory import OnnxExits
from trainer.export.exit_segments import FIRST_INPUTS, LATER_INPUTS, segments_of, write_segments
from trainer.export.onnx_directory import session_of
from trainer.export.quantising import quantise
from trainer.export.source import classifier_source
from trainer.finetune.directory import Head
from trainer.finetune.examples import Encoding, collate
from trainer.finetune.table import Row
from trainer.light.early_exit.branch import uncertainty
from trainer.light.early_exit.directory import LoadedEarlyExit, load_early_exit, write_early_exit
from trainer.light.early_exit.model import EarlyExitClassifier
from trainer.model.encoder import Encoder
from trainer.tokenizer import Tokenizer

from .conftest import scramble

POINT = {"score": 0.9, "layers": 2.0, "flops": 1.0, "leaving": [0, 0]}
TEXTS = [f"{'the whale and ' * (k % 5)}the ship number {k}" for k in range(40)] + [""]


@pytest.fixture(scope="module")
def made(place, config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory as `early-exit` writes it, with random weights: one exit, behind the first of two layers."""
    origin = place()
    digest = file_digest(origin / "vocabulary" / "siliang.model")
    head = Head.model_validate(
        {"kind": "classification", "labels": ["no", "yes", "perhaps"], "max_length": 32, "vocabulary": digest}
    )
    points = [POINT | {"speed": 0.0}, POINT | {"speed": 0.8, "score": 0.85, "layers": 1.4, "flops": 0.7}]
    calibration = {"file": "0" * 64, "examples": 40, "metric": "accuracy", "full": 0.9, "machine": "none", "threads": 1}
    exits = {
        "exits": [1], "branch": {"pooling": "attention", "width": 16, "heads": 2}, "top_classes": 2, "speed": 0.8,
        "calibration": calibration | {"points": points},
    }  # fmt: skip
    loaded_exits = LoadedEarlyExit.model_fields["exits"].annotation.model_validate(exits)
    model = EarlyExitClassifier(Encoder(config(positions="tupe-a")), head.meaning(), loaded_exits)
    scramble(model, 3)
    tokenizer = Tokenizer(origin / "vocabulary" / "siliang.model")
    loaded = LoadedEarlyExit(model=model.eval(), tokenizer=tokenizer, head=head, exits=loaded_exits)
    output = tmp_path_factory.mktemp("exits") / "fast"
    result = {"task": "early-exit", "metric": "accuracy", "full": 0.9, "speed": 0.8, "valid": points[1]}
    write_early_exit(output, origin, loaded, result)
    return output


@pytest.fixture(scope="module")
def small(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("small") / "out"
    quantise(made, output)
    return output


def rows_of(loaded: LoadedEarlyExit):
    encoding = Encoding(loaded.tokenizer, "classification", 32, False, False)
    examples = [encoding.encode(Row("", text)) for text in TEXTS]
    return collate(examples, range(len(TEXTS)), loaded.model.encoder.config.max_length)


@torch.no_grad()
def middle(loaded: LoadedEarlyExit) -> float:
    """The speed at which half of the texts leave at the first exit."""
    batch = rows_of(loaded)
    states, _ = loaded.model.states(batch)
    unsure_B = uncertainty(loaded.model.branches[0](states[0], batch.segments_BT), loaded.exits.top_classes)
    return float(unsure_B.sort().values[len(TEXTS) // 2 - 1 : len(TEXTS) // 2 + 1].mean())


@pytest.mark.slow
def test_segments_in_fp32_are_the_model(made: Path, tmp_path: Path) -> None:
    """Every row's logits and layers are those of the early-exit model, whatever left before."""
    loaded = load_early_exit(made)
    files, _ = write_segments(classifier_source(made, loaded), loaded.model, tmp_path)
    assert len(files) == len(segments_of(loaded.model)) == 2
    sessions = [session_of(path, 1) for path in files]
    assert [tuple(i.name for i in s.get_inputs()) for s in sessions] == [FIRST_INPUTS, LATER_INPUTS]
    whole = OnnxExits(
        sessions=sessions, tokenizer=loaded.tokenizer, head=loaded.head, exits=loaded.exits,
        config=loaded.model.encoder.config,
    )  # fmt: skip
    batch = rows_of(loaded)
    layers = []
    for speed in (0.0, middle(loaded), 1.0):
        expected = loaded.model.answer(batch, speed)
        logits_BK, layers_B = whole.answer(batch.tokens_BT.numpy(), batch.segments_BT.numpy(), speed)
        assert layers_B.tolist() == expected.layers_B.tolist()
        np.testing.assert_allclose(logits_BK, expected.logits_BK, atol=1e-4)
        layers.append(layers_B.mean())
    assert layers[0] == 2
    assert layers[1] == pytest.approx(1.5, abs=0.1)


def test_int8_by_speed(made: Path, small: Path, tools, tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("\n".join(TEXTS) + "\n")

    def answers(path: Path, *more: object) -> list[dict]:
        code, errors, output = tools.invoke_output("predict", path, tmp_path / "texts.txt", "--json", *more)
        assert code == 0, errors
        return [json.loads(line) for line in output.splitlines()]

    for more in ((), ("--speed", 0), ("--lose", 100), ("--speed", middle(load_early_exit(made)))):
        whole, int8 = answers(made, *more), answers(small, *more)
        assert np.mean([a["label"] == b["label"] for a, b in zip(whole, int8, strict=True)]) > 0.8
        assert np.mean([a["layers"] == b["layers"] for a, b in zip(whole, int8, strict=True)]) > 0.7
    assert {one["layers"] for one in int8} == {1, 2}
    assert {one["layers"] for one in answers(small, "--speed", 0)} == {2}
    chosen = answers(small)
    # A text's answer does not depend on the others in its batch, but for the rounding of activations with them.
    (tmp_path / "texts.txt").write_text(TEXTS[7] + "\n")
    (alone,) = answers(small)
    assert alone["probabilities"] == pytest.approx(chosen[7]["probabilities"], abs=0.1)
    code, errors = tools.invoke("predict", small, tmp_path / "texts.txt", "--latency", 5)
    assert (code, "not measured in int8; --speed or --lose" in errors) == (2, True)
    assert sum(p.stat().st_size for p in small.glob("*.onnx")) < 0.9 * (made / "model.safetensors").stat().st_size
    assert "early exits in int8" in (small / "README.md").read_text()
    code, _, card = tools.invoke_output("card", made)
    assert (code, "valid `accuracy` at speed 0.8, 1.40 layers in the mean" in card) == (0, True)
    # The whole of it is no plain export.
    code, errors = tools.invoke("export", made, "--output", tmp_path / "out")
    assert (code, "`quantise` one with early exits" in errors) == (1, True)


def a_segment_less(path: Path) -> None:
    (path / "segment-01.onnx").unlink()


def swapped(path: Path) -> None:
    shutil.copyfile(path / "segment-00.onnx", path / "segment-01.onnx")


def one_more_exit(path: Path) -> None:
    described = json.loads((path / "model.json").read_text())
    described["early_exit"]["exits"] = [0, 1]
    (path / "model.json").write_text(json.dumps(described))


def not_finite(path: Path) -> None:
    model = onnx.load(path / "segment-00.onnx")
    scales = [t for t in model.graph.initializer if t.name.endswith("_scale") and t.float_data]
    for tensor in scales or [t for t in model.graph.initializer if t.data_type == onnx.TensorProto.FLOAT]:
        tensor.CopyFrom(
            onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor) * np.float32("nan"), tensor.name)
        )
    (path / "segment-00.onnx").write_bytes(model.SerializeToString())
    described = json.loads((path / "model.json").read_text())
    described["onnx"]["sha256"][0] = file_digest(path / "segment-00.onnx")
    (path / "model.json").write_text(json.dumps(described))


def not_json(path: Path) -> None:
    (path / "model.json").write_text('{"schema": "siliang-model/1", "task": "onnx-early-exit"}')


@pytest.mark.parametrize("poison", [a_segment_less, swapped, one_more_exit, not_finite, not_json])
def test_a_poisoned_directory(small: Path, tools, tmp_path: Path, poison) -> None:
    path = tmp_path / "model"
    shutil.copytree(small, path)
    poison(path)
    (tmp_path / "texts.txt").write_text("the whale\n")
    code, errors = tools.invoke("predict", path, tmp_path / "texts.txt")
    assert (code, errors.startswith("error: "), len(errors.splitlines())) == (1, True, 1), errors
