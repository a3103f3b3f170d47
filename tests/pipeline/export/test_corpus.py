"""What is exported is what was prepared, in every format, whole or not at all."""

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest
import sentencepiece

from pipeline.export.corpus import FORMATS, export
from pipeline.export.directory import ExportError
from schemas.arrow import example, note
from schemas.manifest import ManifestError, write_manifest
from schemas.shard import SchemaError, open_shard


def contents(directory: Path) -> dict[str, bytes]:
    return {
        path.relative_to(directory).as_posix(): path.read_bytes() for path in directory.rglob("*") if path.is_file()
    }


@pytest.mark.parametrize("text", [False, True])
def test_parquet(made, tmp_path, text):
    done = export(made.path, tmp_path / "out", "parquet", text=text)
    names = ["doc_id", "tokens", "rare", *(["text"] if text else [])]
    for split, rows in made.rows.items():
        paths = sorted((tmp_path / "out" / split).iterdir())
        assert [path.stem for path in paths] == [Path(entry.path).stem for entry in made.manifest.under(split)]
        table = pa.concat_tables([pyarrow.parquet.read_table(path) for path in paths])
        assert table.to_pylist() == [{name: row[name] for name in names} for row in rows]
        assert table.schema.field("tokens").type == example(made.manifest.vocabulary_size).field("tokens").type
    assert [(d.split, d.files, d.documents) for d in done] == [("train", 2, 55), ("test", 1, len(made.rows["test"]))]
    assert sum(d.tokens for d in done) == made.manifest.tokens


def test_the_notes_and_the_vocabulary_come_along(made, tmp_path):
    export(made.path, tmp_path / "out", "parquet", ["test"])
    assert not (tmp_path / "out/train").exists()
    notes = pyarrow.parquet.read_table(tmp_path / "out/notes")
    schema = note(made.manifest.vocabulary_size)
    assert (
        notes.to_pylist() == open_shard(made.path / made.manifest.under("notes")[0].path, schema).read_all().to_pylist()
    )
    model = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "out/siliang.model"))
    row = made.rows["test"][1]
    assert model.decode(row["tokens"]) == row["text"]


def test_jsonl(made, tmp_path):
    export(made.path, tmp_path / "out", "jsonl")
    model = sentencepiece.SentencePieceProcessor(model_file=str(made.path / "vocabulary/siliang.model"))
    for split, rows in made.rows.items():
        lines = b"".join(path.read_bytes() for path in sorted((tmp_path / "out" / split).iterdir())).split(b"\n")
        found = [json.loads(line) for line in lines[:-1]]
        assert found == [{"doc_id": row["doc_id"], "text": row["text"]} for row in rows]
        assert [model.encode(row["text"]) for row in found] == [row["tokens"] for row in rows]
        assert lines[-1] == b""
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"train", "test"}


@pytest.mark.parametrize("form", FORMATS)
def test_same_bytes_again(made, tmp_path, form):
    (tmp_path / "empty").mkdir()
    for name in ("one", "empty"):
        export(made.path, tmp_path / name, form)
    assert contents(tmp_path / "one") == contents(tmp_path / "empty")
    assert {path.name for path in tmp_path.iterdir()} == {"one", "empty"}


def test_what_lies_in_the_output_stays(made, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ExportError, match="not empty"):
        export(made.path, tmp_path / "out", "jsonl")
    with pytest.raises(ExportError, match="no directory"):
        export(made.path, tmp_path / "file", "jsonl")
    assert contents(tmp_path) == {"out/mine.txt": b"mine", "file": b"mine"}


def broken(made, tmp_path: Path, **changes: Any) -> Path:
    shutil.copytree(made.path, tmp_path / "data")
    write_manifest(tmp_path / "data", made.manifest.model_copy(update=changes))
    return tmp_path / "data"


@pytest.mark.parametrize("form", FORMATS)
def test_a_damaged_corpus_leaves_nothing_behind(made, tmp_path, form):
    data = broken(made, tmp_path)
    last = data / made.manifest.under("train")[-1].path
    last.write_bytes(last.read_bytes()[:-40])
    with pytest.raises(SchemaError, match=last.name):
        export(data, tmp_path / "out", form)
    files = [entry.model_copy(update={"rows": entry.rows + 1}) for entry in made.manifest.files]
    shutil.rmtree(data)
    with pytest.raises(ManifestError, match="rows, the manifest says"):
        export(broken(made, tmp_path, files=files), tmp_path / "out", form)
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_ids_that_the_vocabulary_lacks(made, tmp_path):
    data = broken(made, tmp_path)
    schema = example(made.manifest.vocabulary_size)
    row = {"doc_id": "0" * 32, "tokens": [60_000], "rare": []}
    with pa.OSFile(str(data / made.manifest.under("test")[0].path), "wb") as sink, pa.ipc.new_file(sink, schema) as out:
        out.write_batch(pa.RecordBatch.from_pylist([row], schema=schema))
    with pytest.raises(ManifestError, match="not in the vocabulary"):
        export(data, tmp_path / "out", "jsonl", ["test"])


@pytest.mark.parametrize(
    ("output", "form", "splits", "message"),
    [
        ("out", "csv", (), "--format csv: choose one of parquet, jsonl, mds"),
        ("out", "mds", ("dev",), "--split dev: choose of train, valid, test"),
        ("out", "mds", ("valid",), "no document there, only in train, test"),
        ("gs://bucket/out", "mds", (), "local directories"),
    ],
)
def test_what_cannot_be_asked_for(made, tmp_path, monkeypatch, output, form, splits, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ExportError, match=message):
        export(made.path, output, form, splits)
    assert list(tmp_path.iterdir()) == []
