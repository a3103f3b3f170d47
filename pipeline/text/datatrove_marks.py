"""Class bits of every code point as datatrove and spaCy's English tokenizer see it, for the kernels `peer_*`.

Character sets: datatrove 0.10, utils/text.py (Apache License 2.0), and spaCy 3.8, lang/char_classes.py (MIT License).
"""

import unicodedata
from functools import lru_cache

import numpy as np

CODE_POINTS = 0x40000
"""Entries of the table. The planes above are unassigned, tags or private: no class."""

SPACE, ALPHA, LOWER, UPPER, DIGIT = 1, 2, 4, 8, 16
"""str.isspace; str.isalpha; letters but capitals; letters but small ones; 0 to 9."""
SYMBOL = 32
"""In datatrove's PUNCTUATION_SET: a token of nothing else is no word to Gopher's rules."""
TERMINAL = 64
"""In datatrove's TERMINAL_PUNCTUATION."""
BREAK = 128
"""Ends a line of str.splitlines."""
PREFIX, SUFFIX = 256, 512
"""A token of its own at the start, at the end of a chunk (spaCy)."""
QUOTE, CURRENCY, ICON = 1024, 2048, 4096
BEFORE_DOT = 8192
"""After it a full stop at the end of a chunk is a token of its own (spaCy)."""

# Code points and runs of them, hexadecimal.
_TERMINAL = (
    "21 2e 3f 589 61d-61f 6d4 700-702 7f9 837 839 83d-83e 964-965 104a-104b 1362 1367-1368 166e 1735-1736 17d4-17d6 "
    "17d9-17da 1803 1809 1944-1945 1aa8-1aab 1b5a-1b5b 1b5e-1b5f 1b7d-1b7e 1c3b-1c3c 1c7e-1c7f 203c-203d 2047-2049 "
    "2e2e 2e3c 2e53-2e54 3002 a4ff a60e-a60f a6f3 a6f7 a876-a877 a8ce-a8cf a92f a9c8-a9c9 aa5d-aa5f aaf0-aaf1 abeb "
    "fe52 fe56-fe57 ff01 ff0e ff1f ff61 10a56-10a57 10f55-10f59 10f86-10f89 11047-11048 110be-110c1 11141-11143 "
    "111c5-111c6 111cd 111de-111df 11238-11239 1123b-1123c 112a9 1144b-1144c 115c2-115c3 115c9-115d7 11641-11642 "
    "1173c-1173e 11944 11946 11a42-11a43 11a9b-11a9c 11c41-11c42 11ef7-11ef8 11f43-11f44 16a6e-16a6f 16af5 "
    "16b37-16b38 16b44 16e98 1bc9f 1da88"
)
_PUNCTUATION = (
    "0-8 b-1f 21-2f 3a-40 5b-60 7b-9f ab b4 bb 2013-2014 2019 201c-201e 2026 2236 2501 25ba 3001-3002 3008-300d "
    "3010-3011 ff01 ff05 ff08-ff09 ff0c ff0e ff11 ff1a-ff1b ff1f ff5e"
)
_BREAKS = "a-d 1c-1e 85 2028-2029"
_SPACY_PUNCTUATION = "…,:;!?¿؟¡()[]{}<>_#*&。？！，、；：～·।،۔؛٪"
_SPACY_QUOTES = "'\"”“`‘´’‚,„»«「」『』（）〔〕【】《》〈〉〈〉⟦⟧"
_SPACY_CURRENCY = "$£€¥฿₽﷼₴₠₡₢₣₤₥₦₧₨₩₪₫₭₮₯₰₱₲₳₵₶₷₸₹₺₻₼₾₿"


def _points(runs: str) -> list[int]:
    ends = [[int(end, 16) for end in run.split("-")] for run in runs.split()]
    return [point for end in ends for point in range(end[0], end[-1] + 1)]


def _marks(characters: str) -> list[int]:
    return [ord(character) for character in characters]


TERMINAL_PUNCTUATION = tuple(map(chr, _points(_TERMINAL)))
PUNCTUATION = frozenset(map(chr, _points(_PUNCTUATION))) | frozenset(TERMINAL_PUNCTUATION)


@lru_cache(maxsize=1)
def marks() -> np.ndarray:
    """uint16 [CODE_POINTS]. Built once per process (0.3 s)."""
    table = np.zeros(CODE_POINTS, np.uint16)
    for point in range(CODE_POINTS):
        character = chr(point)
        kind = unicodedata.category(character)
        if kind[0] == "L":
            table[point] = ALPHA | (0 if kind in ("Lu", "Lt") else LOWER) | (0 if kind == "Ll" else UPPER)
        elif kind == "So":
            table[point] = ICON
        if character.isspace():
            table[point] |= SPACE
    table[_marks("0123456789")] |= DIGIT
    table[[ord(character) for character in PUNCTUATION]] |= SYMBOL
    table[_points(_TERMINAL)] |= TERMINAL
    table[_points(_BREAKS)] |= BREAK
    table[_marks(_SPACY_QUOTES)] |= QUOTE
    table[_marks(_SPACY_CURRENCY)] |= CURRENCY
    affixes = (table & ICON) != 0
    affixes[_marks(_SPACY_PUNCTUATION + _SPACY_QUOTES + "—–")] = True
    table[affixes] |= PREFIX | SUFFIX
    table[_marks("§%=" + _SPACY_CURRENCY)] |= PREFIX
    table[(table & (LOWER | DIGIT | QUOTE)) != 0] |= BEFORE_DOT
    table[_marks(_SPACY_PUNCTUATION + "%²-+|")] |= BEFORE_DOT
    table.setflags(write=False)
    return table
