"""Reading the audit without holding it: tables of some ten thousand rows, only the columns that are needed."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from schemas.arrow import AUDIT
from schemas.manifest import FileEntry
from schemas.shard import SchemaError, open_shard

_T = TypeVar("_T")
_Unit = tuple[Path, int, int]
"""(file, first record batch, the one behind the last)"""
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

    `condition` sees `columns` alone, of many rows at once; the other columns are decompressed only for batches with a
    hit. It is called in threads, ahead of what was asked for, once the first rows that it saw were not enough.
    """

    def masks(unit: _Unit) -> list[tuple[int, pa.BooleanArray]]:
        """Batches with a hit, and which rows they are."""
        path, start, stop = unit
        table = read_table(open_audit(path, columns), range(start, stop), path)
        rows = [len(batch) for batch in table.to_batches()]
        whole = condition(table.combine_chunks().to_batches()[0]) if len(table) else pa.array([], pa.bool_())
        found, first = [], 0
        for index, count in zip(range(start, stop), rows, strict=True):
            mask = whole.slice(first, count)
            if pc.any(mask).as_py():
                found.append((index, mask))
            first += count
        return found

    for (path, _, _), found in _ahead(masks, _units(directory, files, columns)):
        if found:
            reader = open_audit(path, None)
            for index, mask in found:
                yield read_table(reader, [index], path).filter(mask)


def _units(directory: Path, files: Sequence[FileEntry], columns: Sequence[str]) -> Iterator[_Unit]:
    """Parts of files to look at together, in file order; a file is opened when it is reached."""
    for entry in files:
        path = directory / entry.path
        count = open_audit(path, columns).num_record_batches
        for start in range(0, count, GROUPED_BATCHES):
            yield path, start, min(start + GROUPED_BATCHES, count)


def _ahead(work: Callable[[_Unit], _T], units: Iterator[_Unit]) -> Iterator[tuple[_Unit, _T]]:
    """Each unit and what `work` makes of it, in order. The first one by itself: often it is enough; then in threads,
    which Arrow keeps busy without Python's lock, two units a core ahead."""
    for unit in units:
        yield unit, work(unit)
        break
    cores = os.cpu_count() or 1
    waiting: deque[tuple[_Unit, Future[_T]]] = deque()
    pool = ThreadPoolExecutor(cores)
    try:
        while True:
            for unit in islice(units, 2 * cores - len(waiting)):
                waiting.append((unit, pool.submit(work, unit)))
            if not waiting:
                return
            unit, made = waiting.popleft()
            yield unit, made.result()
    finally:
        pool.shutdown(cancel_futures=True)
