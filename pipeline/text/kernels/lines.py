"""The lines of decoded text and the paragraphs that blank lines part; blank lines themselves are not lines."""

import numpy as np
from numba import njit

from pipeline.text.classes import SPACE, TERMINAL

LINES, BULLETS, ELLIPSES, TERMINATED, SHORT, CHARACTERS = range(6)
COUNTS = 6
"""Columns of `counts`: lines; those that start with a bullet; end with an ellipsis; end with terminal punctuation; are
short; and the code points of all lines."""

SHORT_LINE = 30
"""Code points up to which a line is short (FineWeb)."""

_PRIME = np.uint64(0x9E3779B97F4A7C15)
_FINAL = np.uint64(0xFF51AFD7ED558CCD)
_SHIFT = np.uint64(32)


@njit(nogil=True, cache=True, inline="always")
def _hash(points, first, end):  # type: ignore[no-untyped-def]
    """uint64 of points[first:end]: four at a step in two chains, as the chain of products is what takes time."""
    value, other = np.uint64(end - first), _FINAL
    index = first
    while index + 3 < end:
        value ^= np.uint64(points[index]) | (np.uint64(points[index + 1]) << _SHIFT)
        other ^= np.uint64(points[index + 2]) | (np.uint64(points[index + 3]) << _SHIFT)
        value *= _PRIME
        other *= _PRIME
        value ^= value >> _SHIFT
        other ^= other >> _SHIFT
        index += 4
    value = (value ^ (other * _FINAL)) * _PRIME
    value ^= value >> _SHIFT
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
def lines(  # type: ignore[no-untyped-def]
    points,
    kinds,
    point_offsets,
    firsts,
    ends,
    hashes,
    line_offsets,
    block_hashes,
    block_firsts,
    block_ends,
    block_offsets,
    counts,
):
    """Fills per line firsts and ends (int64, indices of `points`, white space at both ends left out) and hashes
    (uint64); per paragraph block_hashes (uint64), block_firsts and block_ends (int64, code points of the document's
    lines before it, and with it); the offsets of both, int64 [documents + 1]; counts int64 [documents, COUNTS].
    """
    at = block = 0
    line_offsets[0] = block_offsets[0] = 0
    for document in range(len(point_offsets) - 1):
        stop = point_offsets[document + 1]
        index = point_offsets[document]
        bullets = ellipses = terminated = short = characters = 0
        in_block = False
        while index < stop:
            first = index
            while index < stop and points[index] != 10:
                index += 1
            end = index
            index += 1
            while first < end and kinds[first] & SPACE:
                first += 1
            if first == end:
                block += in_block
                in_block = False
                continue
            while kinds[end - 1] & SPACE:
                end -= 1
            kept = _hash(points, first, end)
            length = end - first
            firsts[at] = first
            ends[at] = end
            hashes[at] = kept
            at += 1
            if not in_block:
                block_hashes[block] = _PRIME
                block_firsts[block] = characters
                in_block = True
            block_hashes[block] = (block_hashes[block] ^ kept) * _FINAL
            block_hashes[block] ^= block_hashes[block] >> _SHIFT
            characters += length
            block_ends[block] = characters
            short += length <= SHORT_LINE
            mark = points[first]
            if mark == 45 or mark == 42:
                bullets += length > 1 and points[first + 1] == 32
            else:
                bullets += mark == 0x2022 or mark == 0x2023 or mark == 0x25E6 or mark == 0x25AA
            mark = points[end - 1]
            if mark == 46:
                ellipses += length > 2 and points[end - 2] == 46 and points[end - 3] == 46
            else:
                ellipses += mark == 0x2026
            terminated += (kinds[end - 1] & TERMINAL) != 0
        block += in_block
        line_offsets[document + 1] = at
        block_offsets[document + 1] = block
        counts[document, LINES] = at - line_offsets[document]
        counts[document, BULLETS] = bullets
        counts[document, ELLIPSES] = ellipses
        counts[document, TERMINATED] = terminated
        counts[document, SHORT] = short
        counts[document, CHARACTERS] = characters
