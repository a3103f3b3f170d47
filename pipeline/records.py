"""The batch that travels through `clean`: one row per input record, columns added step by step.

Every step takes and returns a pyarrow.RecordBatch and keeps all rows in order; a record is never removed, only judged.
"""

from collections.abc import Mapping

import pyarrow as pa

RECORDS = pa.schema(
    [
        pa.field("record", pa.string(), nullable=False),  # path relative to the input root, '#', 1-based position
        pa.field("source", pa.string(), nullable=False),
        pa.field("media", pa.string(), nullable=False),  # "text" or "html"
        pa.field("doc_id", pa.string(), nullable=False),
        pa.field("text", pa.string(), nullable=False),  # "" where quarantined
        pa.field("chars_in", pa.uint64(), nullable=False),
        pa.field("repairs", pa.list_(pa.string()), nullable=False),
        pa.field("quarantine", pa.string()),  # reason code, or null for a sound record
        pa.field("detail", pa.string()),  # what was found and where in the file, for people
    ]
)
"""What a reader yields. Later steps add: language, language_score, script; the statistics; scores, verdict, rule."""


def with_columns(batch: pa.RecordBatch, columns: Mapping[str, pa.Array]) -> pa.RecordBatch:
    """A new batch in which `columns` replace those of the same name or stand at the end. The input is not changed."""
    arrays = dict(zip(batch.schema.names, batch.columns, strict=True))
    arrays.update(columns)
    return pa.RecordBatch.from_arrays(list(arrays.values()), names=list(arrays))
