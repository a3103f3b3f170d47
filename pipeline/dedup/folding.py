"""Unicode folding for comparison, as a function and as tables for the kernel of `normalize`.

The tables come from `unicodedata`, so the Unicode version of the interpreter is part of the result.
"""

import re
import unicodedata
from functools import cache

import numpy as np

CODE_POINTS = 0x110000

_ASSIGNED = np.r_[0:0xD800, 0xE000:0x40000, 0xE0000:0xE1000]
"""Planes 0 to 3, start of 14. The rest is private or empty, folds to itself; without it 0.3 s in place of 1.4 s."""

BREAK = 0
"""In `fold_table`: the character ends a word."""
CONTEXT = -1
"""In `fold_table`: one character alone does not decide; `fold` must see the whole run."""


@cache
def _categories() -> np.ndarray:
    categories = np.full(CODE_POINTS, "Cn")
    categories[_ASSIGNED] = [unicodedata.category(chr(code)) for code in _ASSIGNED]
    categories[0xD800:0xE000] = "Cs"
    return categories


@cache
def break_table() -> np.ndarray:
    """bool [0x110000]: punctuation, separators, controls and lone surrogates separate words."""
    categories = _categories()
    return np.isin(categories.astype("<U1"), ["P", "Z"]) | np.isin(categories, ["Cc", "Cs"])


@cache
def break_translation() -> dict[int, str]:
    """`break_table` for `str.translate`: breaks become spaces."""
    return {int(code): " " for code in np.flatnonzero(break_table())}


@cache
def _format_characters() -> re.Pattern[str]:
    codes = np.flatnonzero(_categories() == "Cf")
    return re.compile("[" + "".join(re.escape(chr(code)) for code in codes) + "]+")


def fold(text: str) -> str:
    """Removes format characters, then folds case and compatibility forms.

    NFKC(fold(NFKC(fold(NFD(text))))), as caseless compatibility matching of the Unicode standard has it (3.13, D146):
    folding may undo a normal form, and one round is not idempotent.
    """
    text = unicodedata.normalize("NFD", _format_characters().sub("", text))
    text = unicodedata.normalize("NFKC", text.casefold())
    return unicodedata.normalize("NFKC", text.casefold())


def _first(strings: list[str]) -> np.ndarray:
    return np.array([ord(string[0]) if string else 0 for string in strings])


@cache
def fold_table() -> np.ndarray:
    """int32 [0x110000]: what becomes of a character whose neighbours cannot matter: another code point, `BREAK`, or
    `CONTEXT` where neighbours may matter or the result is longer than the character.

    Neighbours matter to characters that combine with what stands before them: those of a combining class, and those
    that are not the first of a canonical decomposition (Hangul vowels and finals among them).
    """
    # Line feeds between them keep all characters apart, so that one call folds the whole code space.
    codes = _ASSIGNED[_ASSIGNED != 0x0A]
    lined = "\n".join(map(chr, codes))
    canonical = unicodedata.normalize("NFD", lined).split("\n")
    folded = fold(lined).split("\n")

    joins_before = np.zeros(CODE_POINTS, np.bool_)
    joins_before[[ord(char) for string in canonical for char in string[1:]]] = True
    marks = np.flatnonzero(_categories().astype("<U1") == "M")
    joins_before[[code for code in marks if unicodedata.combining(chr(code))]] = True

    first_in = _first(unicodedata.normalize("NFKD", lined).split("\n"))
    first_out = _first(unicodedata.normalize("NFD", "\n".join(folded)).split("\n"))
    length = np.array([len(string) for string in folded])
    out = _first(folded)
    alone = (length > 0) & ~joins_before[first_in] & ~joins_before[first_out]

    table = np.arange(CODE_POINTS, dtype=np.int32)
    table[_ASSIGNED] = CONTEXT
    fits = (length == 1) & (_utf8_bytes(out) <= _utf8_bytes(codes))
    table[codes[alone & fits]] = out[alone & fits]
    breaks = break_table()
    becomes_break = np.array([bool(breaks[code]) for code in out]) & alone
    several = np.flatnonzero(becomes_break & (length > 1))
    becomes_break[several] = [all(breaks[ord(char)] for char in folded[row]) for row in several]
    table[codes[becomes_break]] = BREAK
    table[0x0A] = BREAK
    return table


@cache
def ascii_fold_table() -> np.ndarray:
    """uint8 [128]: the beginning of `fold_table` with a space for `BREAK`; no ASCII character needs its neighbours."""
    table = fold_table()[:128]
    assert (table != CONTEXT).all()
    return np.where(table == BREAK, 32, table).astype(np.uint8)


def _utf8_bytes(codes: np.ndarray) -> np.ndarray:
    return 1 + (codes >= 0x80) + (codes >= 0x800) + (codes >= 0x10000).astype(np.int64)
