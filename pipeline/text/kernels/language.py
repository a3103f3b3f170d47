"""Language and script over UTF-8 bytes: letters of each script, excerpts, and py3langid's model walked byte by byte.

The model is naive Bayes over byte n-grams that an automaton finds (Lui and Baldwin 2012, langid.py). Its weights are
multiples of 1/512, held as int16: sums of them are exact in any order.
"""

import numpy as np
from numba import njit

LETTERS, MARKED = range(2)
FACTS = 2
"""Columns of `facts`: letters of an excerpt; whether NFC or lower-casing may change it."""

LETTER, LOWER, UPPER, UNSTABLE = 1, 2, 4, 8
"""Bits of the table of code points. LOWER: str.isupper is false for text that holds it. UNSTABLE: NFC may change it."""

CLASSES = 128
"""Columns of the weights, unused ones zero: a constant, so that the compiler makes whole vectors of them."""
SUMMED = 4
"""Counts from 1 to this have a sum of their own; features that occur oftener are weighted one by one."""

_BLOCK = 64
_FEATURE = np.int64(0xFFFFFFFF)


@njit(nogil=True, cache=True, inline="always")
def _decode(data, index):  # type: ignore[no-untyped-def]
    """Code point at this place of sound UTF-8, and its length in bytes."""
    first = np.int64(data[index])
    if first < 0x80:
        return first, 1
    if first < 0xE0:
        return ((first & 0x1F) << 6) | (np.int64(data[index + 1]) & 0x3F), 2
    if first < 0xF0:
        return (
            ((first & 0x0F) << 12) | ((np.int64(data[index + 1]) & 0x3F) << 6) | (np.int64(data[index + 2]) & 0x3F),
            3,
        )
    return (
        ((first & 0x07) << 18)
        | ((np.int64(data[index + 1]) & 0x3F) << 12)
        | ((np.int64(data[index + 2]) & 0x3F) << 6)
        | (np.int64(data[index + 3]) & 0x3F),
        4,
    )


@njit(nogil=True, cache=True)
def scripts(data, offsets, script_of, counts, lengths):  # type: ignore[no-untyped-def]
    """Letters of each script, and code points. Document d is data[offsets[d]:offsets[d + 1]], sound UTF-8.

    script_of: uint8 [0x110000], the last column of `counts` for all that is no letter, 0 for ASCII letters.
    counts: int64 [documents, scripts + 1]; lengths: int64 [documents].
    """
    for document in range(len(offsets) - 1):
        row = counts[document]
        row[:] = 0
        index, end = np.int64(offsets[document]), np.int64(offsets[document + 1])
        length = latin = np.int64(0)
        while index < end:
            # Blocks of ASCII have no branches: the compiler makes vectors of them.
            if end - index >= _BLOCK:
                high = np.uint8(0)
                letters = np.int64(0)
                for place in range(index, index + _BLOCK):
                    byte = data[place]
                    high |= byte
                    letters += np.int64(np.uint8((byte | 0x20) - 97) < 26)
                if high < 0x80:
                    latin += letters
                    length += _BLOCK
                    index += _BLOCK
                    continue
            stop = min(end, index + _BLOCK)
            while index < stop:
                byte = data[index]
                if byte < 0x80:
                    latin += np.int64(np.uint8((byte | 0x20) - 97) < 26)
                    index += 1
                else:
                    point, size = _decode(data, index)
                    row[script_of[point]] += 1
                    index += size
                length += 1
        row[0] += latin
        lengths[document] = length


@njit(nogil=True, cache=True, inline="always")
def _forward(data, index, points):  # type: ignore[no-untyped-def]
    """The place so many code points further on; there are as many."""
    left = points
    while left >= _BLOCK:
        starts = 0
        for place in range(index, index + _BLOCK):
            starts += (data[place] & 0xC0) != 0x80
        left -= starts
        index += _BLOCK
    # Inside a code point, or before the next one: its start is where the count goes on.
    while left > 0:
        left -= (data[index] & 0xC0) != 0x80
        index += 1
    while index < len(data) and (data[index] & 0xC0) == 0x80:
        index += 1
    return index


