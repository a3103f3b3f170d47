"""UTF-8 bytes -> code points and their classes, and what is counted byte by byte and character by character."""

import math

import numpy as np
from numba import njit

from pipeline.text.classes import GROUP_DECIMAL, GROUP_NUMBER, GROUP_SPACE, GROUPS, SCRIPT_GROUPS

(
    HASHES,
    ELLIPSES,
    NEWLINES,
    CURLY_BRACKETS,
    URLS,
    LETTERS,
    CAPITALS,
    MARKS,
    DECIMALS,
    NUMBERS,
    SPACES,
    SCRIPT_LETTERS,
    FIRST_SCRIPT,
    SECOND_SCRIPT,
    SCRIPTS,
    ENTROPY,
) = range(16)
COUNTS = 16
"""Columns of `counts`: '#'; '...' and '…', as str.count has them; line feeds; '{'; URLs; letters; those in upper case;
marks; decimal digits; other numbers; white space; letters and marks with a script; those of the script with most and of
the one after it; scripts with at least MINOR of them; millionths of a bit per byte."""

MINOR = 0.05
"""Share of the letters from which a script counts."""

_SCALE = 1e6
_TABLED = 4096
_N_LOG_N = np.array([0.0] + [n * math.log2(n) for n in range(1, _TABLED)])


@njit(nogil=True, cache=True)
def decode(data, offsets, table, groups, points, kinds, point_offsets, counts):  # type: ignore[no-untyped-def]
    """Document d is data[offsets[d]:offsets[d + 1]], sound UTF-8. Fills points (uint32) and kinds (uint16, from
    `table`), both at least as long as the bytes; point_offsets int64 [documents + 1]; counts int64 [documents, COUNTS].
    `groups`: uint8, the group of each code point (pipeline.text.classes).
    """
    at = 0
    point_offsets[0] = 0
    limit = np.uint32(len(table))
    bytes_seen = np.zeros(256, np.int64)
    seen = np.zeros(GROUPS, np.int64)
    for document in range(len(offsets) - 1):
        ellipses = urls = dots = 0
        start, end = np.int64(offsets[document]), np.int64(offsets[document + 1])
        index, after_dot = start, np.int64(-1)
        bytes_seen[:] = 0
        seen[:] = 0
        while index < end:
            first = np.uint32(data[index])
            bytes_seen[first] += 1
            if first < 0x80:
                points[at] = first
                kinds[at] = table[first]
                at += 1
                index += 1
                if first == 46:
                    dots = dots + 1 if index - 1 == after_dot else 1
                    after_dot = index
                    if dots == 3:
                        ellipses += 1
                        dots = 0
                    before = index - 5
                    if (
                        before >= start - 1
                        and data[index - 2] | 32 == data[index - 3] | 32 == data[index - 4] | 32 == 119
                        and (before < start or not _joins(data[before]))
                    ):
                        urls += 1
                elif (
                    first == 58
                    and start + 1 < index < end - 1
                    and data[index] == data[index + 1] == 47
                    and 97 <= data[index - 2] | 32 <= 122
                ):
                    urls += 1
                continue
            if first < 0xE0:
                point = ((first & 0x1F) << 6) | (data[index + 1] & 0x3F)
                bytes_seen[data[index + 1]] += 1
                index += 2
            elif first < 0xF0:
                point = ((first & 0x0F) << 12) | ((data[index + 1] & 0x3F) << 6) | (data[index + 2] & 0x3F)
                bytes_seen[data[index + 1]] += 1
                bytes_seen[data[index + 2]] += 1
                index += 3
            else:
                point = (
                    ((first & 0x07) << 18)
                    | ((data[index + 1] & 0x3F) << 12)
                    | ((data[index + 2] & 0x3F) << 6)
                    | (data[index + 3] & 0x3F)
                )
                for step in range(1, 4):
                    bytes_seen[data[index + step]] += 1
                index += 4
            ellipses += point == 0x2026
            points[at] = point
            if point < limit:
                kinds[at] = table[point]
                seen[groups[point]] += 1
            else:
                kinds[at] = 0
            at += 1
        point_offsets[document + 1] = at
        row = counts[document]
        row[HASHES] = bytes_seen[35]
        row[ELLIPSES] = ellipses
        row[NEWLINES] = bytes_seen[10]
        row[CURLY_BRACKETS] = bytes_seen[123]
        row[URLS] = urls
        for point in range(128):
            seen[groups[point]] += bytes_seen[point]
        _summarise(seen, row)
        row[ENTROPY] = _entropy(bytes_seen, end - start)


@njit(nogil=True, cache=True, inline="always")
def _joins(byte):  # type: ignore[no-untyped-def]
    """Whether "www." after this byte is part of something longer: an ASCII letter or digit, a point or a slash."""
    return 97 <= byte | 32 <= 122 or 46 <= byte <= 57


@njit(nogil=True, cache=True)
def _summarise(seen, row):  # type: ignore[no-untyped-def]
    """From characters per group to the columns of letters, numbers and scripts."""
    letters = capitals = marks = scripted = most = second = 0
    for script in range(SCRIPT_GROUPS):
        upper, other, mark = seen[4 * script], seen[4 * script + 1], seen[4 * script + 2]
        letters += upper + other
        capitals += upper
        marks += mark + seen[4 * script + 3]
        held = upper + other + mark
        scripted += held
        if held > most:
            most, second = held, most
        elif held > second:
            second = held
    scripts = 0
    for script in range(SCRIPT_GROUPS):
        held = seen[4 * script] + seen[4 * script + 1] + seen[4 * script + 2]
        scripts += held > 0 and held >= MINOR * scripted
    row[LETTERS] = letters
    row[CAPITALS] = capitals
    row[MARKS] = marks
    row[DECIMALS] = seen[GROUP_DECIMAL]
    row[NUMBERS] = seen[GROUP_NUMBER]
    row[SPACES] = seen[GROUP_SPACE]
    row[SCRIPT_LETTERS] = scripted
    row[FIRST_SCRIPT] = most
    row[SECOND_SCRIPT] = second
    row[SCRIPTS] = scripts


@njit(nogil=True, cache=True)
def _entropy(bytes_seen, size):  # type: ignore[no-untyped-def]
    """Shannon entropy of the bytes, rounded, so that the last place of a machine's logarithm does not matter."""
    if size == 0:
        return 0
    total = 0.0
    for byte in range(256):
        count = bytes_seen[byte]
        total += _N_LOG_N[count] if count < _TABLED else count * math.log2(count)
    return np.int64(math.floor((math.log2(size) - total / size) * _SCALE + 0.5))
