"""MDS shards, read by a reader written from the format's description, and against the library where it is."""

import json
import sys
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from pipeline.export.corpus import export
from pipeline.export.mds import MdsWriter
from schemas.arrow import example
from schemas.shard import open_shard

COLUMNS = {"doc_id": "str", "rare": "json", "text": "str", "tokens": "ndarray:uint16"}


def decoded(encoding: str, data: bytes) -> Any:
    if encoding == "str":
        return data.decode()
    if encoding == "json":
        return json.loads(data)
    dimensions, width = divmod(data[0], 4)
    assert dimensions == 1
    size = 1 << width
    values = np.frombuffer(data[1 + size :], encoding.removeprefix("ndarray:"))
    assert len(values) == int.from_bytes(data[1 : 1 + size], "little")
    return values.tolist()


def read(directory: Path) -> Iterator[dict[str, Any]]:
    index = json.loads((directory / "index.json").read_text())
    assert index["version"] == 2
    for shard in index["shards"]:
        data = (directory / shard["raw_data"]["basename"]).read_bytes()
        assert len(data) == shard["raw_data"]["bytes"]
        count = int(np.frombuffer(data[:4], "<u4")[0])
        offsets = np.frombuffer(data[4 : 8 + 4 * count], "<u4")
        header = json.loads(data[8 + 4 * count : offsets[0]])
        assert header.items() <= shard.items()
        assert (count, offsets[-1]) == (shard["samples"], len(data))
        names, encodings = shard["column_names"], shard["column_encodings"]
        for start, end in pairwise(offsets.tolist()):
            sizes = np.frombuffer(data[start : start + 4 * len(names)], "<u4").astype(np.int64)
            cuts = start + 4 * len(names) + np.concatenate([[0], np.cumsum(sizes)])
            assert cuts[-1] == end
            yield {n: decoded(e, data[a:b]) for n, e, a, b in zip(names, encodings, cuts[:-1], cuts[1:], strict=True)}


def expected(rows: list[dict[str, Any]], text: bool) -> list[dict[str, Any]]:
    found = []
    for row in rows:
        rare = [[span["start"], span["end"], span["word"]] for span in row["rare"]]
        found.append({"doc_id": row["doc_id"], "rare": rare, "tokens": row["tokens"]})
        if text:
            found[-1]["text"] = row["text"]
    return found


@pytest.mark.parametrize("text", [False, True])
def test_round_trip(made, tmp_path, text):
    export(made.path, tmp_path / "out", "mds", text=text)
    for split, rows in made.rows.items():
        assert list(read(tmp_path / "out" / split)) == expected(rows, text)


def batches(made) -> list[pa.RecordBatch]:
    schema = example(made.manifest.vocabulary_size)
    tables = [open_shard(made.path / entry.path, schema).read_all() for entry in made.manifest.under("train")]
    texts = pa.array([row["text"] for row in made.rows["train"]])
    return pa.concat_tables(tables).append_column("text", texts).combine_chunks().to_batches(max_chunksize=7)


@pytest.mark.parametrize("limit", [2000, 20_000, 1 << 26])
def test_shards_keep_to_the_limit(made, tmp_path, limit):
    parts = batches(made)
    writer = MdsWriter(tmp_path, parts[0].schema, limit)
    writer.write(parts)
    writer.close()
    assert list(read(tmp_path)) == expected(made.rows["train"], True)
    shards = json.loads((tmp_path / "index.json").read_text())["shards"]
    assert all(shard["raw_data"]["bytes"] <= limit or shard["samples"] == 1 for shard in shards)
    assert len(shards) > 1 or limit == 1 << 26


@pytest.fixture
def streaming(monkeypatch) -> ModuleType:
    """The library, its vision part left out: it alone needs torchvision."""
    for name in ("torchvision", "torchvision.datasets", "torchvision.transforms", "torchvision.transforms.functional"):
        module = ModuleType(name)
        module.__spec__ = ModuleSpec(name, None)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(sys.modules["torchvision.datasets"], "VisionDataset", object, raising=False)
    monkeypatch.setattr(sys.modules["torchvision.transforms.functional"], "to_tensor", None, raising=False)
    return pytest.importorskip("streaming", exc_type=ImportError)


@pytest.mark.parametrize("limit", [2000, 20_000, 1 << 26])
def test_the_library_writes_the_same_bytes(made, tmp_path, limit, streaming):
    parts = batches(made)
    table = pa.Table.from_batches(parts)
    table = table.filter(pc.greater(pc.list_value_length(table["tokens"]), 0))  # it refuses empty arrays
    writer = MdsWriter(tmp_path / "ours", table.schema, limit)
    writer.write(table.to_batches())
    writer.close()
    with streaming.MDSWriter(columns=COLUMNS, out=str(tmp_path / "theirs"), size_limit=limit) as theirs:
        for row in expected([row for row in made.rows["train"] if row["tokens"]], True):
            theirs.write(row | {"tokens": np.array(row["tokens"], np.uint16)})
    names = sorted(path.name for path in (tmp_path / "theirs").iterdir())
    assert sorted(path.name for path in (tmp_path / "ours").iterdir()) == names
    for name in names:
        assert (tmp_path / "ours" / name).read_bytes() == (tmp_path / "theirs" / name).read_bytes()


def test_the_library_reads_them(made, tmp_path, streaming):
    export(made.path, tmp_path / "out", "mds")
    from streaming.base.format import reader_from_json

    found = []
    for shard in json.loads((tmp_path / "out/train/index.json").read_text())["shards"]:
        reader = reader_from_json(str(tmp_path / "out"), "train", shard)
        found += [reader.get_item(number) for number in range(shard["samples"])]
    found = [row | {"tokens": row["tokens"].tolist()} for row in found]
    assert found == expected(made.rows["train"], False)
