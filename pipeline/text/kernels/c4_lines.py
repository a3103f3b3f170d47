"""The counts of `pipeline.text.c4.apply` on decoded text, for several least numbers of words at once."""

import numpy as np
from numba import njit

from pipeline.text.classes import (
    ALNUM,
    BOUNDARY,
    CLOSING,
    DIGIT,
    END,
    NARROW,
    SPACE,
    UNSPACED_BLOCK,
    WIDE,
)

LONG_WORD, UNTERMINATED, SHORT, JAVASCRIPT, POLICY, LEFT, LOREM_IPSUM, CURLY_BRACKETS, SENTENCES = range(9)
COUNTS = 9
"""Columns of `counts`, as `pipeline.text.c4.Lines` defines them."""


def _text(text: str) -> np.ndarray:
    return np.array([ord(character) for character in text], np.uint32)


_EDIT, _CITATION = _text("[edit]"), _text("[citation needed]")
_JAVASCRIPT, _LOREM = _text("javascript"), _text("lorem ipsum")
_TERMS, _PRIVACY, _COOKIE_POLICY = _text("terms of use"), _text("privacy policy"), _text("cookie policy")
_USES, _USE_OF, _USE = _text("uses cookies"), _text("use of cookies"), _text("use cookies")
_BRACKET, _PHRASES, _VISIBLE = 1, 2, 4
_KELVIN = 0x212A  # The one letter outside ASCII that lowers to a letter of the phrases: k.


def _triggers() -> np.ndarray:
    """uint8 [128]: what of ASCII makes a line worth a second look. Each phrase is looked for at a letter of it."""
    table = np.zeros(128, np.uint8)
    for character in "jJvVmMfFkK{":
        table[ord(character)] = _PHRASES
    table[ord("[")] = _BRACKET
    return table


_TRIGGERS = _triggers()


@njit(nogil=True, cache=True, inline="always")
def _is(points, at, end, text, lower):  # type: ignore[no-untyped-def]
    """Whether `text` stands at this place, ignoring case if `lower`."""
    if at < 0 or at + len(text) > end:
        return False
    for index in range(len(text)):
        point = points[at + index]
        if lower:
            if 65 <= point <= 90:
                point += 32
            elif point == _KELVIN:
                point = np.uint32(107)
        if point != text[index]:
            return False
    return True


@njit(nogil=True, cache=True)
def _uncited(points, kinds, first, end, out_points, out_kinds):  # type: ignore[no-untyped-def]
    """Copies the line without citation marks; how many code points are left."""
    left, index = 0, first
    while index < end:
        if points[index] == 91:
            close = index + 1
            while close < end and kinds[close] & DIGIT:
                close += 1
            if close < end and points[close] == 93:
                index = close + 1
                continue
            if _is(points, index, end, _EDIT, False):
                index += len(_EDIT)
                continue
            if _is(points, index, end, _CITATION, False):
                index += len(_CITATION)
                continue
        out_points[left] = points[index]
        out_kinds[left] = kinds[index]
        left += 1
        index += 1
    return left


@njit(nogil=True, cache=True)
def _scan(points, kinds, first, end, triggers):  # type: ignore[no-untyped-def]
    """Words as `pipeline.text.c4.words`; which of _BRACKET, _VISIBLE and _PHRASES occur; characters that may end a
    sentence. One pass: most lines need no more."""
    chunks = units = boundaries = 0
    marks = np.uint8(0)
    every = np.uint16(0)
    before = np.uint16(SPACE)
    for index in range(first, end):
        kind = kinds[index]
        point = points[index]
        if point < 128:
            marks |= triggers[point]
        elif point == _KELVIN:
            marks |= np.uint8(_PHRASES)
        every |= kind
        chunks += (before & SPACE) & ~kind & 1
        boundaries += (kind & BOUNDARY) != 0
        before = kind
    marks |= np.uint8(_VISIBLE) * (chunks > 0)
    if not every & UNSPACED_BLOCK:
        return chunks, marks, boundaries
    in_unit = False
    for index in range(first, end):
        kind = kinds[index]
        letter = (kind & ALNUM) != 0
        if kind & UNSPACED_BLOCK:
            units += letter
            in_unit = False
        else:
            units += letter and not in_unit
            in_unit = letter
    return units, marks, boundaries


@njit(nogil=True, cache=True)
def _abbreviates(points, kinds, first, at):  # type: ignore[no-untyped-def]
    """Whether the full stop at this place belongs to an initial or a title."""
    start = at
    while start > first and kinds[start - 1] & ALNUM and at - start < 4:
        start -= 1
    length = at - start
    a = points[start]
    if length == 1:
        return 65 <= a <= 90
    if length == 2:
        b = points[start + 1]
        return (a == 77 and (b == 114 or b == 115)) or (a == 68 and b == 114) or (a == 83 and b == 116)
    return length == 3 and a == 77 and points[start + 1] == 114 and points[start + 2] == 115


