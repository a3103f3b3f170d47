"""Tokens of English text by the affix and infix rules of spaCy 3.8, near enough to what datatrove counts words with.

Chunks between white space lose punctuation at both ends, one token each; contractions part ("ca n't"); hyphens, commas,
ellipses and a few signs part words inside, but not URLs and mail addresses. Left out: exceptions of three parts
("I'd've"), hosts that are numbers, units and emoticons outside ASCII.
"""

import numpy as np
from numba import njit

from pipeline.text.datatrove_exceptions import LONGEST, SHIFT
from pipeline.text.datatrove_marks import (
    ALPHA,
    BEFORE_DOT,
    CURRENCY,
    DIGIT,
    ICON,
    LOWER,
    PREFIX,
    QUOTE,
    SPACE,
    SUFFIX,
    UPPER,
)

_UNITS = np.array(
    [
        int.from_bytes(unit.encode(), "big")
        for unit in (
            *(
                "km",
                "m",
                "dm",
                "cm",
                "mm",
                "ha",
                "nm",
                "yd",
                "in",
                "ft",
                "kg",
                "g",
                "mg",
                "t",
                "lb",
                "oz",
                "m/s",
                "km/h",
            ),
            *(
                "kmh",
                "mph",
                "hPa",
                "Pa",
                "mbar",
                "mb",
                "MB",
                "kb",
                "KB",
                "gb",
                "GB",
                "tb",
                "TB",
                "T",
                "G",
                "M",
                "K",
                "%",
            ),
        )
    ],
    np.uint32,
)
"""Tokens of their own behind a digit."""
_SHIFT = np.uint64(SHIFT)
_MIX = np.uint64(0x9E3779B97F4A7C15)


@njit(nogil=True, cache=True)
def _exception(points, first, last, keys, splits):  # type: ignore[no-untyped-def]
    """Where spaCy's table parts this chunk: -1 where it is not in the table, 0 where it stays whole."""
    if last - first > LONGEST:
        return -1
    packed = np.uint64(0)
    for index in range(first, last):
        point = points[index]
        if point == 0x2019:
            point = np.uint32(39)
        if point > 127:
            return -1
        packed = (packed << np.uint64(7)) | np.uint64(point)
    slot = np.int64((packed * _MIX) >> _SHIFT)
    while splits[slot] >= 0:
        if keys[slot] == packed:
            return splits[slot]
        slot = (slot + 1) & (len(keys) - 1)
    return -1


@njit(nogil=True, cache=True)
def _joined(points, starts, ends, first, total, keys, splits):  # type: ignore[no-untyped-def]
    """Joins neighbours among the tokens from `first` that the table holds as one; how many tokens are left in all."""
    left = first
    index = first
    while index < total:
        start, end = starts[index], ends[index]
        if index + 1 < total and _exception(points, start, ends[index + 1], keys, splits) == 0:
            index += 1
            end = ends[index]
        starts[left], ends[left] = start, end
        left += 1
        index += 1
    return left


@njit(nogil=True, cache=True)
def _prefix(points, marks, first, last):  # type: ignore[no-untyped-def]
    """Length of the token at the start."""
    if marks[first] & PREFIX:
        return 1
    point = points[first]
    if point == 46:
        run = first + 1
        while run < last and points[run] == 46:
            run += 1
        return run - first if run - first > 1 else 0
    return int(point == 43 and not (first + 1 < last and marks[first + 1] & DIGIT))


@njit(nogil=True, cache=True)
def _suffix(points, marks, first, last):  # type: ignore[no-untyped-def]
    """Length of the token at the end."""
    point, mark = points[last - 1], marks[last - 1]
    if mark & SUFFIX:
        return 1
    if last - first < 2:
        return 0
    before = marks[last - 2]
    if point == 46:
        run = last - 1
        while run > first and points[run - 1] == 46:
            run -= 1
        if last - run > 1:
            return last - run
        return int(
            (before & BEFORE_DOT) != 0
            or (last - first > 2 and (before & UPPER) != 0 and (marks[last - 3] & UPPER) != 0)
        )
    if (point == 115 or point == 83) and (points[last - 2] == 39 or points[last - 2] == 0x2019):
        return 2
    if before & DIGIT and (point == 43 or mark & CURRENCY):
        return 1
    packed = np.uint32(0)
    for length in range(1, min(5, last - first)):
        if points[last - length] > 127:
            return 0
        packed |= np.uint32(points[last - length]) << np.uint32(8 * (length - 1))
        if marks[last - length - 1] & DIGIT:
            return length if np.any(packed == _UNITS) else 0
    return 0


@njit(nogil=True, cache=True, inline="always")
def _in_host(point, mark):  # type: ignore[no-untyped-def]
    return (mark & DIGIT) != 0 or 97 <= (point | 32) <= 122 or 0xA1 <= point <= 0xFFFF


