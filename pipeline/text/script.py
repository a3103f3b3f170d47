"""Scripts of Unicode: which one a text is written in, and what that means for words and sentences."""

import unicodedata
from functools import lru_cache

import numpy as np

from pipeline.text.kernels import language

RANGES: dict[str, tuple[tuple[int, int], ...]] = {
    "latin": ((0x41, 0x24F), (0x250, 0x2AF), (0x1D00, 0x1DBF), (0x1E00, 0x1EFF), (0x2C60, 0x2C7F), (0xA720, 0xA7FF)),
    "greek": ((0x370, 0x3FF), (0x1F00, 0x1FFF)),
    "cyrillic": ((0x400, 0x52F), (0x1C80, 0x1C8F), (0x2DE0, 0x2DFF), (0xA640, 0xA69F)),
    "armenian": ((0x530, 0x58F),),
    "hebrew": ((0x590, 0x5FF), (0xFB1D, 0xFB4F)),
    "arabic": ((0x600, 0x6FF), (0x750, 0x77F), (0x870, 0x8FF), (0xFB50, 0xFDFF), (0xFE70, 0xFEFC)),
    "devanagari": ((0x900, 0x97F), (0xA8E0, 0xA8FF)),
    "bengali": ((0x980, 0x9FF),),
    "gurmukhi": ((0xA00, 0xA7F),),
    "gujarati": ((0xA80, 0xAFF),),
    "oriya": ((0xB00, 0xB7F),),
    "tamil": ((0xB80, 0xBFF),),
    "telugu": ((0xC00, 0xC7F),),
    "kannada": ((0xC80, 0xCFF),),
    "malayalam": ((0xD00, 0xD7F),),
    "sinhala": ((0xD80, 0xDFF),),
    "thai": ((0xE00, 0xE7F),),
    "lao": ((0xE80, 0xEFF),),
    "tibetan": ((0xF00, 0xFFF),),
    "myanmar": ((0x1000, 0x109F), (0xA9E0, 0xA9FF), (0xAA60, 0xAA7F)),
    "georgian": ((0x10A0, 0x10FF), (0x1C90, 0x1CBF), (0x2D00, 0x2D2F)),
    "hangul": ((0x1100, 0x11FF), (0x3130, 0x318F), (0xA960, 0xA97F), (0xAC00, 0xD7FF), (0xFFA0, 0xFFDC)),
    "ethiopic": ((0x1200, 0x139F), (0x2D80, 0x2DDF), (0xAB00, 0xAB2F)),
    "khmer": ((0x1780, 0x17FF),),
    "mongolian": ((0x1800, 0x18AF),),
    "kana": ((0x3041, 0x30FF), (0x31F0, 0x31FF), (0xFF66, 0xFF9F), (0x1B000, 0x1B16F)),
    "han": (
        (0x2E80, 0x2FDF),
        (0x3005, 0x3007),
        (0x3400, 0x4DBF),
        (0x4E00, 0x9FFF),
        (0xF900, 0xFAFF),
        (0x20000, 0x323AF),
    ),
}
"""Script -> inclusive ranges of code points (Unicode blocks); only letters and marks inside them count."""

SCRIPTS: tuple[str, ...] = (*RANGES, "other")
"""Every name that `dominant` gives; "other" holds all further letters, and texts without any letter."""

UNSPACED: tuple[str, ...] = ("han", "kana", "thai", "lao", "khmer", "myanmar")
"""Written without spaces between words: here the unit of counting is the letter."""

TERMINALS = ".?!\"'”’»」』。！？｡؟۔।॥።։។။།༎"
"""Ends of sentences in all scripts, and the quotes that may stand after them."""

UNTERMINATED: tuple[str, ...] = ("thai", "lao")
"""Sentences carry no end mark here: rules about terminal punctuation do not apply."""

# Bit flags of the code-point table.
SPACE, WORD, ALPHA, SOLO, MARK = 1, 2, 4, 8, 16
"""SPACE: str.isspace. WORD: letter, mark or number. ALPHA: letter. SOLO: letter of an unspaced script. MARK: mark."""

_CODE_POINTS = 0x110000


@lru_cache(maxsize=1)
def flags() -> np.ndarray:
    """Flag byte of every code point, uint8 [0x110000]. Built once per process (0.4 s)."""
    table = np.zeros(_CODE_POINTS, np.uint8)
    # Planes 4 to 13 are unassigned, 14 holds tags and variation selectors, 15 and 16 are private: none has letters.
    for point in range(0x40000):
        kind = unicodedata.category(chr(point))[0]
        if kind == "L":
            table[point] = WORD | ALPHA
        elif kind == "M":
            table[point] = WORD | MARK
        elif kind == "N":
            table[point] = WORD
        if chr(point).isspace():
            table[point] = SPACE
    for name in UNSPACED:
        for first, last in RANGES[name]:
            block = table[first : last + 1]
            block[(block & ALPHA) != 0] |= SOLO
    return table


@lru_cache(maxsize=1)
def _script_of() -> np.ndarray:
    """Index into SCRIPTS of every letter and mark, len(SCRIPTS) for all that is neither; uint8 [0x110000]."""
    table = np.full(_CODE_POINTS, len(SCRIPTS), np.uint8)
    letters = (flags() & (ALPHA | MARK)) != 0
    table[letters] = SCRIPTS.index("other")
    # Combining diacritics belong to whatever they stand on: they say nothing about the script.
    table[0x300:0x370] = len(SCRIPTS)
    for index, ranges in enumerate(RANGES.values()):
        for first, last in ranges:
            block = slice(first, last + 1)
            table[block][letters[block]] = index
    return table


def letters_of(data: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Index of each text's script in SCRIPTS (see `dominant`) and its code points, both int64 [texts].

    Text t is data[offsets[t]:offsets[t + 1]], sound UTF-8.
    """
    texts = len(offsets) - 1
    counts, lengths = np.empty((texts, len(SCRIPTS) + 1), np.int64), np.empty(texts, np.int64)
    language.scripts(data, offsets, _script_of(), counts, lengths)
    counts = counts[:, : len(SCRIPTS)]
    return np.where(counts.any(axis=1), counts.argmax(axis=1), len(SCRIPTS) - 1), lengths


def dominant(text: str) -> str:
    """The script with the most letters (and marks); the first of SCRIPTS among equals, "other" without letters."""
    data = np.frombuffer(text.encode(), np.uint8)
    return SCRIPTS[int(letters_of(data, np.array([0, len(data)]))[0][0])]
