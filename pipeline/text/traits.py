"""What repair asks of a character: ftfy's maps, normal form, invisible characters, white space, and its kind in the
automaton of `pipeline.text.badness`. One table over the code points, made from ftfy and `unicodedata`."""

import unicodedata
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from ftfy import chardata, fixes

from pipeline.text.badness import Automaton, automaton, kinds_of, sequences

MAPPED = 1
"""ftfy puts another character or a line break in its place: ligatures, widths, curly quotes, U+2028, U+2029."""
REMOVED = 2
"""A control character that ftfy removes."""
HARD = 4
"""C1 controls, which ftfy takes for Windows-1252, and what grows when it is mapped."""
AMPERSAND, LESS, RETURN, BRACKET, FEED = 8, 16, 32, 64, 128
COMPOSES = 256
"""May join with a character before it (NFC_Quick_Check=Maybe)."""
NOT_NORMAL = 512
"""Never in NFC (NFC_Quick_Check=No)."""
COMBINING = 1024
"""Has a combining class above 0: its place among other marks is fixed."""
INVISIBLE = 2048
"""Repair removes it after ftfy."""
SPACE = 4096
"""str.isspace."""
_WORD = 8192
"""`\\w` of `re`."""

CODE_POINTS = 0x40000
"""Entries of the tables. The planes above hold tags, variation selectors and private use: no trait, the kind of the
last entry, which is no character either."""

_JAMO = (*range(0x1161, 0x1176), *range(0x11A8, 0x11C3))


@dataclass(frozen=True)
class Traits:
    kinds: np.ndarray
    """uint16 [CODE_POINTS]."""
    traits: np.ndarray
    """uint16 [kinds]: the bits above."""
    machine: Automaton
    classes: np.ndarray
    """uint8 [CODE_POINTS]: canonical combining class."""
    pairs: np.ndarray
    """int64, sorted: (first << 21) | second of characters that NFC joins or changes; Hangul syllables are left out."""
    places: np.ndarray
    """uint16 [65536]: row of `substitutes` of a character with MAPPED."""
    substitutes: np.ndarray
    """uint8 [rows, 4]: length, then UTF-8."""


def _pairs(characters: list[str]) -> np.ndarray:
    pairs, whole = [], []
    for character in characters:
        parts = unicodedata.decomposition(character).split()
        # One part is a singleton, a tag in angle brackets a compatibility mapping: neither is ever composed.
        if len(parts) == 2 and not parts[0].startswith("<"):
            first, second = (int(part, 16) for part in parts)
            if unicodedata.normalize("NFC", chr(first) + chr(second)) == character:
                pairs.append((first, second))
                whole.append(character)
    # È and a dot below are Ẹ and a grave accent: a mark may pass those that a character is made of.
    for character in whole:
        for second in {second for _, second in pairs}:
            if not unicodedata.is_normalized("NFC", character + chr(second)):
                pairs.append((ord(character), second))
    return np.array(sorted({first << 21 | second for first, second in pairs}), np.int64)


def _mapped(point: int) -> str:
    """What ftfy's fixers from ligatures to line breaks make of one character, in their order."""
    text = fixes.fix_latin_ligatures(chr(point))
    return fixes.fix_line_breaks(fixes.uncurl_quotes(fixes.fix_character_width(text)))


@lru_cache(maxsize=1)
def traits() -> Traits:
    """Built once per process, in about 0.3 s."""
    characters = [chr(point) for point in range(CODE_POINTS)]
    table = np.zeros(CODE_POINTS, np.int64)
    table[[character.isspace() for character in characters]] |= SPACE
    table[[character.isalnum() or character == "_" for character in characters]] |= _WORD
    classes = np.array([unicodedata.combining(character) for character in characters], np.uint8)
    table[classes > 0] |= COMBINING
    pairs = _pairs(characters)
    table[[int(pair) & 0x1FFFFF for pair in pairs]] |= COMPOSES
    table[list(_JAMO)] |= COMPOSES
    for point, character in enumerate(characters):
        # Lone surrogates are not in UTF-8.
        if not unicodedata.is_normalized("NFC", character) and unicodedata.normalize("NFC", character) != character:
            table[point] |= NOT_NORMAL
    table[list(chardata.CONTROL_CHARS)] |= REMOVED
    table[[*range(0x09), 0x0B, *range(0x0E, 0x20), *range(0x7F, 0xA0)]] |= INVISIBLE
    table[[0xAD, 0x2060, 0xFEFF, *range(0xFDD0, 0xFDF0), 0xFFFE, 0xFFFF]] |= INVISIBLE
    table[0x80:0xA0] |= HARD
    for mark, bit in (("&", AMPERSAND), ("<", LESS), ("\r", RETURN), ("[", BRACKET), ("\f", FEED)):
        table[ord(mark)] |= bit
    places, substitutes = np.zeros(1 << 16, np.uint16), [bytes(4)]
    quotes = [0x2BC, *range(0x2018, 0x2020), 0x2028, 0x2029]
    for point in sorted({*chardata.LIGATURES, *chardata.WIDTH_MAP, *quotes}):
        wanted = _mapped(point).encode()
        if len(wanted) > len(chr(point).encode()):
            table[point] |= HARD
            continue
        table[point] |= MAPPED
        places[point] = len(substitutes)
        substitutes.append(bytes([len(wanted)]) + wanted.ljust(3, b"\0"))
    alternatives = sequences()
    kinds, of_kind, examples = kinds_of(table, alternatives)
    return Traits(
        kinds,
        of_kind.astype(np.uint16),
        automaton(examples, alternatives),
        classes,
        pairs,
        places,
        np.frombuffer(b"".join(substitutes), np.uint8).reshape(-1, 4),
    )