@njit(nogil=True, cache=True)
def _address(points, marks, first, last):  # type: ignore[no-untyped-def]
    """Whether the chunk is a URL or a mail address: [scheme://][user@]host.tld[:port][/ ? or # and anything]."""
    at = first
    dotted = False
    for index in range(first, last):
        point = points[index]
        if point == 58 and index > first + 1 and index + 2 < last and points[index + 1] == points[index + 2] == 47:
            at = index + 3
        elif (point == 47 or point == 63 or point == 35) and index > at:
            break
        elif point == 64 and index > first:
            at = index + 1
        dotted = dotted or point == 46
    if not dotted:
        return False
    label, dots, lower = at, 0, True
    while at < last:
        point = points[at]
        if point == 46:
            if at == label or not _in_host(points[at - 1], marks[at - 1]) or not _in_host(points[label], marks[label]):
                return False
            label, lower = at + 1, True
            dots += 1
        elif _in_host(point, marks[at]) or point == 45 or point == 95:
            lower = lower and (marks[at] & LOWER) != 0
        else:
            break
        at += 1
    if dots == 0 or not lower or not 2 <= at - label <= 63:
        return False
    if at < last and points[at] == 58:
        port = at + 1
        while port < last and marks[port] & DIGIT:
            port += 1
        if not 2 <= port - at - 1 <= 5:
            return False
        at = port
    return at == last or points[at] == 47 or points[at] == 63 or points[at] == 35


@njit(nogil=True, cache=True)
def _infix(points, marks, index, first, last):  # type: ignore[no-untyped-def]
    """Length of the token that parts the chunk here, 0 for none."""
    point, mark = points[index], marks[index]
    if point == 0x2026 or mark & ICON:
        return 1
    if point == 46 and index + 1 < last and points[index + 1] == 46:
        run = index
        while run < last and points[run] == 46:
            run += 1
        return run - index
    if index == first or index + 1 >= last:
        return 0
    before, after = marks[index - 1], marks[index + 1]
    operator = point == 43 or point == 45 or point == 42 or point == 94
    if operator and before & DIGIT and (after & DIGIT or points[index + 1] == 45):
        return 1
    if point == 46:
        return int((before & (LOWER | QUOTE)) != 0 and (after & (UPPER | QUOTE)) != 0)
    if point == 44:
        return int((before & ALPHA) != 0 and (after & ALPHA) != 0)
    if not before & (ALPHA | DIGIT):
        return 0
    if point == 45 or point == 0x2014:
        most = 3 if point == 45 else 2
        run = index + 1
        while run < last and points[run] == point:
            run += 1
        return run - index if run - index <= most and run < last and (marks[run] & ALPHA) != 0 else 0
    if point == 0x2013 or point == 126 or point == 58 or 60 <= point <= 62 or point == 47:
        return int((after & ALPHA) != 0)
    return 0


@njit(nogil=True, cache=True)
def peer_tokens(points, marks, point_offsets, keys, splits, starts, ends, token_offsets):  # type: ignore[no-untyped-def]
    """Fills per token starts and ends (int64, indices of `points`, at least as long as these), and token_offsets, int64
    [documents + 1]. `keys` and `splits` as `pipeline.text.datatrove_exceptions` has them.
    """
    total = 0
    token_offsets[0] = 0
    stack = np.empty(64, np.int64)
    for document in range(len(point_offsets) - 1):
        index, stop = point_offsets[document], point_offsets[document + 1]
        while index < stop:
            if marks[index] & SPACE:
                index += 1
                continue
            first, before = index, total
            plain = True
            while index < stop and not marks[index] & SPACE:
                plain = plain and (marks[index] & ALPHA) != 0
                index += 1
            last = end = index
            depth = 0
            split = _exception(points, first, last, keys, splits)
            while not plain and split < 0 and first < last:
                length = _prefix(points, marks, first, last)
                rest = first + length
                if length and rest < last:
                    split = _exception(points, rest, last, keys, splits)
                tail = 0
                if split < 0 and rest < last:
                    tail = _suffix(points, marks, rest, last)
                    if tail and first < last - tail:
                        split = _exception(points, first, last - tail, keys, splits)
                        if split >= 0:
                            length = 0
                if length == 0 and tail == 0:
                    break
                if length:
                    starts[total], ends[total] = first, rest
                    total += 1
                    first = rest
                if tail:
                    last -= tail
                    if depth == len(stack):
                        more = np.empty(2 * depth, np.int64)
                        more[:depth] = stack
                        stack = more
                    stack[depth] = last
                    depth += 1
                if split < 0 and first < last:
                    split = _exception(points, first, last, keys, splits)
            if first < last:
                if split > 0:
                    starts[total], ends[total] = first, first + split
                    total += 1
                    first += split
                elif split < 0 and not plain and not _address(points, marks, first, last):
                    at = first
                    while at < last:
                        length = _infix(points, marks, at, first, last)
                        if length:
                            if at > first:
                                starts[total], ends[total] = first, at
                                total += 1
                            starts[total], ends[total] = at, at + length
                            total += 1
                            at += length
                            first = at
                        else:
                            at += 1
                if first < last:
                    starts[total], ends[total] = first, last
                    total += 1
            for which in range(depth - 1, -1, -1):
                starts[total] = stack[which]
                ends[total] = stack[which - 1] if which else end
                total += 1
            if total - before > 1:
                total = _joined(points, starts, ends, before, total, keys, splits)
        token_offsets[document + 1] = total
