"""Any Arrow reader opens the shards."""

import re
from pathlib import Path
from typing import Any

import duckdb
import polars
import pyarrow as pa
import pyarrow.dataset
import pytest
import torch
from datasets import Dataset, concatenate_datasets

from pipeline.export.corpus import export
from schemas.manifest import read_manifest

pytestmark = pytest.mark.xdist_group("prepared")


@pytest.fixture(scope="module")
def shards(prepared) -> list[str]:
    return [str(prepared / entry.path) for entry in read_manifest(prepared).under("train")]


@pytest.fixture(scope="module")
def rows(prepared) -> int:
    return sum(entry.rows for entry in read_manifest(prepared).under("train"))


@pytest.fixture(scope="module")
def tokens(prepared) -> int:
    return sum(entry.tokens for entry in read_manifest(prepared).under("train"))


def test_pyarrow(shards, rows):
    data = pyarrow.dataset.dataset(shards, format="ipc")
    assert data.count_rows() == rows
    first = pa.ipc.open_file(pa.memory_map(shards[0])).get_batch(0)
    values = first["tokens"].values.to_numpy(zero_copy_only=True)
    assert values.dtype == "uint16"


def test_polars(shards, rows, tokens):
    frame = polars.concat([polars.read_ipc(shard) for shard in shards])
    assert frame.height == rows
    assert frame["tokens"].list.len().sum() == tokens
    assert list(frame["rare"].dtype.inner.to_schema()) == ["start", "end", "word"]


def test_duckdb(shards, rows, tokens):
    connection = duckdb.connect()
    connection.register("examples", pyarrow.dataset.dataset(shards, format="ipc"))
    [found] = connection.sql("select count(*), sum(len(tokens)), max(len(rare)) from examples").fetchall()
    assert found[:2] == (rows, tokens)
    assert found[2] > 0


def test_hugging_face_datasets(shards, rows, tokens):
    parts = [Dataset(pa.ipc.open_file(pa.memory_map(shard)).read_all()) for shard in shards]
    data = concatenate_datasets(parts)
    assert len(data) == rows
    assert sum(len(row["tokens"]) for row in data) == tokens
    assert set(data.column_names) == {"doc_id", "tokens", "rare"}


def test_hugging_face_datasets_from_file(shards, rows):
    """`load_dataset("arrow")` reads both kinds of Arrow file."""
    from datasets import load_dataset

    assert len(load_dataset("arrow", data_files=shards, split="train")) == rows


def test_torch(shards, rows, tokens):
    """Without a copy: torch reads the mapped file."""
    lengths, total = 0, 0
    for shard in shards:
        reader = pa.ipc.open_file(pa.memory_map(shard))
        for number in range(reader.num_record_batches):
            batch = reader.get_batch(number)
            ids = torch.from_dlpack(batch["tokens"].values)
            assert ids.data_ptr() == batch["tokens"].values.buffers()[1].address
            assert ids.dtype == torch.uint16
            total += len(ids)
            lengths += batch.num_rows
    assert (lengths, total) == (rows, tokens)


def test_the_documented_snippets_run(prepared, rows, tokens, tmp_path):
    """docs/shards.md, as it stands there."""
    page = (Path(__file__).parent.parent.parent / "docs" / "shards.md").read_text(encoding="utf-8")
    reading, exports = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    found: dict[str, Any] = {"data": str(prepared), "exported": str(tmp_path / "out")}
    exec(reading, found)
    assert found["frame"].height == len(found["dataset"]) == rows
    assert len(found["longest"]) == 3
    assert len(found["text"]) > 20
    padded = list(found["loader"])
    assert sum(len(batch) for batch in padded) == rows
    assert sum(int((batch != 0).sum()) for batch in padded) == tokens
    text = found["text"]
    export(prepared, tmp_path / "out", "parquet", text=True)
    exec(exports, found)
    assert found["frame"].height == len(found["dataset"]) == len(found["rows"]) == rows
    assert sum(length for _, length, _ in found["rows"]) == tokens
    assert found["rows"][0][2] == text == found["tokenizer"].decode(found["frame"]["tokens"][0].to_list())
