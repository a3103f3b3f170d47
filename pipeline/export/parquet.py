"""Parquet: one file for each shard, with the shard's own columns."""

from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet

ROW_GROUP_BYTES = 32 << 20
"""Arrow bytes of a row group: readers take memory for a whole one."""


def write_parquet(path: Path, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> None:
    """The batches in order, zstd-compressed. Memory: one row group."""
    path.parent.mkdir(exist_ok=True)
    with pyarrow.parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        group: list[pa.RecordBatch] = []
        for batch in batches:
            group.append(batch)
            if sum(part.nbytes for part in group) >= ROW_GROUP_BYTES:
                writer.write_table(pa.Table.from_batches(group, schema))
                group = []
        if group:
            writer.write_table(pa.Table.from_batches(group, schema))