@njit(nogil=True, cache=True, inline="always")
def _back(data, index, points):  # type: ignore[no-untyped-def]
    """The place so many code points before; there are as many."""
    left = points
    while left > 0:
        index -= 1
        left -= (data[index] & 0xC0) != 0x80
    return index


@njit(nogil=True, cache=True)
def excerpts(data, firsts, ends, lengths, sample, kinds, out, out_offsets, facts):  # type: ignore[no-untyped-def]
    """Short texts whole; of long ones the first, middle and last third of `sample` code points, joined by line feeds.

    Text t is data[firsts[t]:ends[t]], of lengths[t] code points. kinds: uint8 [0x110000], bits as above. out: uint8,
    room for 4 * sample bytes of each text (or all its bytes) and two more. out_offsets: int64 [texts + 1]. facts: int64
    [texts, FACTS].
    """
    at = np.int64(0)
    third = sample // 3
    starts = np.empty(3, np.int64)
    stops = np.empty(3, np.int64)
    out_offsets[0] = 0
    for text in range(len(lengths)):
        pieces = 1
        starts[0], stops[0] = firsts[text], ends[text]
        if lengths[text] > sample:
            pieces = 3
            middle = (lengths[text] - third) // 2
            stops[0] = _forward(data, starts[0], third)
            starts[1] = _forward(data, stops[0], middle - third)
            stops[1] = _forward(data, starts[1], third)
            starts[2], stops[2] = _back(data, ends[text], third), ends[text]
        seen = 0
        letters = np.int64(0)
        for piece in range(pieces):
            if piece:
                out[at] = 10
                at += 1
            index, stop = starts[piece], stops[piece]
            while index < stop:
                point, size = _decode(data, index)
                kind = kinds[point]
                letters += kind & LETTER
                seen |= kind
                for place in range(index, index + size):
                    out[at] = data[place]
                    at += 1
                index += size
        out_offsets[text + 1] = at
        facts[text, LETTERS] = letters
        facts[text, MARKED] = (seen & UNSTABLE) != 0 or ((seen & UPPER) != 0 and (seen & LOWER) == 0)


@njit(nogil=True, cache=True)
def pieces(data, offsets, kinds, least, most, firsts, ends, lengths, letters, piece_offsets):  # type: ignore[no-untyped-def]
    """Runs of whole lines of at least `least` code points (a shorter rest belongs to the last run); of more than
    `most` runs of a document that many, spread evenly.

    Fills firsts, ends (places in `data`), lengths (code points) and letters of each run: int64, one for every `least`
    bytes and one for each document; piece_offsets: int64 [documents + 1].
    """
    at = np.int64(0)
    piece_offsets[0] = 0
    for document in range(len(offsets) - 1):
        index, end = np.int64(offsets[document]), np.int64(offsets[document + 1])
        start = at
        fresh = True
        length = found = np.int64(0)
        first = index
        while index < end:
            point, size = _decode(data, index)
            found += kinds[point] & LETTER
            length += 1
            index += size
            if index == end or (point == 10 and length >= least):
                if length < least and not fresh:
                    ends[at - 1] = index
                    lengths[at - 1] += length
                    letters[at - 1] += found
                else:
                    firsts[at], ends[at], lengths[at], letters[at] = first, index, length, found
                    at += 1
                fresh = False
                length = found = np.int64(0)
                first = index
        runs = at - start
        if runs > most:
            for place in range(most):
                source = start + place * runs // most
                target = start + place
                firsts[target], ends[target] = firsts[source], ends[source]
                lengths[target], letters[target] = lengths[source], letters[source]
            at = start + most
        piece_offsets[document + 1] = at