@njit(nogil=True, cache=True)
def _sentences(points, kinds, first, end):  # type: ignore[no-untyped-def]
    """As `pipeline.text.c4.sentences`, of a line that is not blank."""
    while kinds[first] & SPACE:
        first += 1
    while kinds[end - 1] & SPACE:
        end -= 1
    found = 1
    for index in range(first, end - 1):
        kind = kinds[index]
        if not kind & BOUNDARY:
            continue
        after = index + 1
        while after < end and kinds[after] & CLOSING:
            after += 1
        if after < end and kinds[after] & SPACE:
            following = after
            while kinds[following] & SPACE:
                following += 1
            if not 97 <= points[following] <= 122 and not (
                points[index] == 46 and _abbreviates(points, kinds, first, index)
            ):
                found += 1
                continue
        found += ((kind & WIDE) != 0 and not kinds[index + 1] & SPACE) or (
            (kind & NARROW) != 0 and after < end and (kinds[after] & UNSPACED_BLOCK) != 0
        )
    return found


@njit(nogil=True, cache=True)
def c4_lines(  # type: ignore[no-untyped-def]
    points, kinds, firsts, ends, line_offsets, terminal, max_word_length, min_words, javascript, policy, counts
):
    """counts: int64 [documents, len(min_words), COUNTS]. `terminal`: bool [documents], whether lines must have an end
    mark; max_word_length: a number, infinite to switch it off; min_words: float64; javascript, policy: bool.
    """
    variants = len(min_words)
    triggers = _TRIGGERS
    longest = 1
    for line in range(line_offsets[-1]):
        longest = max(longest, ends[line] - firsts[line])
    free_points = np.empty(longest, np.uint32)
    free_kinds = np.empty(longest, np.uint16)
    passes = np.empty(variants, np.bool_)
    for document in range(len(line_offsets) - 1):
        counts[document] = 0
        for line in range(line_offsets[document], line_offsets[document + 1]):
            first, end = firsts[line], ends[line]
            cited = False
            if end - first > max_word_length:
                run = most = 0
                for index in range(first, end):
                    run = 0 if kinds[index] & SPACE else run + 1
                    most = max(most, run)
                if most > max_word_length:
                    counts[document, :, LONG_WORD] += 1
                    continue
            last = points[end - 1]
            # Only a line that ends with a bracket has another end without its citation marks.
            if (
                terminal[document]
                and last != 93
                and (
                    not kinds[end - 1] & END
                    or (last == 46 and end - first > 2 and points[end - 2] == 46 and points[end - 3] == 46)
                )
            ):
                counts[document, :, UNTERMINATED] += 1
                continue
            words, marks, boundaries = _scan(points, kinds, first, end, triggers)
            cited = marks & _BRACKET != 0
            here_points, here_kinds = points, kinds
            if cited:
                end = _uncited(points, kinds, first, end, free_points, free_kinds)
                first = 0
                here_points, here_kinds = free_points, free_kinds
            if terminal[document] and (
                end == first
                or not here_kinds[end - 1] & END
                or (
                    end - first > 2
                    and here_points[end - 1] == 46
                    and here_points[end - 2] == 46
                    and here_points[end - 3] == 46
                )
            ):
                counts[document, :, UNTERMINATED] += 1
                continue
            if cited:
                words, marks, boundaries = _scan(here_points, here_kinds, first, end, triggers)
            blank = marks & _VISIBLE == 0
            some = False
            for variant in range(variants):
                passes[variant] = not blank and words >= min_words[variant]
                some = some or passes[variant]
                counts[document, variant, SHORT] += not passes[variant]
            if not some:
                continue
            lorem = scripted = polite = False
            curly = 0
            if marks & _PHRASES:
                for index in range(first, end):
                    point = here_points[index]
                    if point == _KELVIN:
                        point = np.uint32(107)
                    if point >= 128 or not triggers[point] & _PHRASES:
                        continue
                    point |= 32
                    if point == 123:
                        curly += 1
                    elif point == 106:
                        scripted = scripted or _is(here_points, index, end, _JAVASCRIPT, True)
                    elif point == 118:
                        polite = polite or (index - 3 >= first and _is(here_points, index - 3, end, _PRIVACY, True))
                    elif point == 109:
                        lorem = lorem or (index - 4 >= first and _is(here_points, index - 4, end, _LOREM, True))
                    elif point == 102:
                        polite = polite or (index - 7 >= first and _is(here_points, index - 7, end, _TERMS, True))
                    elif point == 107:
                        polite = (
                            polite
                            or (index - 3 >= first and _is(here_points, index - 3, end, _COOKIE_POLICY, True))
                            or (index - 8 >= first and _is(here_points, index - 8, end, _USES, True))
                            or (index - 10 >= first and _is(here_points, index - 10, end, _USE_OF, True))
                            or (index - 7 >= first and _is(here_points, index - 7, end, _USE, True))
                        )
            sentences = 0
            if not (javascript and scripted) and not (policy and polite):
                inside = boundaries > ((here_kinds[end - 1] & BOUNDARY) != 0)
                sentences = _sentences(here_points, here_kinds, first, end) if inside else 1
            for variant in range(variants):
                if not passes[variant]:
                    continue
                row = counts[document, variant]
                row[LOREM_IPSUM] += lorem
                if javascript and scripted:
                    row[JAVASCRIPT] += 1
                    continue
                row[CURLY_BRACKETS] += curly
                if policy and polite:
                    row[POLICY] += 1
                    continue
                row[LEFT] += 1
                row[SENTENCES] += sentences
