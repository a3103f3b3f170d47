"""What the kernels of repair ask of single characters in UTF-8."""

import numpy as np
from numba import njit

from pipeline.text.traits import CODE_POINTS, COMBINING, COMPOSES, NOT_NORMAL

NORMAL_FORM = COMPOSES | NOT_NORMAL | COMBINING
"""Characters without any of these leave a text in NFC as it is."""


@njit(nogil=True, cache=True, inline="always")
def decode(data, index):  # type: ignore[no-untyped-def]
    """Code point (at most CODE_POINTS - 1) and length of the character of two bytes or more at `index`."""
    first = np.uint32(data[index])
    if first < 0xE0:
        return ((first & np.uint32(0x1F)) << np.uint32(6)) | np.uint32(data[index + 1] & 0x3F), 2
    if first < 0xF0:
        return (
            ((first & np.uint32(0x0F)) << np.uint32(12))
            | (np.uint32(data[index + 1] & 0x3F) << np.uint32(6))
            | np.uint32(data[index + 2] & 0x3F),
            3,
        )
    point = (
        ((first & np.uint32(0x07)) << np.uint32(18))
        | (np.uint32(data[index + 1] & 0x3F) << np.uint32(12))
        | (np.uint32(data[index + 2] & 0x3F) << np.uint32(6))
        | np.uint32(data[index + 3] & 0x3F)
    )
    return min(point, np.uint32(CODE_POINTS - 1)), 4


@njit(nogil=True, cache=True)
def joins(before, point, pairs):  # type: ignore[no-untyped-def]
    """Whether NFC makes one character of the two."""
    if 0x1161 <= point <= 0x1175:
        return 0x1100 <= before <= 0x1112
    if 0x11A8 <= point <= 0x11C2:
        return 0xAC00 <= before <= 0xD7A3 and (before - 0xAC00) % 28 == 0
    key = (np.int64(before) << 21) | np.int64(point)
    place = np.searchsorted(pairs, key)
    return place < len(pairs) and pairs[place] == key
