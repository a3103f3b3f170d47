"""Class bits of every code point: all that the kernels ask of a character, in one table made from `unicodedata`."""

from functools import lru_cache

import numpy as np

from pipeline.text import c4
from pipeline.text.script import RANGES, TERMINALS, UNSPACED, flags

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

CODE_POINTS = 0x40000
"""Entries of the table. The planes above are unassigned, tags or private: no class."""

OUTER_PUNCTUATION = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~«»“”‘’–—…"


def _marks(characters: str) -> list[int]:
    return [ord(character) for character in characters]


@lru_cache(maxsize=1)
def classes() -> np.ndarray:
    """uint16 [CODE_POINTS]. Built once per process."""
    table = flags()[:CODE_POINTS].astype(np.uint16)
    characters = [chr(point) for point in range(CODE_POINTS)]
    table[[character.isdecimal() for character in characters]] |= DIGIT
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
