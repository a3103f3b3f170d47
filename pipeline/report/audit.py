"""Reading the audit without holding it: tables of some ten thousand rows, only the columns that are needed."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from schemas.arrow import AUDIT
from schemas.manifest import FileEntry
from schemas.shard import SchemaError, open_shard

GROUPED_BATCHES = 48
"""Record batches looked at together: 48 x 1024 rows amortise the calls and stay far under 100 MB."""


def open_audit(path: Path, columns: Sequence[str] | None, mapped: bool = True) -> pa.ipc.RecordBatchFileReader:
    """columns: those to read, None for all. mapped: False reads through a buffer, so that the pages of a large file do
    not count as this process's memory. Raises SchemaError where the file is missing, damaged or not an audit."""
    reader = open_shard(path, AUDIT)
    if columns is None:
        return reader
    fields = sorted(AUDIT.get_field_index(name) for name in columns)
    options = pa.ipc.IpcReadOptions(included_fields=fields)
    return pa.ipc.open_file(pa.memory_map(str(path), "r") if mapped else pa.OSFile(str(path)), options=options)


def read_table(reader: pa.ipc.RecordBatchFileReader, batches: Iterable[int], path: Path) -> pa.Table:
    """These record batches as one table. Raises SchemaError where one of them cannot be read."""
    try:
        return pa.Table.from_batches([reader.get_batch(index) for index in batches], reader.schema)
    except (pa.ArrowInvalid, OSError) as error:
        raise SchemaError(f"{path}: damaged ({error}); run `siliang-pipeline verify`") from error


def tables(directory: Path, files: Sequence[FileEntry], columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """Audit rows in file order, GROUPED_BATCHES record batches at a time; columns None reads all.

    Raises SchemaError (schemas.shard) where a file is missing, damaged or not an audit.
    """
    for entry in files:
        path = directory / entry.path
        reader = open_audit(path, columns)
        for start in range(0, reader.num_record_batches, GROUPED_BATCHES):
            stop = min(start + GROUPED_BATCHES, reader.num_record_batches)
            table = read_table(reader, range(start, stop), path)
            if len(table):
                yield table.combine_chunks()


def select(
    directory: Path,
    files: Sequence[FileEntry],
    columns: Sequence[str],
    condition: Callable[[pa.RecordBatch], pa.BooleanArray],
) -> Iterator[pa.Table]:
    """Whole audit rows that meet `condition`, batch by batch in file order.

    `condition` sees `columns` alone; the other columns are decompressed only for batches with a hit.
    """
    for entry in files:
        path = directory / entry.path
        narrow, whole = open_audit(path, columns), open_audit(path, None)
        for index in range(narrow.num_record_batches):
            mask = condition(read_table(narrow, [index], path).to_batches()[0])
            if pc.any(mask).as_py():
                yield read_table(whole, [index], path).filter(mask)
