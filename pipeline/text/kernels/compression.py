"""How much of a text a simple compressor would copy from before: repetition of any kind, in time linear in the bytes.

One pass from the first byte on. At every place the window of WINDOW bytes that starts there is hashed; one whose hash
begins with SAMPLED zero bits is looked up in a table of SLOTS slots that holds the latest place of such windows in this
document, and entered. Where the same bytes stand at the place found, the match is made as long as it can be: backwards
to the end of the match before at most, then forwards, and the pass goes on behind it. The share of bytes in matches is
high where zlib's ratio is high: their rank correlation is 0.79 on samples/ in pieces of 6,000 characters, 0.85 on those
in Latin letters. Looking at every second window takes it to 0.95, at more than twice the time.
"""

import numpy as np
from numba import njit

WINDOW = 6
SAMPLED = 3
SLOTS = 1 << 13

_PRIME = np.uint64(0x9E3779B97F4A7C15)
_SAMPLE = np.uint64(1 << (64 - SAMPLED))
_SLOT_SHIFT = np.uint64(64 - SAMPLED - 13)
_TOP = np.uint64(8 * (WINDOW - 1))
_BYTE = np.uint64(8)


@njit(nogil=True, cache=True)
def compression(data, offsets, counts):  # type: ignore[no-untyped-def]
    """counts: int64 [documents], bytes in matches."""
    places = np.full(SLOTS, -1, np.int32)
    for document in range(len(offsets) - 1):
        start, end = np.int64(offsets[document]), np.int64(offsets[document + 1])
        covered = np.int64(0)
        done = index = start
        while end - index >= WINDOW:
            window = np.uint64(0)
            for _ in range(WINDOW - 1):
                window = (window >> _BYTE) | (np.uint64(data[index]) << _TOP)
                index += 1
            # `index` is one past the window.
            while index < end:
                window = (window >> _BYTE) | (np.uint64(data[index]) << _TOP)
                index += 1
                hashed = window * _PRIME
                if hashed >= _SAMPLE:
                    continue
                place = index - WINDOW
                slot = hashed >> _SLOT_SHIFT
                found = places[slot]
                places[slot] = place
                if found < start:
                    continue
                length = 0
                while place + length < end and data[found + length] == data[place + length]:
                    length += 1
                if length < WINDOW:
                    continue
                back = 0
                while place - back > done and found - back > start and data[found - back - 1] == data[place - back - 1]:
                    back += 1
                covered += length + back
                index = done = place + length
                break
        counts[document] = covered
