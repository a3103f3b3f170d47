"""Strings of letters that are no words: numerals, names of markup, and what character recognition made of print."""

import math
import re
import unicodedata
from collections.abc import Iterable
from typing import Final

import numpy as np

from pipeline.words.tokenizer import OWN, character_kind

_ROMAN: Final = re.compile(r"(?=.)m{0,4}(cm|cd|d?c{0,4})(xc|xl|l?x{0,4})(ix|iv|v?i{0,4})")
_MARKUP: Final = """
href src img div tbody thead tfoot colspan rowspan cellpadding cellspacing valign bgcolor hr br dl dt dd ul ol
tr td nbsp mdash ndash hellip rsquo lsquo ldquo rdquo laquo raquo quot ensp emsp thinsp zwnj zwj shy eacute
egrave ecirc agrave aacute acirc auml ouml uuml iuml ccedil ntilde oacute ocirc szlig aelig oslash aring html
xhtml xml xmlns css javascript onclick onload onmouseover iframe textarea noscript doctype utf utf-8 http https
ftp www url mailto px thumb upright infobox navbox reflist wikitable nowiki includeonly noinclude text-align
text-decoration font-size font-weight font-family line-height margin-left margin-right padding-left padding-
right border-color background-color white-space vertical-align nowrap
"""
"""Elements, attributes, entities, styles and wiki keywords that are no English words."""
_MARKUP_NAMES: Final = frozenset(_MARKUP.split())

LEAST_LETTERS: Final = 5
"""Code points. Shorter words are abbreviations and names too often for their letters to tell anything."""
LEAST_TAUGHT: Final = 1000
"""Frequent words of a script that a model needs."""


def is_numeral(word: str) -> bool:
    """A Roman numeral of two letters or more; "mix" and "dix" are among them."""
    return len(word) > 1 and _ROMAN.fullmatch(word) is not None


def is_markup(word: str) -> bool:
    return word in _MARKUP_NAMES


class Spelling:
    """How usual a word's letters are: character trigrams of the corpus's own frequent words, each word once.

    A word's rarity is the mean of -log2 P(letter | the two before it), the word's end included, without accents. P is
    interpolated (Witten and Bell 1991) over trigrams, bigrams and letters. Every script has a model of its own; short
    words, and scripts with less than LEAST_TAUGHT words to learn from, are not judged.

    Against 1,000 strings of 5..10 random letters and the 19,000 rare words of 80 English books, with the limit at 3 of
    10,000 frequent words: 90 % of the strings are above it, and 0.15 % of the rare words; at 30 of 10,000 97 % and 1 %.
    """

    def __init__(self, frequent: Iterable[str], share: float) -> None:
        """`frequent` words teach the spelling; `share` of them, judged without themselves, would be above the limit."""
        taught: dict[str, list[str]] = {}
        for word in frequent:
            script = judged_script(word)
            if script:
                taught.setdefault(script, []).append(_plain(word))
        self._models: dict[str, _Trigrams] = {}
        self.limits: dict[str, float] = {}
        """Script -> bits; for those that are judged."""
        for script, words in sorted(taught.items()):
            if len(words) >= LEAST_TAUGHT:
                model = self._models[script] = _Trigrams(words)
                ordered = np.sort([model.rarity(word, own=1) for word in words])
                self.limits[script] = float(ordered[min(len(ordered) - 1, int(len(ordered) * (1.0 - share)))])

    def rarity(self, word: str) -> float:
        """Bits; 0 where the word is not judged."""
        model = self._models.get(judged_script(word))
        return model.rarity(_plain(word)) if model else 0.0

    def is_rubbish(self, word: str) -> bool:
        return self.rarity(word) > self.limits.get(judged_script(word), np.inf)


class _Trigrams:
    def __init__(self, words: Iterable[str]) -> None:
        grams: dict[str, dict[str, int]] = {}
        for word in words:
            for context, letter in _places(word):
                for cut in (context, context[1:], ""):
                    followers = grams.setdefault(cut, {})
                    followers[letter] = followers.get(letter, 0) + 1
        self._grams = grams
        self._totals = {context: sum(followers.values()) for context, followers in grams.items()}
        self._letters = len(grams.get("", {})) + 1
        self._bits: dict[tuple[str, str, int], float] = {}
        """What `_bits_of` has found: a corpus has few thousand trigrams, and its words ask for them again and again."""

    def rarity(self, word: str, own: int = 0) -> float:
        """Bits for each letter. `own` = 1 leaves the word itself out of the model that it helped to teach."""
        places = _places(word)
        return sum(self._bits_of(context, letter, own) for context, letter in places) / len(places)

    def _bits_of(self, context: str, letter: str, own: int) -> float:
        found = self._bits.get((context, letter, own))
        if found is None:
            found = self._bits[context, letter, own] = -math.log2(self._probability(context, letter, own))
        return found

    def _probability(self, context: str, letter: str, own: int) -> float:
        probability = 1.0 / self._letters
        for cut in ("", context[1:], context):
            followers = self._grams.get(cut)
            if followers is None:
                break
            seen, total, kinds = followers.get(letter, 0) - own, self._totals[cut] - own, len(followers)
            probability = (max(seen, 0) + kinds * probability) / (max(total, 0) + kinds)
        return probability


def _places(word: str) -> list[tuple[str, str]]:
    framed = f"^^{word}$"
    return [(framed[i : i + 2], framed[i + 2]) for i in range(len(framed) - 2)]


def _plain(word: str) -> str:
    """Without accents, and with ligatures undone: an English book's French names are spelt like French."""
    spelt = unicodedata.normalize("NFD", word.replace("æ", "ae").replace("œ", "oe"))
    return "".join(character for character in spelt if unicodedata.category(character) != "Mn")


def judged_script(word: str) -> str:
    """The script of a word whose spelling can tell something, by the name of its first letter: LATIN, CYRILLIC, ...

    "" for short words and for scripts without spaces, where letters follow one another freely.
    """
    if len(word) < LEAST_LETTERS or any(character_kind(character) == OWN for character in word):
        return ""
    return unicodedata.name(word[0], "").partition(" ")[0]
