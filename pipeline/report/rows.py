"""Audit rows as the report reads them: columns as numbers, a few ten thousand rows at a time, on several threads."""

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.meter import current_meter
from pipeline.report import kernels
from pipeline.report.audit import open_audit, read_table
from schemas.arrow import VERDICTS
from schemas.manifest import FileEntry

GROUPED_BATCHES = 12
"""Record batches that are looked at together: 12 x 1024 rows with 55 scores each are 30 MB."""
THREADS = 4
KEPT, FILTERED, DUPLICATE, QUARANTINED = range(len(VERDICTS))
_FILE, _BATCH = 44, 20
"""A place is file << 44 | first batch of the table << 20 | row of the table."""


def positions(column: pa.Array, names: Sequence[str]) -> npt.NDArray[np.int32]:
    """Position of each value in `names`, -1 where it is null or another."""
    return pc.index_in(column, value_set=pa.array(names, pa.string())).fill_null(-1).to_numpy()


def text_buffers(column: pa.Array) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int32]]:
    """UTF-8 bytes and offsets [rows + 1] of a string array; nulls are empty."""
    _, offsets, data = column.buffers()
    if offsets is None or not len(column):
        return np.zeros(1, np.uint8), np.zeros(1, np.int32)
    shown = np.frombuffer(offsets, np.int32)[column.offset : column.offset + len(column) + 1]
    return (np.frombuffer(data, np.uint8) if data is not None and data.size else np.zeros(1, np.uint8)), shown


@dataclass(frozen=True)
class Keys:
    """What orders rows at the same distance: the halves of the doc_id, then a hash of the record. [rows] each."""

    high: npt.NDArray[np.uint64]
    low: npt.NDArray[np.uint64]
    tie: npt.NDArray[np.uint64]


def identities(column: pa.Array) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    """Both halves of ids of 32 hex digits, [rows] each; 0 for nulls."""
    high, low = np.empty(len(column), np.uint64), np.empty(len(column), np.uint64)
    kernels.identities(*text_buffers(column), high, low)
    return high, low


class Rows:
    """A table of audit rows, one chunk a column. `first` is the place of row 0."""

    def __init__(self, table: pa.Table, first: int = 0) -> None:
        self.table = table
        self.first = first

    def __len__(self) -> int:
        return len(self.table)

    def column(self, name: str) -> pa.Array:
        found = self.table[name]
        return found.chunk(0) if found.num_chunks == 1 else found.combine_chunks()

    @cached_property
    def verdict(self) -> npt.NDArray[np.int32]:
        """Position in VERDICTS."""
        return positions(self.column("verdict"), VERDICTS)

    @cached_property
    def keys(self) -> Keys:
        tie = np.empty(len(self), np.uint64)
        kernels.hashes(*text_buffers(self.column("record")), tie)
        return Keys(*identities(self.column("doc_id")), tie)


Sum = TypeVar("Sum")


def add_rows(
    root: Path,
    files: Sequence[FileEntry],
    columns: Sequence[str],
    start: Callable[[], Sum],
    add: Callable[[Sum, Rows], None],
    merge: Callable[[Sum, Sum], None],
) -> Sum:
    """Adds up all rows of an audit: each thread into a `start()` of its own, which are merged into one at the end.

    The order in which tables are added must not matter. Memory depends on the threads, not on the rows.
    Raises SchemaError (schemas.shard) where a file is missing, damaged or not an audit.
    """
    # Counted here: a damaged file is told before the work begins.
    batches = [open_audit(root / entry.path, None).num_record_batches for entry in files]
    tasks = ((file, begin) for file, count in enumerate(batches) for begin in range(0, count, GROUPED_BATCHES))
    lock = Lock()
    # A thread of a pool has not the caller's context.
    meter, rows, added = current_meter(), sum(entry.rows for entry in files), 0

    def work(_: int) -> Sum:
        nonlocal added
        total = start()
        opened, reader = -1, None
        while True:
            with lock:
                file, begin = next(tasks, (-1, 0))
            if file < 0:
                return total
            if file != opened:
                opened, reader = file, open_audit(root / files[file].path, columns, mapped=False)
            assert reader is not None
            end = min(begin + GROUPED_BATCHES, batches[file])
            table = read_table(reader, range(begin, end), root / files[file].path)
            if len(table):
                add(total, Rows(table.combine_chunks(), file << _FILE | begin << _BATCH))
            with lock:
                added += len(table)
                if meter is not None:
                    meter.tell(added, rows, "records")

    threads = min(THREADS, os.cpu_count() or 1)
    with ThreadPoolExecutor(threads) as pool:
        whole, *others = pool.map(work, range(threads))
    for other in others:
        merge(whole, other)
    return whole


def fetch(
    root: Path, files: Sequence[FileEntry], places: Iterable[int], columns: Sequence[str]
) -> dict[int, dict[str, Any]]:
    """Place -> the columns of its row as Python values. Decompresses the batches that hold a wanted row alone."""
    wanted: dict[tuple[int, int], list[int]] = defaultdict(list)
    for place in set(places):
        file, rest = place >> _FILE, place & (1 << _FILE) - 1
        wanted[file, rest >> _BATCH].append(place)
    found: dict[int, dict[str, Any]] = {}
    for (file, begin), some in sorted(wanted.items()):
        path = root / files[file].path
        narrow, whole = open_audit(path, ["verdict"], mapped=False), open_audit(path, columns, mapped=False)
        row, index = 0, begin
        for place in sorted(some):
            target = place & (1 << _BATCH) - 1
            while target >= row + (rows := len(read_table(narrow, [index], path))):
                row += rows
                index += 1
            found[place] = read_table(whole, [index], path).slice(target - row, 1).to_pylist()[0]
    return found
