"""Invisible characters, form feeds and surplus white space, removed over UTF-8 bytes."""

import numpy as np
from numba import njit

from pipeline.text.kernels.characters import NORMAL_FORM, decode, joins
from pipeline.text.traits import COMPOSES, INVISIBLE, NOT_NORMAL, SPACE

CONTROLS, WHITE, UNCERTAIN = range(3)
"""Columns of what `tidy` did: removed invisible characters; removed white space; nothing: the text may not be NFC."""


@njit(nogil=True, cache=True)
def _bare(out, first, end, kinds, traits):  # type: ignore[no-untyped-def]
    """`end` without the white space before it, not below `first`."""
    while end > first:
        byte = out[end - 1]
        if byte < 0x80:
            if not traits[kinds[byte]] & SPACE:
                break
            end -= 1
            continue
        start = end - 1
        while start > first and out[start] & 0xC0 == 0x80:
            start -= 1
        point, _ = decode(out, start)
        if not traits[kinds[point]] & SPACE:
            break
        end = start
    return end


@njit(nogil=True, cache=True)
def tidy(data, offsets, sound, kinds, traits, classes, pairs, out, ends, facts):  # type: ignore[no-untyped-def]
    """Removes invisible characters, turns form feeds into line feeds, bares line ends, leaves one blank line at most
    and no white space around the whole. Documents that may not be NFC are copied as they are and marked UNCERTAIN.

    Fills out (uint8, as long as the data), ends int64 [documents + 1], facts int64 [documents, 3].
    """
    at = np.int64(0)
    for document in range(len(offsets) - 1):
        ends[document] = at
        start = at
        index, stop = np.int64(offsets[document]), np.int64(offsets[document + 1])
        facts[document, :] = 0
        if not sound[document]:
            out[at : at + stop - index] = data[index:stop]
            at += stop - index
            continue
        line = at
        breaks = 0
        filled = removed = uncertain = False
        # Bytes of the text without invisible characters, and how many of them come before the newlines at its end.
        length = before_newlines = np.int64(0)
        before, marks = np.uint32(0), np.uint8(0)
        while index < stop:
            byte = data[index]
            if 32 <= byte < 127:
                # The long way: most bytes of most texts.
                first = index
                while index < stop and 32 <= data[index] < 127:
                    out[at] = data[index]
                    at += 1
                    index += 1
                length += index - first
                before_newlines = length
                before, marks = np.uint32(data[index - 1]), np.uint8(0)
                continue
            if byte == 12:
                removed = True
                if index + 1 < stop and data[index + 1] == 10:
                    index += 1
                    continue
                byte = np.uint8(10)
            if byte == 10:
                index += 1
                length += 1
                at = _bare(out, line, at, kinds, traits)
                if at > line:
                    filled = True
                    breaks = 0
                if filled and breaks < 2:
                    out[at] = 10
                    at += 1
                    breaks += 1
                line = at
                before, marks = np.uint32(10), np.uint8(0)
                continue
            if byte < 0x80:
                point, size = np.uint32(byte), 1
            else:
                point, size = decode(data, index)
            trait = traits[kinds[point]]
            if trait & INVISIBLE:
                removed = True
                index += size
                continue
            if trait & NORMAL_FORM:
                order = classes[point]
                if trait & NOT_NORMAL or (order != 0 and marks > order):
                    uncertain = True
                    break
                if trait & COMPOSES and (marks or joins(before, point, pairs)):
                    uncertain = True
                    break
                marks = order
            else:
                marks = np.uint8(0)
            before = point
            for step in range(size):
                out[at + step] = data[index + step]
            at += size
            index += size
            length += size
            before_newlines = length
        if uncertain:
            facts[document, UNCERTAIN] = 1
            index = np.int64(offsets[document])
            out[start : start + stop - index] = data[index:stop]
            at = start + stop - index
            continue
        at = _bare(out, start, at, kinds, traits)
        # The lines in front of the first with text are gone already; its indent is not.
        first = start
        while first < at:
            if out[first] < 0x80:
                point, size = np.uint32(out[first]), 1
            else:
                point, size = decode(out, first)
            if not traits[kinds[point]] & SPACE:
                break
            first += size
        if first > start:
            for step in range(at - first):
                out[start + step] = out[first + step]
            at -= first - start
        facts[document, CONTROLS] = removed
        facts[document, WHITE] = at - start != before_newlines
    ends[len(offsets) - 1] = at
