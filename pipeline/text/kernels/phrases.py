"""Entries of a list in decoded text: whole words and phrases, in unspaced scripts letters in a row; any case.

Text and entries fall into tokens at the same places: at white space, and between two code points unless the second is a
mark, or both are letters, marks or numbers and neither a letter of an unspaced script. An entry occurs where its folded
code points stand from the start of a token to the end of one; a space of it stands for any white space.
"""

import numpy as np
from numba import njit

from pipeline.text.classes import MARK, SOLO, SPACE, WORD

OCCURRENCES, WORDS = range(2)
COUNTS = 2
"""Columns of `counts`: occurrences, from left to right, of those at one place the longest, none inside another; the
words they make up."""

_PRIME = np.uint64(0x9E3779B97F4A7C15)
_FINAL = np.uint64(0xFF51AFD7ED558CCD)
_SHIFT = np.uint64(32)


@njit(nogil=True, cache=True, inline="always")
def _joined(before, kind):  # type: ignore[no-untyped-def]
    """Whether no token begins at a code point of this kind after one of the kind `before`."""
    return (kind & MARK != 0 and not before & SPACE) or ((kind & before & WORD) != 0 and not (kind | before) & SOLO)


@njit(nogil=True, cache=True, inline="always")
def _token(points, kinds, fold, first, stop):  # type: ignore[no-untyped-def]
    """(end, uint64 hash of the folded code points) of the token that starts here."""
    index = first
    value = _PRIME
    limit = np.uint32(len(fold))
    while True:
        point = points[index]
        value = (value ^ np.uint64(fold[point] if point < limit else point)) * _PRIME
        index += 1
        if index >= stop or not _joined(kinds[index - 1], kinds[index]):
            return index, (value ^ (value >> _SHIFT)) * _FINAL


@njit(nogil=True, cache=True)
def first_tokens(points, kinds, fold, offsets, hashes):  # type: ignore[no-untyped-def]
    """hashes: uint64 [entries], of each entry's first token. Entry e is points[offsets[e]:offsets[e + 1]]."""
    for entry in range(len(offsets) - 1):
        hashes[entry] = _token(points, kinds, fold, offsets[entry], offsets[entry + 1])[1]


@njit(nogil=True, cache=True)
def phrases(  # type: ignore[no-untyped-def]
    points, kinds, fold, offsets, entries, entry_offsets, entry_words, hashes, heads, following, counts
):
    """Document d is points[offsets[d]:offsets[d + 1]]; entries: uint32, folded; entry_words: int64 [entries]; hashes:
    uint64 [entries]. heads: int32 [a power of two], the first entry for the low bits of a hash, -1 for none; following:
    int32 [entries], the next such one; longer entries first. counts: int64 [documents, COUNTS]."""
    mask = np.uint64(len(heads) - 1)
    limit = np.uint32(len(fold))
    for document in range(len(offsets) - 1):
        stop = offsets[document + 1]
        at = offsets[document]
        found = covered = 0
        while at < stop:
            if kinds[at] & SPACE:
                at += 1
                continue
            end, hashed = _token(points, kinds, fold, at, stop)
            entry = heads[hashed & mask]
            while entry >= 0:
                if hashes[entry] == hashed:
                    here, place = at, entry_offsets[entry]
                    last = entry_offsets[entry + 1]
                    while place < last and here < stop:
                        wanted = entries[place]
                        if wanted == 32:
                            if not kinds[here] & SPACE:
                                break
                            while here < stop and kinds[here] & SPACE:
                                here += 1
                        else:
                            point = points[here]
                            if (fold[point] if point < limit else point) != wanted:
                                break
                            here += 1
                        place += 1
                    if place == last and (here == stop or not _joined(kinds[here - 1], kinds[here])):
                        found += 1
                        covered += entry_words[entry]
                        end = here
                        break
                entry = following[entry]
            at = end
        counts[document, OCCURRENCES] = found
        counts[document, WORDS] = covered
