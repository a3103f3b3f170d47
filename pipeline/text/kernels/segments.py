"""What ftfy does to a segment without mojibake, over UTF-8 bytes; the other segments are found and listed."""

import numpy as np
from numba import njit

from pipeline.text.badness import ACCEPT, SEARCH, START
from pipeline.text.kernels.characters import NORMAL_FORM, decode, joins
from pipeline.text.traits import (
    AMPERSAND,
    BRACKET,
    COMPOSES,
    FEED,
    HARD,
    LESS,
    MAPPED,
    NOT_NORMAL,
    REMOVED,
    RETURN,
)

SEEN, BAD, ABNORMAL, END = range(4)
"""Places of what `_look` finds: the traits of all characters; mojibake; may not be NFC; where the segment ends."""

DOCUMENT, FIRST, LAST, ENTITIES = range(4)
"""Columns of the segments that are left to ftfy: document, place in the output, whether HTML entities count."""

FTFY, FEEDS, PAGES = range(3)
"""Columns of what is known of a document after ftfy's step: it changed; form feeds; how often "[Page " stands in it."""

_TOUCHED = MAPPED | REMOVED | RETURN | HARD


@njit(nogil=True, cache=True)
def _look(data, first, stop, limit, one, kinds, traits, moves, longest, classes, pairs, found):  # type: ignore[no-untyped-def]
    """Reads a segment from `first`: up to a line feed, `limit` code points, or `stop`; with `one` line feeds do not end
    it. Fills found, int64 [4].
    """
    index, points = first, np.int64(0)
    seen = np.uint16(0)
    bad = abnormal = False
    hot, state = 0, START
    before, marks = np.uint32(0), np.uint8(0)
    while index < stop:
        byte = data[index]
        if byte < 0x80:
            kind = kinds[byte]
            seen |= traits[kind]
            if hot:
                hot -= 1
                state = moves[state, kind]
                bad |= state == ACCEPT
            index += 1
            points += 1
            if (byte == 10 and not one) or points == limit:
                break
            continue
        if not hot:
            # Only ASCII since the last `longest` characters: the automaton had nothing to remember but the last few.
            back = max(first, index - longest)
            state = START if back == first else SEARCH
            while back < index:
                state = moves[state, kinds[data[back]]]
                back += 1
        if index > first and data[index - 1] < 0x80:
            before, marks = np.uint32(data[index - 1]), np.uint8(0)
        hot = longest
        point, size = decode(data, index)
        kind = kinds[point]
        trait = traits[kind]
        seen |= trait
        state = moves[state, kind]
        bad |= state == ACCEPT
        if trait & NORMAL_FORM:
            order = classes[point]
            abnormal |= (trait & NOT_NORMAL) != 0 or (order != 0 and marks > order)
            if trait & COMPOSES and not abnormal:
                abnormal = marks != 0 or joins(before, point, pairs)
            marks = order
        else:
            marks = np.uint8(0)
        before = point
        index += size
        points += 1
        if points == limit:
            break
    found[SEEN] = seen
    found[BAD] = bad
    found[ABNORMAL] = abnormal
    found[END] = index


@njit(nogil=True, cache=True)
def _entity(data, first, stop):  # type: ignore[no-untyped-def]
    """Whether &#?[0-9A-Za-z]{1,24}; stands in it."""
    for index in range(first, stop):
        if data[index] != 38:
            continue
        at = index + 1
        if at < stop and data[at] == 35:
            at += 1
        start = at
        while at < stop and at - start <= 24:
            byte = data[at]
            if not (48 <= byte <= 57 or 65 <= byte <= 90 or 97 <= byte <= 122):
                break
            at += 1
        if at < stop and data[at] == 59 and 1 <= at - start <= 24:
            return True
    return False


@njit(nogil=True, cache=True)
def _map(data, first, stop, out, at, kinds, traits, places, substitutes):  # type: ignore[no-untyped-def]
    """ftfy's ligatures, widths, quotes and line breaks; returns where the output ends."""
    index = first
    while index < stop:
        byte = data[index]
        if byte < 0x80:
            if byte == 13:
                if index + 1 < stop and data[index + 1] == 10:
                    index += 1
                byte = np.uint8(10)
            out[at] = byte
            at += 1
            index += 1
            continue
        point, size = decode(data, index)
        if traits[kinds[point]] & MAPPED:
            place = places[point]
            for step in range(substitutes[place, 0]):
                out[at] = substitutes[place, 1 + step]
                at += 1
        else:
            for step in range(size):
                out[at] = data[index + step]
                at += 1
        index += size
    return at


