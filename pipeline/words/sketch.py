"""Exact counts of all frequent keys in bounded memory, in two passes over the parts' tables.

1. Every part adds its counts into ROWS tables of hashed cells (a count-min sketch: Cormode and Muthukrishnan 2005).
   A key's count is never above the least of its cells.
2. Keys that have a cell below the threshold are left out; the rest is counted exactly.

What comes out holds every key of at least `threshold` occurrences, with its exact count, and nothing else. Sums do not
depend on order, so neither does the result; lossy counting would.
"""

from typing import Final

import numba
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

ROWS: Final = 4
"""Hash functions. With half of the cells heavy, one light key in 2^4 is counted in vain."""
LEAST_CELLS: Final = 1 << 10

CELLS: Final = pa.schema(
    [pa.field("cell", pa.uint32(), nullable=False), pa.field("count", pa.uint64(), nullable=False)]
)
"""Cells that are not zero; those of hash function r are r * width ... (r + 1) * width - 1."""


def sketch_width(max_distinct: int) -> int:
    """Cells of each hash function: a power of two, not below `max_distinct`."""
    return max(LEAST_CELLS, 1 << (max_distinct - 1).bit_length())


def cells_of(keys: pa.Array | pa.ChunkedArray, width: int) -> npt.NDArray[np.uint32]:
    """Cells [n, ROWS] of strings [n], by their UTF-8 bytes."""
    if isinstance(keys, pa.ChunkedArray):
        keys = keys.combine_chunks()
    if not len(keys):
        return np.empty((0, ROWS), dtype=np.uint32)
    _, offsets, data = keys.buffers()
    starts = np.frombuffer(offsets, dtype=np.int32)[keys.offset : keys.offset + len(keys) + 1]
    values = np.frombuffer(data, dtype=np.uint8) if data is not None and data.size else np.zeros(1, dtype=np.uint8)
    return _cells(values, starts, np.uint64(width))


def sketch(table: pa.Table, width: int) -> pa.Table:
    """CELLS of a (word, count, ...) table, sorted."""
    cells = cells_of(table["word"], width)
    counts = np.repeat(table["count"].to_numpy(), ROWS)
    return merge_cells(pa.table([cells.ravel(), counts], schema=CELLS))


def merge_cells(cells: pa.Table) -> pa.Table:
    """Sums by cell, sorted; associative and commutative."""
    sums = cells.group_by("cell", use_threads=False).aggregate([("count", "sum")])
    return pa.table([sums["cell"], sums["count_sum"]], names=CELLS.names).sort_by("cell").cast(CELLS)


def dense(cells: pa.Table, width: int) -> npt.NDArray[np.uint64]:
    """Sums [ROWS, width] of merged cells."""
    sums = np.zeros(ROWS * width, dtype=np.uint64)
    sums[cells["cell"].to_numpy()] = cells["count"].to_numpy()
    return sums.reshape(ROWS, width)


def threshold(sums: npt.NDArray[np.uint64], max_distinct: int, least: int = 1) -> int:
    """The smallest count, not below `least`, that at most half of the cells and max_distinct of them reach.

    So about `max_distinct` keys at most have that count: half of the cells hold 0.7 heavy keys for each cell.
    """
    allowed = min(max_distinct, sums.shape[1] // 2)
    # One more than the (allowed + 1)-th largest value of a row leaves `allowed` cells at most.
    place = sums.shape[1] - allowed - 1
    return max(least, 1, max(int(np.partition(row, place)[place]) + 1 for row in sums))


def heavy_cells(sums: npt.NDArray[np.uint64], least: int) -> npt.NDArray[np.bool_]:
    """[ROWS, width]: the cells that hold at least `least` occurrences."""
    return sums >= np.uint64(least)


def survivors(table: pa.Table, heavy: npt.NDArray[np.bool_]) -> pa.Table:
    """Rows of a (word, ...) table whose cells are all heavy."""
    cells = cells_of(table["word"], heavy.shape[1])
    width = np.uint32(heavy.shape[1])
    keep = np.ones(len(cells), dtype=np.bool_)
    for row in range(ROWS):
        keep &= heavy[row][cells[:, row] - np.uint32(row) * width]
    return table.filter(pa.array(keep))


def exact_from(table: pa.Table, least: int) -> pa.Table:
    """Rows of summed survivors that have `least` occurrences indeed."""
    return table.filter(pc.greater_equal(table["count"], pa.scalar(least, pa.uint64())))


@numba.njit(nogil=True, cache=True)
def _cells(values, starts, width):  # type: ignore[no-untyped-def]
    """FNV-1a of each string, spread by SplitMix64's finaliser with another constant for each row of cells."""
    n = len(starts) - 1
    out = np.empty((n, ROWS), dtype=np.uint32)
    for i in range(n):
        base = np.uint64(0xCBF29CE484222325)
        for j in range(starts[i], starts[i + 1]):
            base = (base ^ np.uint64(values[j])) * np.uint64(0x100000001B3)
        for row in range(ROWS):
            value = base + np.uint64(row + 1) * np.uint64(0x9E3779B97F4A7C15)
            value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            value ^= value >> np.uint64(31)
            out[i, row] = np.uint32(np.uint64(row) * width + (value & (width - np.uint64(1))))
    return out
