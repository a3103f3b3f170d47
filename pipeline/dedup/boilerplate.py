"""Which lines of a source are boilerplate, and texts without them. No files and no jobs here.

A line is boilerplate where it stands in at least `limit` distinct documents of its source that vouch for it:

    sketch (documents per hash bucket)  -> an upper bound of every line's documents, in fixed memory
    lines that reach the limit by it    -> counted exactly: the candidates
    documents mostly made of candidates -> do not vouch: they may be near-copies of one another, which the
                                           deduplication after it judges document by document
"""

import math
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numba import njit

from pipeline.dedup.lines import Lines
from pipeline.dedup.mixing import fmix64
from pipeline.dedup.normalize import text_buffers

_P1 = np.uint64(0x9E3779B97F4A7C15)
_P2 = np.uint64(0xD6E8FEB86659FD93)
_R31, _R29 = np.uint64(31), np.uint64(29)
_L33, _L35 = np.uint64(33), np.uint64(35)

MIN_BUCKETS, MAX_BUCKETS = 1 << 16, 1 << 24
BUCKETS_PER_DOCUMENT = 32


def bucket_count(documents: int) -> int:
    """Buckets of the sketch, a power of two: few lines of a corpus share one, and it never takes over 64 MB."""
    wanted = BUCKETS_PER_DOCUMENT * max(documents, 1)
    return min(max(1 << (wanted - 1).bit_length(), MIN_BUCKETS), MAX_BUCKETS)


def limit_of(documents: int, min_documents: int, min_share: float) -> int:
    """Documents that a line must stand in, of a source with so many distinct documents."""
    # 0.1 * 30 is 3.0000000000000004, which is 3.
    return max(min_documents, math.ceil(min_share * documents - 1e-9))


@njit(nogil=True, cache=True)
def _sketch_kernel(offsets, low, characters, least, counted, sketch, seen, stamp):  # type: ignore[no-untyped-def]
    mask = np.uint64(len(sketch) - 1)
    for document in range(len(offsets) - 1):
        if not counted[document]:
            continue
        stamp += 1
        for line in range(offsets[document], offsets[document + 1]):
            if characters[line] >= least:
                bucket = np.int64(low[line] & mask)
                if seen[bucket] != stamp:
                    seen[bucket] = stamp
                    sketch[bucket] += 1
    return stamp


class Sketch:
    """uint32 [buckets]: in how many documents a bucket was met, an upper bound for each of its lines."""

    def __init__(self, buckets: int) -> None:
        if buckets & (buckets - 1):
            raise ValueError(f"the number of buckets must be a power of two, found {buckets}")
        self.counts = np.zeros(buckets, np.uint32)
        self._seen = np.zeros(buckets, np.uint32)
        self._stamp = 0

    def add(self, lines: Lines, counted: np.ndarray, least: int) -> None:
        """Counts the lines of at least `least` characters of the documents with `counted` (bool) once each."""
        if self._stamp + len(counted) >= 1 << 32:
            self._seen[:] = 0
            self._stamp = 0
        self._stamp = _sketch_kernel(
            lines.offsets, lines.low, lines.characters, least, counted, self.counts, self._seen, self._stamp
        )


@njit(nogil=True, cache=True)
def _keys_kernel(offsets, high, low, characters, keys_high, keys_low):  # type: ignore[no-untyped-def]
    for document in range(len(offsets) - 1):
        a = _P1
        b = _P2
        for line in range(offsets[document], offsets[document + 1]):
            if characters[line]:
                a = ((((a << _R31) | (a >> _L33)) ^ high[line]) * _P1) + b
                b = ((((b << _R29) | (b >> _L35)) ^ low[line]) * _P2) + a
        keys_high[document] = fmix64(a + b)
        keys_low[document] = fmix64(b ^ (a >> _R29))


def document_keys(lines: Lines) -> tuple[np.ndarray, np.ndarray]:
    """uint64 [documents] twice: equal for documents of a source with the same normalised lines in the same order.

    Such copies count as one document: whichever of them is taken, its lines are the same.
    """
    high, low = np.empty((2, len(lines.offsets) - 1), np.uint64)
    _keys_kernel(lines.offsets, lines.high, lines.low, lines.characters, high, low)
    return high, low