@njit(nogil=True, cache=True)
def _strip(out, first, stop, kinds, traits):  # type: ignore[no-untyped-def]
    """ftfy's terminal escapes, then its control characters, in place; returns the end, or -1 where digits of other
    scripts may stand in an escape."""
    index = at = first
    while index < stop:
        byte = out[index]
        if byte == 27 and index + 1 < stop and out[index + 1] == 91:
            ahead = index + 2
            while ahead < stop and (48 <= out[ahead] <= 57 or out[ahead] == 59):
                ahead += 1
            if ahead < stop:
                final = out[ahead]
                if final >= 0x80:
                    return -1
                if 65 <= final <= 90 or 97 <= final <= 122:
                    index = ahead + 1
                    continue
        size = 1
        if byte < 0x80:
            gone = traits[kinds[byte]] & REMOVED
        else:
            point, size = decode(out, index)
            gone = traits[kinds[point]] & REMOVED
        if not gone:
            for step in range(size):
                out[at + step] = out[index + step]
            at += size
        index += size
    return at


@njit(nogil=True, cache=True)
def fix(  # type: ignore[no-untyped-def]
    data,
    offsets,
    sound,
    limit,
    kinds,
    traits,
    moves,
    longest,
    classes,
    pairs,
    places,
    substitutes,
    out,
    ends,
    facts,
    hard,
):
    """`ftfy.fix_text` of each document with `sound`; others are copied. Segments that ftfy itself must see are copied
    as they are and listed in `hard`, int64 [segments, 4]; returns how many.

    Fills out (uint8, as long as the data), ends int64 [documents + 1], facts int64 [documents, 3].
    """
    at = np.int64(0)
    listed = 0
    found = np.zeros(4, np.int64)
    again = np.zeros(4, np.int64)
    for document in range(len(offsets) - 1):
        ends[document] = at
        index, stop = np.int64(offsets[document]), np.int64(offsets[document + 1])
        facts[document, :] = 0
        if not sound[document]:
            out[at : at + stop - index] = data[index:stop]
            at += stop - index
            continue
        entities = True
        while index < stop:
            _look(data, index, stop, limit, False, kinds, traits, moves, longest, classes, pairs, found)
            seen, end = found[SEEN], found[END]
            if seen & LESS:
                entities = False
            if seen & FEED:
                for place in range(index, end):
                    facts[document, FEEDS] += data[place] == 12
            if seen & BRACKET:
                for place in range(index, end - 6):
                    if data[place] == 91 and data[place + 1] == 80 and data[place + 2] == 97:
                        facts[document, PAGES] += data[place + 3] == 103 and data[place + 4] == 101
            left = bool(found[BAD] or found[ABNORMAL] or seen & HARD)
            if seen & AMPERSAND and entities and not left:
                left = _entity(data, index, end)
            if left or not seen & _TOUCHED:
                if left:
                    hard[listed, DOCUMENT] = document
                    hard[listed, FIRST] = at
                    hard[listed, LAST] = at + end - index
                    hard[listed, ENTITIES] = entities
                    listed += 1
                out[at : at + end - index] = data[index:end]
                at += end - index
                index = end
                continue
            last = _map(data, index, end, out, at, kinds, traits, places, substitutes)
            if seen & REMOVED:
                last = _strip(out, at, last, kinds, traits)
            if last >= 0:
                # ftfy goes round until nothing changes: where the outcome gives it no reason, that was the last round.
                _look(out, at, last, np.int64(-1), True, kinds, traits, moves, longest, classes, pairs, again)
                seen = again[SEEN]
                left = bool(again[BAD] or again[ABNORMAL] or seen & _TOUCHED)
                if left or (seen & AMPERSAND and entities and _entity(out, at, last)):
                    last = -1
            if last < 0:
                hard[listed, DOCUMENT] = document
                hard[listed, FIRST] = at
                hard[listed, LAST] = at + end - index
                hard[listed, ENTITIES] = entities
                listed += 1
                out[at : at + end - index] = data[index:end]
                at += end - index
            else:
                # Nothing touched grows or stays: CRLF and controls shrink, mapped characters differ.
                facts[document, FTFY] = 1
                at = last
            index = end
    ends[len(offsets) - 1] = at
    return listed
