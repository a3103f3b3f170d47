"""Class bits of every code point: all that the kernels ask of a character, in one table made from `unicodedata`."""

import unicodedata
from functools import lru_cache

import numpy as np

from pipeline.text import c4
from pipeline.text.script import RANGES, SCRIPTS, TERMINALS, UNSPACED, flags

# The first five are those of pipeline.text.script.
SPACE, WORD, ALPHA, SOLO, MARK = 1, 2, 4, 8, 16
OUTER = 32
"""Stripped from both ends of a chunk before it is compared with the stop words."""
DIGIT = 64
"""`\\d` of `re`: a decimal digit of any script."""
ALNUM = 128
"""`\\w` of `re`: str.isalnum, or an underscore."""
UNSPACED_BLOCK = 256
"""In the blocks of unspaced scripts, letter or not."""
END = 512
"""May end a line of C4."""
BOUNDARY = 1024
"""May end a sentence."""
CLOSING = 2048
"""May stand between the end of a sentence and the next."""
WIDE = 4096
"""Ends a sentence without a space after it."""
NARROW = 8192
"""Ends a sentence without a space where a letter of an unspaced script follows."""
TERMINAL = 16384
"""Ends a sentence in some script, or quotes one."""
SMALL = 32768
"""A letter that is not upper-case (Unicode's Lu): a word of ALPHA without SMALL is in upper case."""

CODE_POINTS = 0x40000
"""Entries of the table. The planes above are unassigned, tags or private: no class."""

SCRIPT_GROUPS = len(SCRIPTS)
"""Groups 4 s to 4 s + 3 of script s: upper-case letters, other letters, marks, marks that tell no script."""
GROUP_DECIMAL, GROUP_NUMBER, GROUP_SPACE, GROUP_REST = range(4 * SCRIPT_GROUPS, 4 * SCRIPT_GROUPS + 4)
GROUPS = 4 * SCRIPT_GROUPS + 4
"""Each code point is in one: its script and what it is, else decimal digit, other number, white space or the rest."""

OUTER_PUNCTUATION = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~«»“”‘’–—…"


def _marks(characters: str) -> list[int]:
    return [ord(character) for character in characters]


@lru_cache(maxsize=1)
def classes() -> np.ndarray:
    """uint16 [CODE_POINTS]. Built once per process."""
    table = flags()[:CODE_POINTS].astype(np.uint16)
    characters = [chr(point) for point in range(CODE_POINTS)]
    table[[character.isdecimal() for character in characters]] |= DIGIT
    table[[unicodedata.category(character) in ("Ll", "Lt", "Lm", "Lo") for character in characters]] |= SMALL
    table[[character.isalnum() or character == "_" for character in characters]] |= ALNUM
    for name in UNSPACED:
        for first, last in RANGES[name]:
            table[first : last + 1] |= UNSPACED_BLOCK
    for bit, marks in (
        (OUTER, OUTER_PUNCTUATION),
        (END, "".join(c4.END_MARKS)),
        (BOUNDARY, c4.BOUNDARY_MARKS),
        (CLOSING, c4.CLOSING_MARKS),
        (WIDE, c4.WIDE_MARKS),
        (NARROW, c4.NARROW_MARKS),
        (TERMINAL, TERMINALS),
    ):
        table[_marks(marks)] |= bit
    table.setflags(write=False)
    return table


@lru_cache(maxsize=1)
def groups() -> np.ndarray:
    """uint8 [CODE_POINTS]: the group of each code point. Built once per process."""
    table = np.full(CODE_POINTS, GROUP_REST, np.uint8)
    kinds = classes()
    script = np.full(CODE_POINTS, SCRIPTS.index("other"), np.uint8)
    for index, ranges in enumerate(RANGES.values()):
        for first, last in ranges:
            script[first : last + 1] = index
    letter, mark = (kinds & ALPHA) != 0, (kinds & MARK) != 0
    table[letter] = 4 * script[letter] + ((kinds[letter] & SMALL) != 0)
    table[mark] = 4 * script[mark] + 2
    # Combining diacritics belong to whatever they stand on.
    table[0x300:0x370] = 4 * SCRIPTS.index("other") + 3
    number = (kinds & (WORD | ALPHA | MARK)) == WORD
    table[number] = np.where(kinds[number] & DIGIT, GROUP_DECIMAL, GROUP_NUMBER)
    table[(kinds & SPACE) != 0] = GROUP_SPACE
    table.setflags(write=False)
    return table
