"""The words of decoded text: how many, how long, and a hash of each."""

import numpy as np
from numba import njit

from pipeline.text.classes import ALPHA, MARK, OUTER, SMALL, SOLO, SPACE, WORD

WORDS, SPACED, SPACED_LENGTH, ALPHABETIC, SYMBOLS, STOP_WORDS, CAPITALS, TWICE_MEDIAN = range(8)
COUNTS = 8
"""Columns of `counts`: words; those outside unspaced scripts; code points of the latter; words with a letter; chunks
that hold no word; different stop words; words of two code points and more whose letters are all upper-case; twice the
median code points of words outside unspaced scripts."""

LONGEST = 63
"""Longer words count as so long for the median."""

ENGLISH = ("the", "be", "to", "of", "and", "that", "have", "with")
_PACKED = np.array([int.from_bytes(word.encode(), "big") for word in ENGLISH], np.uint32)
_ALL = (1 << len(ENGLISH)) - 1

_PRIME = np.uint64(0x9E3779B97F4A7C15)
_FINAL = np.uint64(0xFF51AFD7ED558CCD)
_SHIFT = np.uint64(32)
_SEED = np.uint64(0x2545F4914F6CDD1D)


@njit(nogil=True, cache=True, inline="always")
def _packed_lower(points, first, end):  # type: ignore[no-untyped-def]
    """Up to four ASCII letters in lower case as one integer, else 0: no other letter lowers to one of a stop word."""
    packed = np.uint32(0)
    for index in range(first, end):
        point = points[index]
        if 65 <= point <= 90:
            point += 32
        elif not 97 <= point <= 122:
            return np.uint32(0)
        packed = np.uint32(packed << 8) | np.uint32(point)
    return packed


@njit(nogil=True, cache=True)
def _at(sizes, place):  # type: ignore[no-untyped-def]
    """The length at this place of all lengths in order."""
    size, left = 0, place - sizes[0]
    while left >= 0:
        size += 1
        left -= sizes[size]
    return size


@njit(nogil=True, cache=True)
def words(points, kinds, point_offsets, hashes, lengths, word_offsets, counts):  # type: ignore[no-untyped-def]
    """Fills per word hashes (uint64) and lengths (int32, code points), both at least
    as long as the points; word_offsets int64 [documents + 1]; counts int64 [documents, COUNTS].

    A segment is a chunk, or in it a letter of an unspaced script with its marks, or what stands between such; the word
    is its part from the first to the last letter, mark or digit.
    """
    total = 0
    word_offsets[0] = 0
    sizes = np.zeros(LONGEST + 1, np.int64)
    for document in range(len(point_offsets) - 1):
        begin, stop = point_offsets[document], point_offsets[document + 1]
        spaced = spaced_length = alphabetic = symbols = capitals = 0
        sizes[:] = 0
        seen = 0
        index = begin
        while index < stop:
            if kinds[index] & SPACE:
                index += 1
                continue
            chunk, in_chunk = index, total
            unit = False
            first = last = -1
            solo_word = False
            held = np.uint16(0)
            value = _SEED
            while True:
                ended = index >= stop or (kinds[index] & SPACE) != 0
                kind = kinds[index] if not ended else np.uint16(SPACE)
                solo = (kind & SOLO) != 0
                if ended or solo or (unit and not kind & MARK):
                    if first >= 0:
                        length = last - first + 1
                        hashes[total] = (value ^ (value >> _SHIFT)) * _FINAL
                        lengths[total] = length
                        total += 1
                        alphabetic += (held & ALPHA) != 0
                        if not solo_word:
                            spaced += 1
                            spaced_length += length
                            sizes[min(length, LONGEST)] += 1
                            capitals += length > 1 and (held & (ALPHA | SMALL)) == ALPHA
                        first = -1
                        held = np.uint16(0)
                    if ended:
                        break
                unit = solo or (unit and (kind & MARK) != 0)
                if kind & WORD:
                    if first < 0:
                        first = index
                        solo_word = solo
                        value = _SEED
                    else:
                        for between in range(last + 1, index):
                            value = (value ^ np.uint64(points[between])) * _PRIME
                    value = (value ^ np.uint64(points[index])) * _PRIME
                    held |= kind
                    index += 1
                    if not unit:
                        # Most characters: on through a plain word, hashing on the way, as a loop's end costs most.
                        while index < stop and (kinds[index] & (WORD | SOLO | SPACE)) == WORD:
                            held |= kinds[index]
                            value = (value ^ np.uint64(points[index])) * _PRIME
                            index += 1
                    last = index - 1
                else:
                    index += 1
            symbols += total == in_chunk
            if seen == _ALL:
                continue
            end = index
            while chunk < end and kinds[chunk] & OUTER:
                chunk += 1
            while end > chunk and kinds[end - 1] & OUTER:
                end -= 1
            if 2 <= end - chunk <= 4:
                packed = _packed_lower(points, chunk, end)
                if packed:
                    for which in range(len(_PACKED)):
                        if packed == _PACKED[which]:
                            seen |= 1 << which
        word_offsets[document + 1] = total
        counts[document, WORDS] = total - word_offsets[document]
        counts[document, SPACED] = spaced
        counts[document, SPACED_LENGTH] = spaced_length
        counts[document, ALPHABETIC] = alphabetic
        counts[document, SYMBOLS] = symbols
        counts[document, CAPITALS] = capitals
        counts[document, TWICE_MEDIAN] = _at(sizes, (spaced - 1) // 2) + _at(sizes, spaced // 2) if spaced else 0
        stops = 0
        for which in range(len(_PACKED)):
            stops += (seen >> which) & 1
        counts[document, STOP_WORDS] = stops
