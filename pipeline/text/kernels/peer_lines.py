"""Lines and paragraphs as datatrove 0.10 counts them: in GopherQualityFilter, GopherRepetitionFilter and FineWeb's.

The three split text differently. Gopher's quality rules take `str.splitlines`; the repetition rules split at runs of
line feeds, and compare lines with the white space at their ends; FineWeb's split at each line feed and leave blank
lines out.
"""

import numpy as np
from numba import njit

from pipeline.text.datatrove_marks import BREAK, SPACE, TERMINAL

(
    SPLIT_LINES,
    BULLETS,
    ELLIPSES,
    PARAGRAPHS,
    PARAGRAPH_COPIES,
    PARAGRAPH_CHARACTERS,
    LINES,
    LINE_COPIES,
    LINE_CHARACTERS,
    FILLED_LINES,
    TERMINATED,
    SHORT,
    FILLED_CHARACTERS,
) = range(13)
COUNTS = 13
"""Columns of `counts`. Of str.splitlines: lines, those that start with a bullet, that end with an ellipsis. Paragraphs,
their copies, the copies' code points. Lines between runs of line feeds, their copies, the copies' code points. Lines
that are not blank, those that end with terminal punctuation, that are short, the code points of their copies."""

SHORT_LINE = 30
"""Code points up to which a line is short (FineWeb)."""

_PRIME = np.uint64(0x9E3779B97F4A7C15)
_FINAL = np.uint64(0xFF51AFD7ED558CCD)
_SHIFT = np.uint64(32)


@njit(nogil=True, cache=True, inline="always")
def _hash(points, first, end):  # type: ignore[no-untyped-def]
    """uint64 of points[first:end]: two at a step, as the chain of products is what takes time."""
    value = np.uint64(end - first)
    index = first
    while index + 1 < end:
        value ^= np.uint64(points[index]) | (np.uint64(points[index + 1]) << _SHIFT)
        value *= _PRIME
        value ^= value >> _SHIFT
        index += 2
    if index < end:
        value = (value ^ np.uint64(points[index])) * _PRIME
        value ^= value >> _SHIFT
    return value * _FINAL


@njit(nogil=True, cache=True)
def _copied(key, keys, used):  # type: ignore[no-untyped-def]
    """Whether `key` was entered before; enters it."""
    mask = len(keys) - 1
    slot = np.int64(key >> _SHIFT) & mask
    while used[slot]:
        if keys[slot] == key:
            return True
        slot = (slot + 1) & mask
    used[slot] = True
    keys[slot] = key
    return False


@njit(nogil=True, cache=True)
def _slots(entries):  # type: ignore[no-untyped-def]
    slots = 16
    while slots < 2 * entries:
        slots *= 2
    return slots


@njit(nogil=True, cache=True)
def _split_lines(points, marks, begin, stop, row):  # type: ignore[no-untyped-def]
    index = begin
    while index < stop:
        first = end = -1
        while index < stop and not marks[index] & BREAK:
            if not marks[index] & SPACE:
                if first < 0:
                    first = index
                end = index + 1
            index += 1
        if index + 1 < stop and points[index] == 13 and points[index + 1] == 10:
            index += 1
        index += 1
        row[SPLIT_LINES] += 1
        if first >= 0:
            row[BULLETS] += points[first] == 45 or points[first] == 0x2022
            last = points[end - 1]
            row[ELLIPSES] += last == 0x2026 or (
                last == 46 and end - first > 2 and points[end - 2] == 46 and points[end - 3] == 46
            )


@njit(nogil=True, cache=True)
def _lines(points, marks, begin, stop, keys, used, row):  # type: ignore[no-untyped-def]
    """At the ends of the text a line feed leaves an empty line, the second of which is a copy of no length."""
    index = begin
    while index < stop:
        first = index
        blank = True
        while index < stop and points[index] != 10:
            blank = blank and (marks[index] & SPACE) != 0
            index += 1
        length = index - first
        if length:
            row[LINES] += 1
            if _copied(_hash(points, first, index), keys, used):
                row[LINE_COPIES] += 1
                row[LINE_CHARACTERS] += length
                row[FILLED_CHARACTERS] += 0 if blank else length
            if not blank:
                row[FILLED_LINES] += 1
                row[TERMINATED] += (marks[index - 1] & TERMINAL) != 0
                row[SHORT] += length <= SHORT_LINE
        index += 1
    empty = (points[begin] == 10) + (points[stop - 1] == 10)
    row[LINES] += empty if row[LINES] else 2
    row[LINE_COPIES] += 1 if empty == 2 else 0


@njit(nogil=True, cache=True)
def _paragraphs(points, marks, begin, stop, keys, used, row):  # type: ignore[no-untyped-def]
    while begin < stop and marks[begin] & SPACE:
        begin += 1
    while stop > begin and marks[stop - 1] & SPACE:
        stop -= 1
    first = index = begin
    while index <= stop:
        if index == stop or (points[index] == 10 and points[index + 1] == 10):
            row[PARAGRAPHS] += 1
            if _copied(_hash(points, first, index), keys, used):
                row[PARAGRAPH_COPIES] += 1
                row[PARAGRAPH_CHARACTERS] += index - first
            while index < stop and points[index] == 10:
                index += 1
            first = index
            if index == stop:
                break
        index += 1


@njit(nogil=True, cache=True)
def peer_lines(points, marks, point_offsets, newlines, counts):  # type: ignore[no-untyped-def]
    """`marks` as `pipeline.text.datatrove_marks` has them; newlines: line feeds, int64 [documents]; counts int64
    [documents, COUNTS]. An empty document is one empty line and paragraph, as `re.split` has it.
    """
    most = 0
    for document in range(len(newlines)):
        most = max(most, newlines[document] + 1)
    slots = _slots(most)
    keys = np.empty(slots, np.uint64)
    used = np.empty(slots, np.bool_)
    for document in range(len(point_offsets) - 1):
        begin, stop = point_offsets[document], point_offsets[document + 1]
        row = counts[document]
        row[:] = 0
        if begin == stop:
            row[LINES] = row[PARAGRAPHS] = 1
            continue
        needed = _slots(newlines[document] + 1)
        _split_lines(points, marks, begin, stop, row)
        used[:needed] = False
        _lines(points, marks, begin, stop, keys[:needed], used[:needed], row)
        used[:needed] = False
        _paragraphs(points, marks, begin, stop, keys[:needed], used[:needed], row)
