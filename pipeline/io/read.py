"""Input files to batches of records: the right reader for each file, batches bounded by bytes and rows.

Bad data never raises: it becomes a row with `quarantine` (one of REASONS) and `detail`. Byte offsets in `detail` count
from 0 after decompression and, where a UTF-16 or UTF-32 mark was found, after the conversion to UTF-8.
"""

from collections.abc import Iterable, Iterator
from contextlib import closing

import pyarrow as pa

from pipeline.config import InputConfig
from pipeline.doc_id import doc_id
from pipeline.io.content import read_content
from pipeline.io.decompress import ReadError, read_range
from pipeline.io.formats.jsonl import read_jsonl_span
from pipeline.io.formats.names import KNOWN, chosen_format
from pipeline.io.formats.record import Record, failed, quarantined
from pipeline.io.inputs import InputFile
from pipeline.records import RECORDS

BATCH_BYTES = 4 << 20
"""Text of one batch, unless a single record is longer."""
BATCH_ROWS = 1024

_PROBLEMS = {
    "link_loop": "the link leads to a directory that is read already",
    "unreadable": "the file or directory cannot be read (permissions, or a link that leads nowhere)",
    "unsupported_format": f"it is no regular file, or its format is not known; known are {KNOWN}",
}


def read_batches(file: InputFile, config: InputConfig) -> Iterator[pa.RecordBatch]:
    """Batches of the schema RECORDS, at least one row for every file.

    Raises only what another try may mend (the network, too many open files).
    """
    return read_files([file], config)


def read_files(files: Iterable[InputFile], config: InputConfig) -> Iterator[pa.RecordBatch]:
    """The rows of all files in order. Small files share a batch: making one costs as much as reading a mail."""
    rows = _Rows()
    for file in files:
        media = "html" if chosen_format(file.relative, file.path, config.formats) == "html" else "text"
        for record in read_records(file, config):
            if rows.full_with(record):
                yield rows.take()
            rows.add(record, file, media)
    if rows:
        yield rows.take()


def read_records(file: InputFile, config: InputConfig) -> Iterator[Record]:
    """The records of one file in order; a file without any gives one that is quarantined as `empty`."""
    if file.problem is not None:
        yield quarantined(1, file.problem, _PROBLEMS.get(file.problem, file.problem))
        return
    last = 0
    try:
        for record in _content(file, config):
            last = record.position
            yield record
    except ReadError as error:  # the file could not be opened
        yield failed(last + 1 if last or file.span is None else file.span.line, error)
        return
    if not last and file.span is not None:
        where = f"bytes {file.span.start} to {file.span.end}"
        yield quarantined(file.span.line, "empty", f"the file holds no record in a whole part of it, {where}")
    elif not last:
        yield quarantined(1, "empty", "the file holds no record" if file.size else "the file is empty")


def _content(file: InputFile, config: InputConfig) -> Iterator[Record]:
    if file.span is not None:
        with closing(read_range(file.path, file.span.start, file.span.end)) as chunks:
            yield from read_jsonl_span(chunks, file.span.start, file.span.line, config)
    else:
        kind = chosen_format(file.relative, file.path, config.formats)
        yield from read_content(file.path, kind, file.size, config)


class _Rows:
    """The rows of the batch that is being made."""

    def __init__(self) -> None:
        self._columns: dict[str, list] = {name: [] for name in RECORDS.names}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._columns["record"])

    def full_with(self, record: Record) -> bool:
        return len(self) >= BATCH_ROWS or (len(self) > 0 and self._bytes + len(record.text) > BATCH_BYTES)

    def add(self, record: Record, file: InputFile, media: str) -> None:
        path = f"{file.relative}/{record.member}" if record.member else file.relative
        name = f"{path}#{record.position}"
        text = record.text.encode()
        # The name stands in for content that is not there, so that such records do not pass for copies.
        content = text if record.reason is None else record.raw or name.encode()
        row = {
            "record": name,
            "source": file.source,
            "media": record.media or media,
            "doc_id": doc_id(content),
            "text": text,
            "chars_in": record.chars,
            "repairs": list(record.repairs),
            "quarantine": record.reason,
            "detail": None if record.detail is None else record.detail.encode("utf-8", "replace"),
        }
        for column, value in row.items():
            self._columns[column].append(value)
        self._bytes += len(text)

    def take(self) -> pa.RecordBatch:
        arrays = [pa.array(values, RECORDS.field(name).type) for name, values in self._columns.items()]
        for values in self._columns.values():
            values.clear()
        self._bytes = 0
        return pa.RecordBatch.from_arrays(arrays, schema=RECORDS)
