"""Where in a batch personal data could stand: one pass over the bytes, so that clean text costs next to nothing.

The scan only proposes: it passes over nothing that `identifiers` would accept, and most of its finds are rejected.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numba import njit

from pipeline.dedup.normalize import text_buffers

AT, NUMBER, COLONS, TOKEN = 0, 1, 2, 3
"""An '@'; digits with short gaps; hexadecimal digits and colons; a long run of ASCII letters, digits, '_' and '-'."""

MIN_DIGITS = 6
"""Digits of a NUMBER: the shortest IPv4 address that is masked (4.35.20.1) has six."""
MAX_GAP = 4
"""Bytes between two digits of one number, such as ") " or a no-break space."""
MIN_TOKEN = 20
"""Bytes of a TOKEN: an AWS access key has 20, all others more."""

_DIGIT, _LETTER, _JOIN, _COLON, _AT = 1, 2, 4, 8, 16
_HEX, _GAP = 32, 64


def _classes() -> np.ndarray:
    table = np.zeros(256, np.uint8)
    for byte in range(128):
        char = chr(byte)
        table[byte] |= _DIGIT * char.isdigit() | _LETTER * char.isalpha() | _JOIN * (char in "_-")
        table[byte] |= _HEX * (char in "0123456789abcdefABCDEF") | _COLON * (char == ":") | _AT * (char == "@")
    table[list(" -./()\t\u00a0\u2011".encode())] |= _GAP
    return table


_CLASSES = _classes()


@dataclass(frozen=True)
class Candidates:
    """Proposals of a batch in the order of the text; byte offsets into the batch's text buffer."""

    rows: np.ndarray
    """int64 [n]"""
    kinds: np.ndarray
    """uint8 [n]: AT, NUMBER, COLONS or TOKEN"""
    starts: np.ndarray
    """int64 [n]"""
    ends: np.ndarray
    """int64 [n]"""
    digits: np.ndarray
    """int64 [n]: digits of a NUMBER, 0 elsewhere"""


@njit(nogil=True, cache=True)
def _scan(data, offsets, wanted, table, rows, kinds, starts, ends, counts):  # type: ignore[no-untyped-def]
    """Fills the five outputs as far as they reach; returns how many candidates there are."""
    found = 0
    capacity = len(rows)
    for row in range(len(offsets) - 1):
        if not wanted[row]:
            continue
        begin, stop = offsets[row], offsets[row + 1]
        token = begin  # where the run of letters, digits, '_', '-' began
        lettered = False  # it holds a letter
        number_end = begin  # bytes before are part of a NUMBER already
        colons_end = begin
        i = begin
        while i <= stop:
            kind = table[data[i]] if i < stop else np.uint8(0)
            if kind & _LETTER:
                lettered = True
                i += 1
                continue
            if not kind & (_DIGIT | _JOIN):
                long = i - token >= MIN_TOKEN
                if not long and i - token >= 10:  # "-----BEGIN"
                    long = data[i - 1] == 78 and data[i - 2] == 73 and data[i - 6] == 45 and data[i - 10] == 45
                if long and lettered:
                    if found < capacity:
                        rows[found], kinds[found], starts[found], ends[found] = row, TOKEN, token, i
                    found += 1
                token = i + 1
                lettered = False
            if kind & _AT:
                if found < capacity:
                    rows[found], kinds[found], starts[found], ends[found] = row, AT, i, i + 1
                found += 1
            elif kind & _DIGIT and i >= number_end:
                digits, last, j = 1, i, i + 1
                while j < stop and j - last <= MAX_GAP + 1:
                    inner = table[data[j]]
                    if inner & _DIGIT:
                        digits += 1
                        last = j
                    elif not inner & _GAP:
                        break
                    j += 1
                number_end = last + 1
                if digits >= MIN_DIGITS:
                    if found < capacity:
                        rows[found], kinds[found], starts[found], ends[found] = row, NUMBER, i, last + 1
                        counts[found] = digits
                    found += 1
            elif kind & _COLON and i >= colons_end:
                first = i
                while first > begin and i - first < 4 and table[data[first - 1]] & _HEX:
                    first -= 1
                colons, double, j = 0, False, i
                while j < stop and table[data[j]] & (_HEX | _COLON):
                    if data[j] == 58:
                        colons += 1
                        double = double or (j > begin and data[j - 1] == 58)
                    j += 1
                colons_end = j
                if colons >= 2 and (double or colons >= 6):
                    if found < capacity:
                        rows[found], kinds[found], starts[found], ends[found] = row, COLONS, first, j
                    found += 1
            i += 1
    return found


def find_candidates(texts: pa.Array, wanted: np.ndarray) -> Candidates:
    """Candidates in the texts (string array without nulls) of the rows where `wanted` (bool [rows]) is set."""
    data, offsets = text_buffers(texts)
    capacity = max(64, (int(offsets[-1]) - int(offsets[0])) >> 8)
    while True:
        rows, starts, ends, digits = (np.zeros(capacity, np.int64) for _ in range(4))
        kinds = np.empty(capacity, np.uint8)
        found = _scan(data, offsets, wanted, _CLASSES, rows, kinds, starts, ends, digits)
        if found <= capacity:
            return Candidates(rows[:found], kinds[:found], starts[:found], ends[:found], digits[:found])
        capacity = found