@dataclass(frozen=True, slots=True)
class LineSet:
    """128-bit hashes of lines, sorted."""

    high: np.ndarray
    """uint64 [n], ascending; ties ascend by `low`."""
    low: np.ndarray

    @staticmethod
    def of(high: np.ndarray, low: np.ndarray) -> "LineSet":
        order = np.lexsort((low, high))
        return LineSet(high[order], low[order])

    def __len__(self) -> int:
        return len(self.high)

    def contains(self, high: np.ndarray, low: np.ndarray) -> np.ndarray:
        """bool [m]."""
        found = np.zeros(len(high), np.bool_)
        first = np.searchsorted(self.high, high, side="left")
        last = np.searchsorted(self.high, high, side="right")
        # Nearly always one candidate; as many rounds as lines of the set share 64 bits.
        for step in range(int((last - first).max(initial=0))):
            here = np.flatnonzero(first + step < last)
            found[here] |= self.low[first[here] + step] == low[here]
        return found


def once_per_document(row: np.ndarray, high: np.ndarray, low: np.ndarray) -> np.ndarray:
    """int64: places of the first occurrence of each line in each document, in (row, high, low) order."""
    if not len(row):
        return np.empty(0, np.int64)
    order = np.lexsort((low, high, row))
    new = np.ones(len(order), np.bool_)
    new[1:] = (
        (np.diff(row[order].astype(np.int64)) != 0)
        | (high[order][1:] != high[order][:-1])
        | (low[order][1:] != low[order][:-1])
    )
    return order[new]


def vouching(row: np.ndarray, characters: np.ndarray, total: np.ndarray, max_share: float) -> np.ndarray:
    """bool [occurrences]: whether the occurrence's document vouches, i.e. has text enough beside candidate lines.

    One entry per occurrence of a candidate line: its document's row, its characters, and its document's in all.
    """
    _, document = np.unique(row, return_inverse=True)
    covered = np.bincount(document, weights=characters)
    return covered[document] <= max_share * total


@njit(nogil=True, cache=True)
def _cut_kernel(data, offsets, firsts, starts, out, out_offsets):  # type: ignore[no-untyped-def]
    """Copies all lines but those that begin at `starts` (ascending, those of document d at firsts[d]:firsts[d + 1])."""
    position = 0
    for document in range(len(offsets) - 1):
        first = position
        i = offsets[document]
        end = offsets[document + 1]
        cut = firsts[document]
        gap = False  # something was cut since the last line that was not blank
        blank_before = True
        trimmed = position
        while i < end:
            stop = i
            blank = True
            while stop < end and data[stop] != 10:
                blank &= data[stop] == 32 or data[stop] == 9
                stop += 1
            after = min(stop + 1, end)
            if cut < firsts[document + 1] and starts[cut] == i:
                cut += 1
                gap = True
            elif not (blank and gap and blank_before):
                for k in range(i, after):
                    out[position] = data[k]
                    position += 1
                blank_before = blank
                if not blank:
                    gap = False
                    trimmed = position
            i = after
        if gap:
            position = trimmed
            # The line feed that parted the last line from what was cut.
            if position > first and out[position - 1] == 10 and data[end - 1] != 10:
                position -= 1
        out_offsets[document + 1] = position


def cut(texts: pa.Array, firsts: np.ndarray, starts: np.ndarray) -> pa.StringArray:
    """The texts without the given lines. Blank lines that parted cut lines from one another go with them.

    `starts` int64: first bytes of lines in the text of their document, ascending; `firsts` int64 [texts + 1]: which of
    them are whose.
    """
    data, offsets = text_buffers(texts)
    out = np.empty(int(offsets[-1] - offsets[0]), np.uint8)
    out_offsets = np.zeros(len(offsets), np.int64)
    absolute = starts + np.repeat(offsets[:-1], np.diff(firsts))
    _cut_kernel(data, offsets, firsts, absolute, out, out_offsets)
    buffers = [None, pa.py_buffer(out_offsets), pa.py_buffer(out[: out_offsets[-1]].copy())]
    return pa.Array.from_buffers(pa.large_string(), len(texts), buffers).cast(pa.string())