@njit(nogil=True, cache=True)
def walk(data, offsets, moves, states, features):  # type: ignore[no-untyped-def]
    """The feature that ends at each byte and 1, or 0: int32, as long as `data`.

    moves: uint32 [rows * 256], next state by row and byte. states: int64, row << 32 | feature + 1 (or 0) of each.
    Four texts at once: the next move waits for memory, and the others go on meanwhile.
    """
    texts = len(offsets) - 1
    rows = np.empty(4, np.int64)
    initial = states[0] >> 32
    for text in range(0, texts, 4):
        together = min(4, texts - text)
        rows[:] = initial
        least = np.int64(0)
        if together == 4:
            a, b, c, d = offsets[text], offsets[text + 1], offsets[text + 2], offsets[text + 3]
            least = min(min(b - a, c - b), min(d - c, offsets[text + 4] - d))
            p = q = r = s = initial
            for place in range(least):
                one = states[moves[(p << 8) + np.int64(data[a + place])]]
                two = states[moves[(q << 8) + np.int64(data[b + place])]]
                three = states[moves[(r << 8) + np.int64(data[c + place])]]
                four = states[moves[(s << 8) + np.int64(data[d + place])]]
                features[a + place] = one & _FEATURE
                features[b + place] = two & _FEATURE
                features[c + place] = three & _FEATURE
                features[d + place] = four & _FEATURE
                p, q, r, s = one >> 32, two >> 32, three >> 32, four >> 32
            rows[0], rows[1], rows[2], rows[3] = p, q, r, s
        for other in range(together):
            row = rows[other]
            for place in range(offsets[text + other] + least, offsets[text + other + 1]):
                state = states[moves[(row << 8) + np.int64(data[place])]]
                features[place] = state & _FEATURE
                row = state >> 32


@njit(nogil=True, cache=True)
def scores(features, offsets, weights, priors, logs, out):  # type: ignore[no-untyped-def]
    """Log posteriors of naive Bayes, up to a constant; of a text without features 0.

    features: of `walk`. weights: int16 [features + 1, CLASSES], in 1/512, the last row zero; logs: float64,
    log(1 + count) / 512 for all counts up to the bytes of the longest text, and up to SUMMED; priors: float64
    [classes]; out: float64 [texts, classes].
    """
    counts = np.zeros(len(weights), np.int32)
    found = np.empty(len(logs), np.int32)
    groups = np.empty((SUMMED, len(logs) + 4), np.int32)
    sizes = np.empty(SUMMED, np.int64)
    sums = np.empty(CLASSES, np.int32)
    result = np.empty(CLASSES, np.float64)
    for text in range(len(offsets) - 1):
        distinct = 0
        for place in range(offsets[text], offsets[text + 1]):
            feature = features[place] - 1
            if feature >= 0:
                if counts[feature] == 0:
                    found[distinct] = feature
                    distinct += 1
                counts[feature] += 1
        result[:] = 0.0
        sizes[:] = 0
        for index in range(distinct):
            feature = found[index]
            count = counts[feature]
            counts[feature] = 0
            if count <= SUMMED:
                groups[count - 1, sizes[count - 1]] = feature
                sizes[count - 1] += 1
            else:
                weight = weights[feature]
                factor = logs[count]
                for column in range(CLASSES):
                    result[column] += factor * weight[column]
        for which in range(SUMMED):
            group = groups[which]
            size = sizes[which]
            while size % 4:
                group[size] = len(weights) - 1
                size += 1
            sums[:] = 0
            for index in range(0, size, 4):
                one, two = weights[group[index]], weights[group[index + 1]]
                three, four = weights[group[index + 2]], weights[group[index + 3]]
                for column in range(CLASSES):
                    sums[column] += one[column] + two[column] + three[column] + four[column]
            factor = logs[which + 1]
            for column in range(CLASSES):
                result[column] += factor * sums[column]
        for column in range(len(priors)):
            out[text, column] = priors[column] + result[column] if distinct else 0.0
