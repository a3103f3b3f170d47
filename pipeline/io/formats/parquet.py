"""Parquet files, row group by row group, the text column alone."""

import io
from collections.abc import Iterator
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.config import InputConfig
from pipeline.io.decompress import TRANSIENT, ReadError
from pipeline.io.formats.record import Record, checked, decode, failed, joined, missing_text

_ROWS = 256
"""Rows decoded at once: 256 rows of 10 KB are 2.5 MB."""
_DAMAGE = (pa.ArrowException, OSError, ValueError, TypeError, OverflowError, KeyError)
"""What pyarrow raises on damaged files (ArrowMemoryError for absurd sizes among them)."""


def read_parquet(source: IO[bytes] | pa.NativeFile, config: InputConfig) -> Iterator[Record]:
    """Position: ordinal of the row in the file. A row group that cannot be read is quarantined from its first
    unread row on as one record `corrupt_parquet`; the other row groups are used. Damage that leaves the compression
    and the encoding valid is found only in files written with page checksums."""
    if source.seek(0, io.SEEK_END) == 0:
        return
    source.seek(0)
    try:
        # Buffered pages instead of whole column chunks: row groups of 1 GB are common.
        file = pq.ParquetFile(source, buffer_size=1 << 20, pre_buffer=False, page_checksum_verification=True)
        names = list(file.schema_arrow.names)
        counts = [file.metadata.row_group(i).num_rows for i in range(file.metadata.num_row_groups)]
        if min(counts, default=0) < 0 or sum(counts) != file.metadata.num_rows:
            raise ValueError(f"the row groups count {sum(counts)} rows, the file {file.metadata.num_rows}")
    except _DAMAGE as error:
        yield failed(1, _failure(error), "the file cannot be opened as Parquet")
        return
    field = next((name for name in config.text_fields if name in names), None)
    first = 1
    for group, count in enumerate(counts):
        if field is None:
            missing = missing_text(names, config.text_fields)
            for position in range(first, first + count):
                yield failed(position, missing, f"row {position}")
        else:
            yield from _read_group(file, group, field, first, count, config)
        first += count


def _read_group(
    file: pq.ParquetFile, group: int, field: str, first: int, count: int, config: InputConfig
) -> Iterator[Record]:
    position = first
    try:
        for batch in file.iter_batches(batch_size=_ROWS, row_groups=[group], columns=[field], use_threads=False):
            for value in _values(batch.column(0)):
                yield _record(position, value, field, config)
                position += 1
        if position < first + count:
            raise ValueError(f"only {position - first} of {count} rows are there")
    except _DAMAGE as error:
        rows = f"row group {group + 1}, rows {position} to {first + count - 1}"
        yield failed(position, _failure(error), f"{rows}: the column '{field}' cannot be read")


def _values(column: pa.Array) -> list[Any]:
    """Strings as bytes: Parquet does not promise valid UTF-8, and one bad row must not cost the others."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    kind = column.type
    if _is_text(kind):
        return column.cast(pa.large_binary()).to_pylist()
    if (pa.types.is_list(kind) or pa.types.is_large_list(kind)) and _is_text(kind.value_type):
        return column.cast(pa.large_list(pa.large_binary())).to_pylist()
    return column.to_pylist()


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def _record(position: int, value: Any, field: str, config: InputConfig) -> Record:
    where = f"row {position}"
    raw = value if isinstance(value, bytes) else b""
    try:
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
