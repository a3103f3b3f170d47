"""Statistics of clean text, one column each: what the rules of pipeline.text.rules are stated over.

Definitions used throughout
- line: a non-blank line. Blank lines never count, neither above nor below a fraction line.
- chunk: a run of characters without white space.
- word: inside a chunk, from its first to its last letter, mark or digit, so that punctuation around it does not count;
  in unspaced scripts (Han, kana, Thai, Lao, Khmer, Myanmar) each letter with its marks is a word of its own.
- symbol: a chunk without any letter, mark or digit.
- A fraction with nothing below its line is 0.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipeline.records import with_columns
from pipeline.text import c4
from pipeline.text.script import ALPHA, MARK, SOLO, SPACE, WORD, code_points, flags


@dataclass(frozen=True)
class Statistic:
    """One column: `unit` completes "31 ..." in explanations."""

    unit: str
    meaning: str
    integer: bool = True

    @property
    def type(self) -> pa.DataType:
        return pa.int64() if self.integer else pa.float64()


STATISTICS: dict[str, Statistic] = {
    "characters": Statistic("characters", "code points of the text"),
    "words": Statistic("words", "words; in unspaced scripts letters"),
    "mean_word_length": Statistic(
        "characters per word on average", "code points of words / words, letters of unspaced scripts left out", False
    ),
    "hash_ratio": Statistic("hash signs per word", "'#' / (words + symbols)", False),
    "ellipsis_ratio": Statistic("ellipses per word", "('...' + '…') / (words + symbols)", False),
    "bullet_lines": Statistic(
        "of lines start with a bullet", "lines that start with • ‣ ◦ ▪, or with - * and a space / lines", False
    ),
    "ellipsis_lines": Statistic("of lines end with an ellipsis", "lines that end with '...' or '…' / lines", False),
    "alphabetic_words": Statistic(
        "of words hold a letter", "words with at least one letter / (words + symbols)", False
    ),
    "stop_words": Statistic(
        "different English stop words", "how many of the, be, to, of, and, that, have, with occur, in any case"
    ),
    "c4_lines_long_word": Statistic("lines with too long a word", "lines cut for a word above the limit"),
    "c4_lines_unterminated": Statistic("lines without an end mark", "further lines cut for not ending a sentence"),
    "c4_lines_short": Statistic("lines of too few words", "further lines cut for too few words"),
    "c4_lines_javascript": Statistic("lines about javascript", "further lines cut for 'javascript'"),
    "c4_lines_policy": Statistic("lines about policies", "further lines cut for terms of use, privacy or cookies"),
    "c4_lines_left": Statistic("lines left after cutting", "lines that no line rule cuts"),
    "c4_lorem_ipsum": Statistic("lines with lorem ipsum", "lines with 'lorem ipsum' that earlier line rules let pass"),
    "c4_curly_brackets": Statistic("curly brackets", "'{' in lines that earlier line rules let pass"),
    "c4_sentences": Statistic("sentences after cutting", "sentences in the lines left"),
}
"""Column -> its definition and unit. `measure` adds them in this order."""

C4_COLUMNS = tuple(name for name in STATISTICS if name.startswith("c4_"))

# A hyphen or asterisk without a space is no bullet: "**Helena**" names the speakers of a whole play in Markdown.
BULLETS = ("•", "‣", "◦", "▪", "- ", "* ")
STOP_WORDS = frozenset(["the", "be", "to", "of", "and", "that", "have", "with"])
_PUNCTUATION = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~«»“”‘’–—…"

_BLOCK = 1 << 16
"""Code points of one block of the word pass, so that its index arrays stay in cache and memory stays bounded."""


def _changes(values: np.ndarray) -> int:
    """Distinct values of an ascending array."""
    return int(np.count_nonzero(values[1:] != values[:-1])) + 1 if len(values) else 0


def _count_words(points: np.ndarray) -> tuple[int, int, int, int, int]:
    """Words, those outside unspaced scripts, code points of the latter, words with a letter, symbols.

    `points` is uint32 [characters] and cuts no chunk at its ends.
    """
    kind = flags()[points]
    visible = (kind & SPACE) == 0
    after_space = np.empty_like(visible)
    after_space[:1] = True
    after_space[1:] = ~visible[:-1]
    chunk_starts = visible & after_space
    starts = chunk_starts
    solo = (kind & SOLO) != 0
    if solo.any():
        # A unit is a solo letter and the marks on it; whatever follows it begins anew.
        base = np.where((kind & MARK) != 0, 0, np.arange(len(kind)))
        in_unit = solo[np.maximum.accumulate(base)]
        after_unit = np.empty_like(visible)
        after_unit[:1] = False
        after_unit[1:] = in_unit[:-1]
        starts = chunk_starts | solo | (visible & after_unit & ((kind & MARK) == 0))
    segment = np.cumsum(starts)
    inside = np.flatnonzero(kind & WORD)
    of_word = segment[inside]
    if len(inside) == 0:
        return 0, 0, 0, 0, int(np.count_nonzero(chunk_starts))
    last = np.flatnonzero(np.append(of_word[1:] != of_word[:-1], True))
    first = np.append(0, last[:-1] + 1)
    lengths = inside[last] - inside[first] + 1
    spaced = ~solo[inside[first]]
    alphabetic = _changes(segment[np.flatnonzero(kind & ALPHA)])
    chunks = np.cumsum(chunk_starts) if starts is not chunk_starts else segment
    symbols = int(chunks[-1]) - _changes(chunks[inside])
    return len(last), int(spaced.sum()), int(lengths[spaced].sum()), alphabetic, symbols


def _blocks(text: str) -> Iterable[str]:
    """The text cut at newlines into blocks of about _BLOCK code points."""
    start = 0
    while start < len(text):
        end = text.find("\n", start + _BLOCK) + 1 or len(text)
        yield text[start:end]
        start = end


def _stop_words(text: str) -> int:
    found = set()
    for word in set(text.lower().split()):
        bare = word.strip(_PUNCTUATION)
        if bare in STOP_WORDS:
            found.add(bare)
            if len(found) == len(STOP_WORDS):
                break
    return len(found)


def statistics(text: str) -> dict[str, float]:
    """All statistics but those of C4, of one clean text."""
    counts = np.zeros(5, np.int64)
    for block in _blocks(text):
        counts += _count_words(code_points(block))
    words, spaced, length, alphabetic, symbols = (int(count) for count in counts)
    lines = bullets = ellipses = 0
    for line in text.split("\n"):
        bare = line.strip()
        if bare:
            lines += 1
            bullets += bare.startswith(BULLETS)
            ellipses += bare.endswith(("...", "…"))
    units = max(1, words + symbols)
    return {
        "characters": len(text),
        "words": words,
        "mean_word_length": length / max(1, spaced),
        "hash_ratio": text.count("#") / units,
        "ellipsis_ratio": (text.count("...") + text.count("…")) / units,
        "bullet_lines": bullets / max(1, lines),
        "ellipsis_lines": ellipses / max(1, lines),
        "alphabetic_words": alphabetic / units,
        "stop_words": _stop_words(text),
    }


def c4_statistics(text: str, script: str, limits: c4.LineLimits = c4.DEFAULT_LIMITS) -> dict[str, float]:
    """The statistics of C4, which are counted on the lines that its line rules let pass."""
    page = c4.apply(text, script, limits)
    return {
        "c4_lines_long_word": page.long_word,
        "c4_lines_unterminated": page.unterminated,
        "c4_lines_short": page.short,
        "c4_lines_javascript": page.javascript,
        "c4_lines_policy": page.policy,
        "c4_lines_left": page.left,
        "c4_lorem_ipsum": page.lorem_ipsum,
        "c4_curly_brackets": page.curly_brackets,
        "c4_sentences": page.sentences,
    }


def as_columns(rows: list[dict[str, float] | None], names: Iterable[str]) -> dict[str, pa.Array]:
    """Arrow columns of the named statistics; null where a row is None."""
    return {name: pa.array([row and row[name] for row in rows], STATISTICS[name].type) for name in names}


def measure(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Adds every column of STATISTICS (needs `script`); null in quarantined rows. C4's use its default line limits."""
    rows: list[dict[str, float] | None] = []
    columns = (batch.column(name).to_pylist() for name in ("text", "script"))
    sound = batch.column("quarantine").is_null().to_pylist()
    for text, script, good in zip(*columns, sound, strict=True):
        rows.append(statistics(text) | c4_statistics(text, script) if good else None)
    return with_columns(batch, as_columns(rows, STATISTICS))
