"""`embed`: means of states over a text's pieces, in Arrow."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from typer.testing import CliRunner

from schemas.vocabulary import CLS, SEP
from trainer.cli import app
from trainer.embedding import CHUNK, open_embedder
from trainer.finetune.data import Files
from trainer.finetune.finetuning import finetune
from trainer.finetune.settings import build_settings
from trainer.finetune.table import Columns, Row
from trainer.progress import ProgressLine
from trainer.run import load_encoder
from trainer.tokenizer import Tokenizer


def read(path: Path) -> pa.Table:
    with pa.OSFile(str(path), "rb") as source:
        return pa.ipc.open_stream(source).read_all()


def mean_of(run: Path, text: str) -> np.ndarray:
    """Taken alone, without padding."""
    ids = torch.tensor([[CLS, *Tokenizer(run / "vocabulary" / "siliang.model").encode(text), SEP]])
    with torch.no_grad():
        h_BTD = load_encoder(run)(ids, torch.ones_like(ids), torch.arange(ids.shape[1])[None])
    return h_BTD[0, 1:-1].mean(0).numpy()


TEXTS = ["the whale", "Call me Ishmael. Some years ago", "", "sea", "the sea and the ship " * 30]


def test_lines_of_a_text(finished_run: Path, tmp_path: Path, tools) -> None:
    (tmp_path / "texts.txt").write_text("\n".join(TEXTS))
    output = tmp_path / "new" / "vectors.arrow"
    code, errors, printed = tools.invoke_output("embed", finished_run, tmp_path / "texts.txt", "--output", output)
    assert (code, errors) == (0, "1 texts were longer than the model and were cut\n")
    assert printed == f"5 texts: {output}\n"
    found = read(output)
    assert found.schema.field("embedding").type == pa.list_(pa.float32(), 16)
    assert found.column("row").to_pylist() == list(range(5))
    assert found.column("id").null_count == 5
    assert found.column("cut").to_pylist() == [False] * 4 + [True]
    assert found.column("pieces").to_pylist()[2:5:2] == [0, 30]
    vectors = np.array(found.column("embedding").to_pylist(), dtype=np.float32)
    for k in (0, 1, 3):
        np.testing.assert_allclose(vectors[k], mean_of(finished_run, TEXTS[k]), atol=1e-5)
    assert (vectors[2] == 0).all()
    assert list(output.parent.iterdir()) == [output]


def test_ids_chunks_and_the_same_bytes(finished_run: Path, tmp_path: Path, tools) -> None:
    count = CHUNK + 7
    lines = [json.dumps({"key": f"doc-{k}", "t": "whale " * (1 + k % 5)}) for k in range(count)]
    (tmp_path / "t.jsonl").write_text("\n".join(lines))
    for name in ("a", "b"):
        options = ["--text", "t", "--id", "key", "--output", tmp_path / name]
        assert tools.invoke("embed", finished_run, tmp_path / "t.jsonl", *options) == (0, "")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    found = read(tmp_path / "a")
    assert found.column("id").to_pylist() == [f"doc-{k}" for k in range(count)]
    assert [len(batch) for batch in found.to_batches()] == [CHUNK, 7]
    vectors = found.column("embedding").combine_chunks().flatten().to_numpy().reshape(count, -1)
    np.testing.assert_allclose(vectors[CHUNK], mean_of(finished_run, "whale " * (1 + CHUNK % 5)), atol=1e-5)


def test_standard_input_and_a_classifier(finished_run: Path, tmp_path: Path) -> None:
    (tmp_path / "t.tsv").write_text("the whale\t1\nthe ship\t0\n" * 4)
    files = Files(tmp_path / "t.tsv", tmp_path / "t.tsv", Columns("1", None, "2"))
    chosen = {"learning_rates": [0.01], "seeds": 1, "epochs": 1, "threads": 1, "device": "cpu", "max_length": 16}
    finetune(finished_run, files, tmp_path / "c", build_settings(chosen=chosen), ProgressLine(quiet=True))
    arguments = ["embed", str(tmp_path / "c"), "-", "--output", str(tmp_path / "v.arrow")]
    done = CliRunner().invoke(app, arguments, input="the whale\nthe ship\n")
    assert done.exit_code == 0
    (found,) = open_embedder(tmp_path / "c").batches([Row("", "the whale"), Row("", "the ship")])
    assert read(tmp_path / "v.arrow").equals(pa.Table.from_batches([found]))
    assert open_embedder(tmp_path / "c").longest == 16


def test_memory_is_a_batch(finished_run: Path) -> None:
    """The first batch comes before the rest of the input is read."""
    taken = 0

    def rows():
        nonlocal taken
        while True:
            taken += 1
            yield Row("", "the whale")

    next(iter(open_embedder(finished_run).batches(rows())))
    assert taken == CHUNK


@pytest.mark.parametrize(
    ("content", "options", "code", "told"),
    [
        (b"a\n\xff\n", [], 1, "line 2: not UTF-8"),
        (b'{"t": "a", "k": ["x"]}', ["--text", "t", "--id", "k", "--format", "jsonl"], 1, "line 1: the id is a list"),
        (b'{"t": ["a"]}', ["--text", "t", "--format", "jsonl"], 1, "line 1: the text is a list"),
        (b"a" * 900, ["--refuse-long"], 1, "pieces; this model reads 32"),
        (b"a", ["--id", "k"], 2, "--id COL belongs to tables"),
        (b"a", ["--format", "jsonl"], 2, "--format belongs to tables"),
        (b"a", ["--text", "t", "--format", "xml"], 2, "--format xml: allowed"),
    ],
)
def test_bad_input(
    finished_run: Path, tmp_path: Path, tools, content: bytes, options: list[str], code: int, told: str
) -> None:
    (tmp_path / "input").write_bytes(content)
    found, errors = tools.invoke("embed", finished_run, tmp_path / "input", "--output", tmp_path / "v.arrow", *options)
    assert (found, told in errors) == (code, True), errors
    assert [path.name for path in tmp_path.iterdir()] == ["input"]


def test_other_outputs_and_models(finished_run: Path, tmp_path: Path, tools) -> None:
    (tmp_path / "t.txt").write_text("a")
    code, errors = tools.invoke("embed", finished_run, tmp_path / "t.txt", "--output", tmp_path / "t.txt")
    assert (code, "is there already" in errors) == (2, True)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "model.json").write_text('{"schema": "siliang-model/1", "task": "onnx"}')
    (tmp_path / "other" / "model.safetensors").write_bytes(b"")
    code, errors = tools.invoke("embed", tmp_path / "other", tmp_path / "t.txt", "--output", tmp_path / "v")
    assert (code, "holds a model of task 'onnx'" in errors) == (1, True)
