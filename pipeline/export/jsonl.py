"""JSON Lines: one file for each shard, one document a line."""

from collections.abc import Iterable
from pathlib import Path

import orjson
import pyarrow as pa


def write_jsonl(path: Path, batches: Iterable[pa.RecordBatch]) -> None:
    """{"doc_id": ..., "text": ...} a line, of batches with these columns."""
    path.parent.mkdir(exist_ok=True)
    with path.open("wb") as handle:
        for batch in batches:
            for doc_id, text in zip(batch["doc_id"], batch["text"], strict=True):
                row = {"doc_id": doc_id.as_py(), "text": text.as_py()}
                handle.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))
