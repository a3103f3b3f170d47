"""MDS, version 2: the shards of MosaicML's `streaming` (docs.mosaicml.com, "Dataset format").

A shard file, little-endian: samples n, uint32; n + 1 offsets into the file, uint32; a JSON header that repeats the
shard's line of index.json; the samples. A sample: the byte lengths of its values, uint32 each; the values, both in the
order of the columns' names.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.export.directory import ExportError

SIZE_LIMIT = 1 << 26
"""Bytes of a shard file, which the library's own writer has by default; a longer document has a file of its own."""
_LARGEST = (1 << 32) - 1
_FIELD = 4
"""Bytes of an offset, and of a length."""


class MdsWriter:
    """Writes one split. Memory: one shard file.

    Columns: `doc_id` (str), `tokens` (ndarray of the shards' own type), `rare` (json: [start, end, word] a span), and
    `text` (str) where the batches have it.
    """

    def __init__(self, directory: Path, schema: pa.Schema, size_limit: int = SIZE_LIMIT) -> None:
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        item = schema.field("tokens").type.value_type
        encodings = {"doc_id": "str", "rare": "json", "text": "str", "tokens": f"ndarray:{item}"}
        self._columns = [name for name in sorted(encodings) if name in schema.names]
        self._config: dict[str, Any] = {
            "version": 2,
            "format": "mds",
            "compression": None,
            "hashes": [],
            "size_limit": size_limit,
            "column_names": self._columns,
            "column_encodings": [encodings[name] for name in self._columns],
            "column_sizes": [None] * len(self._columns),
        }
        self._header = json.dumps(self._config, sort_keys=True).encode()
        self._limit = size_limit
        self._samples: list[bytes] = []
        self._bytes = self._empty = 2 * _FIELD + len(self._header)
        self._shards: list[dict[str, Any]] = []

    def write(self, batches: Iterable[pa.RecordBatch]) -> None:
        for batch in batches:
            columns = [batch[name] for name in self._columns]
            for row in range(batch.num_rows):
                self._add([_value(name, column[row]) for name, column in zip(self._columns, columns, strict=True)])

    def _add(self, values: list[bytes]) -> None:
        sample = b"".join([np.array([len(value) for value in values], "<u4").tobytes(), *values])
        size = len(sample) + _FIELD
        if self._samples and self._bytes + size > self._limit:
            self._flush()
        if self._bytes + size > _LARGEST:
            raise ExportError("a document of over 4 GB does not fit an MDS shard; export it as parquet or jsonl")
        self._samples.append(sample)
        self._bytes += size

    def _flush(self) -> None:
        offsets = np.zeros(len(self._samples) + 1, np.int64)
        np.cumsum([len(sample) for sample in self._samples], out=offsets[1:])
        offsets += _FIELD * (1 + len(offsets)) + len(self._header)
        count = np.array([len(self._samples)], "<u4")
        name = f"shard.{len(self._shards):05d}.mds"
        with (self._directory / name).open("wb") as handle:
            handle.writelines([count.tobytes(), offsets.astype("<u4").tobytes(), self._header, *self._samples])
        raw = {"basename": name, "bytes": int(offsets[-1]), "hashes": {}}
        self._shards.append({**self._config, "samples": len(self._samples), "raw_data": raw, "zip_data": None})
        self._samples, self._bytes = [], self._empty

    def close(self) -> None:
        """Writes the last shard and the index."""
        if self._samples:
            self._flush()
        index = json.dumps({"version": 2, "shards": self._shards}, sort_keys=True)
        (self._directory / "index.json").write_text(index)


def _value(name: str, scalar: Any) -> bytes:
    if name == "tokens":
        return _vector(scalar.values.to_numpy())
    if name == "rare":
        return json.dumps([[span["start"], span["end"], span["word"]] for span in scalar.as_py()]).encode()
    return bytes(scalar.as_py().encode())


def _vector(values: npt.NDArray[Any]) -> bytes:
    """An ndarray of one dimension: 4 * dimensions + (bytes of a length: 0 for one, 1 for two, 2 for four), the length
    in as few bytes, the values."""
    width = 0 if len(values) < 1 << 8 else 1 if len(values) < 1 << 16 else 2
    return b"".join([bytes([4 + width]), len(values).to_bytes(1 << width, "little"), values.tobytes()])
