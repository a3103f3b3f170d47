"""Parquet files, row group by row group, the text column alone."""

import io
from collections.abc import Iterator
from typing import IO, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.config import InputConfig
from pipeline.io.decompress import TRANSIENT, ReadError, check_expansion
from pipeline.io.formats.record import Record, checked, decode, failed, joined, missing_text, too_long

_ROWS = 256
"""Rows decoded at once, at most: 256 rows of 10 KB are 2.5 MB."""
_DECODED = 1 << 26
"""Bytes decoded at once, at most, unless a single value is longer. A dictionary or a delta encoding can repeat a text
for every row, but no value is longer than all pages of its column chunk."""
_DICTIONARY = 1 << 26
"""Bytes of a column chunk that may be read as a dictionary, which holds the whole chunk in memory."""
_DAMAGE = (pa.ArrowException, OSError, ValueError, TypeError, OverflowError, LookupError)
"""What pyarrow raises on damaged files (ArrowMemoryError for absurd sizes among them)."""


def read_parquet(source: IO[bytes] | pa.NativeFile, config: InputConfig) -> Iterator[Record]:
    """Position: ordinal of the row in the file. A row group that cannot be read is quarantined from its first
    unread row on as one record `corrupt_parquet`; the other row groups are used. Damage that leaves the compression
    and the encoding valid is found only in files written with page checksums.

    Pages and dictionaries can both hide a decompression bomb: a text stored once may stand in a million rows. So
    the bytes of all values are counted, and the first row beyond the limits ends the file."""
    stored = source.seek(0, io.SEEK_END)
    if stored == 0:
        return
    source.seek(0)
    try:
        file = _open(source)
        names = list(file.schema_arrow.names)
        field = next((name for name in config.text_fields if name in names), None)
        paths = [path for path in _paths(file) if path == field or path.startswith(f"{field}.")]
        groups = range(file.metadata.num_row_groups)
        counts = [file.metadata.row_group(i).num_rows for i in groups]
        largest = max((_pages(file, i, paths)[1] for i in groups), default=0)
        if field is not None and _is_list(file.schema_arrow.field(field).type) and largest <= _DICTIONARY:
            # One row may repeat a text without end; read as a dictionary it holds only references.
            file = _open(source, read_dictionary=paths, metadata=file.metadata)
        if min(counts, default=0) < 0 or sum(counts) != file.metadata.num_rows:
            raise ValueError(f"the row groups count {sum(counts)} rows, the file {file.metadata.num_rows}")
    except _DAMAGE as error:
        yield failed(1, _failure(error), "the file cannot be opened as Parquet")
        return
    first, total, produced = 1, sum(counts), 0
    for group, count in enumerate(counts):
        if field is None:
            missing = missing_text(names, config.text_fields)
            for position in range(first, first + count):
                yield failed(position, missing, f"row {position}")
        else:
            reached = first
            try:
                for record, size in _read_group(file, group, field, paths, first, count, config):
                    produced += size
                    check_expansion(produced, stored, config)
                    yield record
                    reached += 1
            except ReadError as bomb:
                yield failed(reached, bomb, f"row group {group + 1}, rows {reached} to {total}")
                return
        first += count


def _read_group(
    file: pq.ParquetFile, group: int, field: str, paths: list[str], first: int, count: int, config: InputConfig
) -> Iterator[tuple[Record, int]]:
    """Records with the bytes of their values. Raises ReadError for a bomb."""
    position = first
    try:
        stored, size = _pages(file, group, paths)
        check_expansion(size, stored, config)
        rows = min(_ROWS, max(1, _DECODED // max(1, size)))
        for batch in file.iter_batches(batch_size=rows, row_groups=[group], columns=[field], use_threads=False):
            for value in _values(batch.column(0)):
                length = _size(value)
                yield _record(position, value, length, field, config), length
                position += 1
        if position < first + count:
            raise ValueError(f"only {position - first} of {count} rows are there")
    except _DAMAGE as error:
        where = f"row group {group + 1}, rows {position} to {first + count - 1}"
        yield failed(position, _failure(error), f"{where}: the column '{field}' cannot be read"), 0


def _open(source: IO[bytes] | pa.NativeFile, **options: Any) -> pq.ParquetFile:
    # Buffered pages instead of whole column chunks: row groups of 1 GB are common.
    return pq.ParquetFile(source, buffer_size=1 << 20, pre_buffer=False, page_checksum_verification=True, **options)


def _paths(file: pq.ParquetFile) -> list[str]:
    return [file.schema.column(i).path for i in range(len(file.schema))]


def _pages(file: pq.ParquetFile, group: int, paths: list[str]) -> tuple[int, int]:
    """Bytes of a row group's pages below `paths`: as they are stored, and decompressed."""
    row_group = file.metadata.row_group(group)
    chunks = [row_group.column(i) for i in range(row_group.num_columns)]
    chunks = [chunk for chunk in chunks if chunk.path_in_schema in paths]
    return sum(c.total_compressed_size for c in chunks), sum(c.total_uncompressed_size for c in chunks)


def _values(column: pa.Array) -> Iterator[Any]:
    """Strings as bytes: Parquet does not promise valid UTF-8, and one bad row must not cost the others."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        # Rows that share a value share one object.
        words = column.dictionary
        known: dict[int, Any] = {}
        if _is_text(kind.value_type):
            words = words.cast(pa.large_binary())
        for index in column.indices.to_pylist():
            if index is not None and index not in known:
                known[index] = words[index].as_py()
            yield known.get(index)
    elif _is_text(kind):
        yield from column.cast(pa.large_binary()).to_pylist()
    elif _is_list(kind):
        items = list(_values(column.flatten()))
        at = 0
        for length in pc.list_value_length(column).to_pylist():
            yield None if length is None else items[at : at + length]
            at += length or 0
    else:
        yield from column.to_pylist()


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def _is_list(kind: pa.DataType) -> bool:
    return pa.types.is_list(kind) or pa.types.is_large_list(kind)


def _size(value: Any) -> int:
    if isinstance(value, list):
        return sum(len(item) + 1 for item in value if isinstance(item, bytes | str))
    return len(value) if isinstance(value, bytes | str) else 0


def _record(position: int, value: Any, size: int, field: str, config: InputConfig) -> Record:
    where = f"row {position}"
    raw = value if isinstance(value, bytes) else b""
    try:
        if isinstance(value, list) and size > config.max_record_bytes + 1:  # before the items are joined
            raise ReadError("record_too_long", too_long(size - 1, config.max_record_bytes, "the list"))
        if isinstance(value, bytes):
            value = _decode(value)
        elif isinstance(value, list):
            value = [_decode(item) if isinstance(item, bytes) else item for item in value]
        text = joined(value, field)
    except ReadError as error:
        return failed(position, error, where, raw)
    return checked(position, text, where, config.max_record_bytes)


def _decode(value: bytes) -> str:
    return decode(value, 0)


def _failure(error: Exception) -> ReadError:
    """Raises `error` where another try may succeed."""
    if isinstance(error, OSError) and (error.errno or isinstance(error, ConnectionError | TimeoutError)):
        if error.errno in TRANSIENT or isinstance(error, ConnectionError | TimeoutError):
            raise error
        return ReadError("unreadable", error.strerror or type(error).__name__)
    return ReadError("corrupt_parquet", " ".join(str(error).split())[:300])
