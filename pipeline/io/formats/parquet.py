"""Parquet files, row group by row group, the text column alone, which may stand in a struct."""

import io
from collections.abc import Iterator
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.config import InputConfig
from pipeline.io.decompress import ReadError, check_expansion
from pipeline.io.formats.columns import DAMAGE, Place, damaged, is_list, locate, record_of, select, size_of, values_of
from pipeline.io.formats.record import Record, failed, missing_text

_ROWS = 256
"""Rows decoded at once, at most: 256 rows of 10 KB are 2.5 MB."""
_DECODED = 1 << 26
"""Bytes decoded at once, at most, unless a single value is longer. A dictionary or a delta encoding can repeat a text
for every row, but no value is longer than all pages of its column chunk."""
_DICTIONARY = 1 << 26
"""Bytes of a column chunk that may be read as a dictionary, which holds the whole chunk in memory."""


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
        field = locate(file.schema_arrow, config.text_fields)
        name = ".".join(field.parts) if field else ""
        paths = [path for path in _paths(file) if path == name or path.startswith(f"{name}.")]
        groups = range(file.metadata.num_row_groups)
        counts = [file.metadata.row_group(i).num_rows for i in groups]
        largest = max((_pages(file, i, paths)[1] for i in groups), default=0)
        if field is not None and is_list(field.type) and largest <= _DICTIONARY:
            # One row may repeat a text without end; read as a dictionary it holds only references.
            file = _open(source, read_dictionary=paths, metadata=file.metadata)
        if min(counts, default=0) < 0 or sum(counts) != file.metadata.num_rows:
            raise ValueError(f"the row groups count {sum(counts)} rows, the file {file.metadata.num_rows}")
    except DAMAGE as error:
        yield failed(1, damaged(error, "corrupt_parquet"), "the file cannot be opened as Parquet")
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
    file: pq.ParquetFile, group: int, field: Place, paths: list[str], first: int, count: int, config: InputConfig
) -> Iterator[tuple[Record, int]]:
    """Records with the bytes of their values. Raises ReadError for a bomb."""
    position = first
    try:
        stored, size = _pages(file, group, paths)
        check_expansion(size, stored, config)
        rows = min(_ROWS, max(1, _DECODED // max(1, size)))
        for batch in file.iter_batches(batch_size=rows, row_groups=[group], columns=paths, use_threads=False):
            for value in values_of(select(batch, field)):
                length = size_of(value)
                yield record_of(position, value, length, field, config), length
                position += 1
        if position < first + count:
            raise ValueError(f"only {position - first} of {count} rows are there")
    except DAMAGE as error:
        where = f"row group {group + 1}, rows {position} to {first + count - 1}"
        yield (
            failed(position, damaged(error, "corrupt_parquet"), f"{where}: the column '{field.name}' cannot be read"),
            0,
        )


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
