"""What is said twice: lines, paragraphs and word n-grams (Gopher, Rae et al. 2021, table A1), each counted soundly.

Copies are those after the first. A character counts once, however many repeated n-grams cover it, so that no fraction
exceeds 1. An n-gram that occurs once is nobody's most frequent one; among equally frequent ones the largest share
counts, whatever their order.
"""

import numpy as np
from numba import njit

TOP = (2, 3, 4)
DUPLICATE = (5, 6, 7, 8, 9, 10)
LINES, LINE_CHARACTERS, BLOCKS, BLOCK_CHARACTERS, FIRST_TOP, FIRST_DUPLICATE, WORD_CHARACTERS = 0, 1, 2, 3, 4, 7, 13
COUNTS = 14
"""Columns of `counts`: copied lines, their characters; copied paragraphs, theirs; characters of the top 2, 3, 4-grams;
of copied 5 to 10-grams; of all words."""

_LONGEST = DUPLICATE[-1]
_LAST_TOP = TOP[-1]
_MIX = np.uint64(0x9E3779B97F4A7C15)
_ONE = np.uint64(1)


@njit(nogil=True, cache=True)
def _capacity(keys):  # type: ignore[no-untyped-def]
    """Slots for so many keys, a power of two at least twice as large."""
    slots = 16
    while slots < 2 * keys:
        slots *= 2
    return slots


@njit(nogil=True, cache=True, inline="always")
def _identify(key, keys, ids, mask, shift, known):  # type: ignore[no-untyped-def]
    """The id of `key`; it is `known` where the key is new, and then entered."""
    # Unsigned: of signed indices numba asks whether they count from the end.
    last = np.uint64(mask)
    slot = (key * _MIX) >> shift
    while ids[slot] >= 0:
        if keys[slot] == key:
            return ids[slot]
        slot = (slot + _ONE) & last
    keys[slot] = key
    ids[slot] = known
    return known


@njit(nogil=True, cache=True)
def _shift(slots):  # type: ignore[no-untyped-def]
    """Leaves as many of the high bits as `slots` needs."""
    bits = 0
    while (1 << bits) < slots:
        bits += 1
    return np.uint64(64 - bits)


@njit(nogil=True, cache=True)
def _copies(hashes, firsts, ends, keys, ids):  # type: ignore[no-untyped-def]
    """How many of the hashes occurred before, and the sum of their lengths (from first to end)."""
    slots = _capacity(len(hashes))
    ids[:slots] = -1
    shift, known, copies, characters = _shift(slots), np.int32(0), 0, 0
    for index in range(len(hashes)):
        if _identify(hashes[index], keys, ids, slots - 1, shift, known) == known:
            known += np.int32(1)
        else:
            copies += 1
            characters += ends[index] - firsts[index]
    return copies, characters


@njit(nogil=True, cache=True)
def repetition(  # type: ignore[no-untyped-def]
    words,
    word_lengths,
    word_offsets,
    lines,
    line_firsts,
    line_ends,
    line_offsets,
    blocks,
    block_firsts,
    block_ends,
    block_offsets,
    counts,
):
    """From the hashes of words, lines and paragraphs, and their lengths (of the latter two: end - first), to counts,
    int64 [documents, COUNTS].

    An n-gram can repeat only where both of its (n-1)-grams do: each length looks at what the one before left over.
    """
    longest = 1
    for document in range(len(word_offsets) - 1):
        longest = max(longest, word_offsets[document + 1] - word_offsets[document])
        longest = max(longest, line_offsets[document + 1] - line_offsets[document])
    keys = np.empty(_capacity(longest), np.uint64)
    ids = np.empty(len(keys), np.int32)
    places = np.empty(longest, np.int64)
    grams = np.empty(longest, np.int32)
    seen = np.empty(longest, np.int32)
    covered = np.empty(longest, np.int64)
    reach = np.empty(longest, np.int64)
    sums = np.empty(longest + 1, np.int64)
    for document in range(len(word_offsets) - 1):
        row = counts[document]
        row[:] = 0
        a, b = line_offsets[document], line_offsets[document + 1]
        row[LINES], row[LINE_CHARACTERS] = _copies(lines[a:b], line_firsts[a:b], line_ends[a:b], keys, ids)
        a, b = block_offsets[document], block_offsets[document + 1]
        row[BLOCKS], row[BLOCK_CHARACTERS] = _copies(blocks[a:b], block_firsts[a:b], block_ends[a:b], keys, ids)

        start = word_offsets[document]
        left = word_offsets[document + 1] - start
        sums[0] = 0
        slots = _capacity(left)
        ids[:slots] = -1
        shift, known = _shift(slots), np.int32(0)
        for index in range(left):
            sums[index + 1] = sums[index] + word_lengths[start + index]
            gram = _identify(words[start + index], keys, ids, slots - 1, shift, known)
            if gram == known:
                known += np.int32(1)
                seen[gram] = 0
            seen[gram] += 1
            places[index] = index
            grams[index] = gram
        row[WORD_CHARACTERS] = sums[left]

        for size in range(2, _LONGEST + 1):
            # Places whose shorter gram repeats stay.
            repeated = 0
            for index in range(left):
                if seen[grams[index]] > 1:
                    places[repeated] = places[index]
                    grams[repeated] = grams[index]
                    repeated += 1
            if repeated < 2:
                break
            slots = _capacity(repeated)
            ids[:slots] = -1
            shift, known = _shift(slots), np.int32(0)
            left = 0
            most = np.int32(1)
            characters = done = 0
            for index in range(repeated - 1):
                place = places[index]
                if places[index + 1] != place + 1:
                    continue
                key = (np.uint64(grams[index]) << np.uint64(32)) | np.uint64(grams[index + 1])
                gram = _identify(key, keys, ids, slots - 1, shift, known)
                end = place + size
                if gram == known:
                    known += np.int32(1)
                    seen[gram] = 0
                    covered[gram] = 0
                    reach[gram] = 0
                elif size > _LAST_TOP:
                    characters += sums[end] - sums[max(place, done)]
                    done = end
                seen[gram] += 1
                if size <= _LAST_TOP:
                    covered[gram] += sums[end] - sums[max(place, reach[gram])]
                    reach[gram] = end
                    most = max(most, seen[gram])
                places[left] = place
                grams[left] = gram
                left += 1
            if size <= _LAST_TOP:
                if most > 1:
                    for gram in range(known):
                        if seen[gram] == most:
                            characters = max(characters, covered[gram])
                row[FIRST_TOP + size - 2] = characters
            else:
                row[FIRST_DUPLICATE + size - _LAST_TOP - 1] = characters
