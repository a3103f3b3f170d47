"""What datatrove 0.10 counts on words, given where they are: GopherQualityFilter and GopherRepetitionFilter.

n-grams are counted as its code does: the most frequent one with the spaces between its words, once per occurrence even
where occurrences overlap, the first seen among equals, and also where it occurs once; copied ones from left to right,
leaping over each copy, compared with no space between the words ("a bc" is "ab c").
"""

import numpy as np
from numba import njit

from pipeline.text.datatrove_marks import ALPHA, SYMBOL

TOP = (2, 3, 4)
DUPLICATE = (5, 6, 7, 8, 9, 10)
WORDS, FILLED, FILLED_CHARACTERS, ALPHABETIC, STOP_WORDS, FIRST_TOP, FIRST_DUPLICATE = 0, 1, 2, 3, 4, 5, 8
COUNTS = 14
"""Columns of `counts`: words; those not of punctuation alone, and their code points; words with a letter; different
stop words; code points of the top 2, 3, 4-grams; of copied 5 to 10-grams."""

STOP = ("the", "be", "to", "of", "and", "that", "have", "with")
_PACKED = np.array([int.from_bytes(word.encode(), "big") for word in STOP], np.uint32)

_BASE = np.uint64(0x9E3779B97F4A7C15)
_FINAL = np.uint64(0xFF51AFD7ED558CCD)
_SHIFT = np.uint64(32)
_LONGEST_TOP = TOP[-1]


@njit(nogil=True, cache=True)
def _slots(entries):  # type: ignore[no-untyped-def]
    slots = 16
    while slots < 2 * entries:
        slots *= 2
    return slots


@njit(nogil=True, cache=True, inline="always")
def _identify(key, keys, ids, mask, known):  # type: ignore[no-untyped-def]
    """The id of `key`; it is `known` where the key is new, and then entered."""
    slot = np.int64((key * _FINAL) >> _SHIFT) & mask
    while ids[slot] >= 0:
        if keys[slot] == key:
            return ids[slot]
        slot = (slot + 1) & mask
    keys[slot] = key
    ids[slot] = known
    return known


@njit(nogil=True, cache=True)
def _same(letters, one, other, length):  # type: ignore[no-untyped-def]
    for index in range(length):  # noqa: SIM110 (numba)
        if letters[one + index] != letters[other + index]:
            return False
    return True


@njit(nogil=True, cache=True)
def _copied_characters(letters, sums, powers, at, words, size, keys, ids):  # type: ignore[no-untyped-def]
    """Code points of copied n-grams. `ids` holds the first word of each n-gram seen; equal hashes are compared."""
    slots = _slots(max(words, 0))
    mask = slots - 1
    ids[:slots] = -1
    characters = word = 0
    while word < words - size + 1:
        start, end = at[word], at[word + size]
        length = end - start
        key = sums[end] - sums[start] * powers[length]
        slot = np.int64(((key ^ (key >> _SHIFT)) * _FINAL) >> _SHIFT) & mask
        copied = False
        while ids[slot] >= 0:
            if keys[slot] == key:
                first = ids[slot]
                if at[first + size] - at[first] == length and _same(letters, at[first], start, length):
                    copied = True
                    break
            slot = (slot + 1) & mask
        if copied:
            characters += length
            word += size
        else:
            keys[slot] = key
            ids[slot] = word
            word += 1
    return characters


