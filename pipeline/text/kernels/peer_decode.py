"""UTF-8 bytes -> code points and the bits that the other `peer_*` kernels ask for, and three counts."""

import numpy as np
from numba import njit

HASHES, ELLIPSES, NEWLINES = range(3)
COUNTS = 3
"""Columns of `counts`: '#'; '...' and '…', as str.count has them; line feeds."""


@njit(nogil=True, cache=True)
def peer_decode(data, offsets, table, points, kinds, point_offsets, counts):  # type: ignore[no-untyped-def]
    """Document d is data[offsets[d]:offsets[d + 1]], sound UTF-8. Fills points (uint32) and kinds (uint16, from
    `table`), both at least as long as the bytes; point_offsets int64 [documents + 1]; counts int64 [documents, COUNTS].
    """
    at = 0
    point_offsets[0] = 0
    limit = np.uint32(len(table))
    for document in range(len(offsets) - 1):
        hashes = ellipses = newlines = dots = 0
        index, end = np.int64(offsets[document]), np.int64(offsets[document + 1])
        while index < end:
            first = np.uint32(data[index])
            if first < 0x80:
                point = first
                index += 1
                if point == 46:
                    dots += 1
                    if dots == 3:
                        ellipses += 1
                        dots = 0
                else:
                    dots = 0
                    hashes += point == 35
                    newlines += point == 10
                points[at] = point
                kinds[at] = table[point]
                at += 1
                continue
            if first < 0xE0:
                point = ((first & 0x1F) << 6) | (data[index + 1] & 0x3F)
                index += 2
            elif first < 0xF0:
                point = ((first & 0x0F) << 12) | ((data[index + 1] & 0x3F) << 6) | (data[index + 2] & 0x3F)
                index += 3
            else:
                point = (
                    ((first & 0x07) << 18)
                    | ((data[index + 1] & 0x3F) << 12)
                    | ((data[index + 2] & 0x3F) << 6)
                    | (data[index + 3] & 0x3F)
                )
                index += 4
            dots = 0
            ellipses += point == 0x2026
            points[at] = point
            kinds[at] = table[point] if point < limit else 0
            at += 1
        point_offsets[document + 1] = at
        counts[document, HASHES] = hashes
        counts[document, ELLIPSES] = ellipses
        counts[document, NEWLINES] = newlines
