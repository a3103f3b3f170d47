"""Input files to batches of records: the right reader for each file, batches bounded by bytes and rows.

Bad data never raises: it becomes a row with `quarantine` (one of REASONS) and `detail`. Byte offsets in `detail` count
from 0 after decompression and, where a UTF-16 or UTF-32 mark was found, after the conversion to UTF-8.
"""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing

import pyarrow as pa

from pipeline.config import InputConfig
from pipeline.doc_id import doc_id
from pipeline.io.decompress import ReadError, open_raw, read_chunks
from pipeline.io.filesystem import is_url
from pipeline.io.formats.csv import read_csv
from pipeline.io.formats.html import read_html
from pipeline.io.formats.json import read_json
from pipeline.io.formats.jsonl import read_jsonl
from pipeline.io.formats.names import KNOWN, compression_of, format_of
from pipeline.io.formats.parquet import read_parquet
from pipeline.io.formats.record import Record, failed, quarantined
from pipeline.io.formats.text import read_text
from pipeline.io.formats.wikiextractor import read_wikiextractor
from pipeline.io.inputs import InputFile
from pipeline.records import RECORDS

BATCH_BYTES = 4 << 20
"""Text of one batch, unless a single record is longer."""
BATCH_ROWS = 1024

_READERS: dict[str, Callable[[Iterator[bytes], InputConfig], Iterator[Record]]] = {
    "text": read_text,
    "html": read_html,
    "json": read_json,
    "jsonl": read_jsonl,
    "csv": read_csv,
    "wikiextractor": read_wikiextractor,
}
_PROBLEMS = {
    "link_loop": "the link leads to a directory that is read already",
    "unreadable": "the file or directory cannot be read (permissions, or a link that leads nowhere)",
    "unsupported_format": f"it is no regular file, or its format is not known; known are {KNOWN}",
}


def read_batches(file: InputFile, config: InputConfig) -> Iterator[pa.RecordBatch]:
    """Batches of the schema RECORDS, at least one row for every file.

    Raises only what another try may mend (the network, too many open files).
    """
    media = "html" if format_of(file.path) == "html" else "text"
    rows = _Rows(file, media)
    for record in read_records(file, config):
        if rows.full_with(record):
            yield rows.take()
        rows.add(record)
    yield rows.take()


def read_records(file: InputFile, config: InputConfig) -> Iterator[Record]:
    """The records of one file in order; a file without any gives one that is quarantined as `empty`."""
    if file.problem is not None:
        yield quarantined(1, file.problem, _PROBLEMS.get(file.problem, file.problem))
        return
    last = 0
    try:
        for record in _read_format(file, config):
            last = record.position
            yield record
    except ReadError as error:  # the file could not be opened
        yield failed(last + 1, error)
        return
    if not last:
        yield quarantined(1, "empty", "the file holds no record" if file.size else "the file is empty")


def _read_format(file: InputFile, config: InputConfig) -> Iterator[Record]:
    name = format_of(file.path) or "wikiextractor"  # list_inputs knew it by its content
    if name == "parquet":
        yield from _read_parquet(file, config)
        return
    with closing(read_chunks(file.path, file.size, config)) as chunks:
        yield from _READERS[name](chunks, config)


def _read_parquet(file: InputFile, config: InputConfig) -> Iterator[Record]:
    """Parquet is read from its end, so a compressed one is decompressed to a temporary file first."""
    if compression_of(file.path) is None:
        with open_raw(file.path) as raw:
            if is_url(file.path):
                yield from read_parquet(raw, config)
            else:
                with pa.OSFile(file.path) as source:
                    yield from read_parquet(source, config)
        return
    with tempfile.TemporaryFile() as whole:
        for chunk in read_chunks(file.path, file.size, config):
            whole.write(chunk)
        whole.seek(0)
        yield from read_parquet(whole, config)


class _Rows:
    """The rows of the batch that is being made."""

    def __init__(self, file: InputFile, media: str) -> None:
        self._file = file
        self._media = media
        self._columns: dict[str, list] = {name: [] for name in RECORDS.names}
        self._bytes = 0

    def full_with(self, record: Record) -> bool:
        rows = len(self._columns["record"])
        return rows >= BATCH_ROWS or (rows > 0 and self._bytes + len(record.text) > BATCH_BYTES)

    def add(self, record: Record) -> None:
        name = f"{self._file.relative}#{record.position}"
        text = record.text.encode()
        # The name stands in for content that is not there, so that such records do not pass for copies.
        content = text if record.reason is None else record.raw or name.encode()
        row = {
            "record": name,
            "source": self._file.source,
            "media": self._media,
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