@njit(nogil=True, cache=True)
def _top_characters(hashes, at, words, keys, ids, places, grams, seen, firsts, row):  # type: ignore[no-untyped-def]
    """An n-gram can repeat only where both of its (n-1)-grams do: each length looks at what the one before left."""
    slots = _slots(words)
    ids[:slots] = -1
    known = np.int32(0)
    for index in range(words):
        gram = _identify(hashes[index], keys, ids, slots - 1, known)
        if gram == known:
            known += np.int32(1)
            seen[gram] = 0
        seen[gram] += 1
        places[index] = index
        grams[index] = gram
    left = words
    for size in range(2, _LONGEST_TOP + 1):
        if words < size:
            row[FIRST_TOP + size - 2] = 0
            continue
        # Where nothing repeats, all occur once, and the first of them is the first of the text.
        most, length = np.int32(1), at[size] - at[0]
        repeated = 0
        for index in range(left):
            if seen[grams[index]] > 1:
                places[repeated] = places[index]
                grams[repeated] = grams[index]
                repeated += 1
        slots = _slots(repeated)
        ids[:slots] = -1
        known = np.int32(0)
        left = 0
        for index in range(repeated - 1):
            place = places[index]
            if places[index + 1] != place + 1:
                continue
            key = (np.uint64(grams[index]) << _SHIFT) | np.uint64(grams[index + 1])
            gram = _identify(key, keys, ids, slots - 1, known)
            if gram == known:
                known += np.int32(1)
                seen[gram] = 0
                firsts[gram] = place
            seen[gram] += 1
            most = max(most, seen[gram])
            places[left] = place
            grams[left] = gram
            left += 1
        if most > 1:
            for gram in range(known):
                if seen[gram] == most:
                    length = at[firsts[gram] + size] - at[firsts[gram]]
                    break
        row[FIRST_TOP + size - 2] = most * (length + size - 1)


@njit(nogil=True, cache=True)
def peer_words(points, marks, starts, ends, word_offsets, counts):  # type: ignore[no-untyped-def]
    """Words w of document d: points[starts[w]:ends[w]] for w from word_offsets[d] to word_offsets[d + 1], in order.
    counts: int64 [documents, COUNTS].
    """
    most = longest = 1
    for document in range(len(word_offsets) - 1):
        a, b = word_offsets[document], word_offsets[document + 1]
        most = max(most, b - a)
        if b > a:
            longest = max(longest, ends[b - 1] - starts[a])
    letters = np.empty(longest, np.uint32)
    sums = np.zeros(longest + 1, np.uint64)
    powers = np.ones(longest + 1, np.uint64)
    for index in range(longest):
        powers[index + 1] = powers[index] * _BASE
    keys = np.empty(_slots(most), np.uint64)
    ids = np.empty(len(keys), np.int32)
    hashes = np.empty(most, np.uint64)
    at = np.zeros(most + 1, np.int64)
    places = np.empty(most, np.int64)
    grams = np.empty(most, np.int32)
    seen = np.empty(most, np.int32)
    firsts = np.empty(most, np.int64)
    for document in range(len(word_offsets) - 1):
        row = counts[document]
        row[:] = 0
        begin, words = word_offsets[document], word_offsets[document + 1] - word_offsets[document]
        stops = left = 0
        for word in range(words):
            start, end = starts[begin + word], ends[begin + word]
            own = np.uint64(0)
            packed = np.uint32(0)
            some = False
            plain = end - start <= 4
            held = 0
            total = sums[left]
            for index in range(start, end):
                point, mark = points[index], marks[index]
                some = some or (mark & SYMBOL) == 0
                held |= mark
                letters[left] = point
                left += 1
                own = (own ^ np.uint64(point)) * _BASE
                own ^= own >> _SHIFT
                total = total * _BASE + np.uint64(point) + np.uint64(1)
                sums[left] = total
                plain = plain and point < 128
                packed = np.uint32(packed << np.uint32(8)) | point
            at[word + 1] = left
            hashes[word] = own ^ np.uint64(end - start)
            row[FILLED] += some
            row[FILLED_CHARACTERS] += end - start if some else 0
            row[ALPHABETIC] += (held & ALPHA) != 0
            if plain:
                for which in range(len(_PACKED)):
                    if packed == _PACKED[which]:
                        stops |= 1 << which
        row[WORDS] = words
        for which in range(len(_PACKED)):
            row[STOP_WORDS] += (stops >> which) & 1
        _top_characters(hashes, at, words, keys, ids, places, grams, seen, firsts, row)
        for size in range(_LONGEST_TOP + 1, _LONGEST_TOP + 7):
            row[FIRST_DUPLICATE + size - _LONGEST_TOP - 1] = _copied_characters(
                letters, sums, powers, at, words, size, keys, ids
            )
