"""The Arrow sink: fixed batches, a digest while writing, a rename at the end.

Beam's own sinks name files by order and chance and lose rename errors; shards must have the same bytes every time.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.io.filesystem import AtomicFile
from schemas.arrow import BATCH_ROWS
from schemas.manifest import FileEntry


def _text_bytes(table: pa.Table) -> np.ndarray:
    """UTF-8 bytes of each row's strings: a property of the values, unlike a buffer's size."""
    total = np.zeros(table.num_rows, np.int64)
    for column in table.columns:
        if pa.types.is_string(column.type):
            total += pc.fill_null(pc.binary_length(column), 0).to_numpy()
    return total


def _fresh(table: pa.Table) -> pa.RecordBatch:
    """One batch in new buffers: those of a slice differ in length with what it was cut from, and so would the bytes.

    Concatenating with an empty array always copies; combine_chunks of a single chunk does not.
    """
    arrays = [pa.concat_arrays([*column.chunks, pa.array([], column.type)]) for column in table.columns]
    return pa.RecordBatch.from_arrays(arrays, schema=table.schema)


class ArrowSink:
    """Collects rows and writes them in batches of BATCH_ROWS, whatever the sizes they arrive in.

    `batch_bytes` closes a batch early once it holds that many bytes, which bounds the memory of long texts; the cut
    depends on the rows alone, never on how they arrive.
    """

    def __init__(
        self, path: str, schema: pa.Schema, *, compressed: bool = True, batch_bytes: int | None = None
    ) -> None:
        self._schema = schema
        self._file = AtomicFile(path)
        options = pa.ipc.IpcWriteOptions(compression="zstd" if compressed else None)
        self._writer = pa.ipc.new_file(self._file, schema, options=options)
        self._batch_bytes = batch_bytes
        self._pending: list[pa.Table] = []
        self._pending_rows = 0
        self.rows = 0

    def write(self, rows: pa.Table | pa.RecordBatch) -> None:
        """Appends rows; their fields must be those of the schema, in order."""
        table = pa.Table.from_batches([rows]) if isinstance(rows, pa.RecordBatch) else rows
        if not table.num_rows:
            return
        self._pending.append(table.cast(self._schema))
        self._pending_rows += table.num_rows
        self.rows += table.num_rows
        if self._pending_rows >= BATCH_ROWS or self._batch_bytes is not None:
            self._flush(final=False)

    def _flush(self, final: bool) -> None:
        table = pa.concat_tables(self._pending) if self._pending else self._schema.empty_table()
        start = 0
        while start < table.num_rows:
            length = self._batch_length(table, start)
            if length is None:
                if not final:
                    break
                length = table.num_rows - start
            self._writer.write_batch(_fresh(table.slice(start, length)))
            start += length
        self._pending = [table.slice(start)] if start < table.num_rows else []
        self._pending_rows = table.num_rows - start

    def _batch_length(self, table: pa.Table, start: int) -> int | None:
        """Rows of the next full batch, or None where the pending rows do not fill one."""
        available = min(BATCH_ROWS, table.num_rows - start)
        if self._batch_bytes is not None:
            filled = np.cumsum(_text_bytes(table.slice(start, available)))
            length = int(np.searchsorted(filled, self._batch_bytes)) + 1
            if length <= available:
                return length
        return BATCH_ROWS if available == BATCH_ROWS else None

    def close(self) -> None:
        self._flush(final=True)
        self._writer.close()
        self._file.commit()

    def abandon(self) -> None:
        self._file.abandon()

    def entry(self, path: str, tokens: int = 0) -> FileEntry:
        """The manifest's line for the file; call after close."""
        return FileEntry(path=path, sha256=self._file.sha256, bytes=self._file.bytes, rows=self.rows, tokens=tokens)
