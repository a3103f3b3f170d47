"""Rare words: which they are, and where they stand (Taking Notes on the Fly, Wu et al., ICLR 2021, section 3)."""

import itertools
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.config import WordsConfig
from pipeline.words.frequency import spelt_words
from pipeline.words.rubbish import Spelling, is_markup, is_numeral
from pipeline.words.spans import Spans
from pipeline.words.tokenizer import INVISIBLE_JOINERS, OWN, Encoded, Tokenizer, character_kind
from schemas.arrow import RARE_SPAN

TNF_LOW: Final = 100
TNF_HIGH: Final = 500
TNF_WORDS: Final = 3_400_000_000
"""TNF calls words rare that occur 100 to 500 times in 3.4 billion."""
LEAST_LOW: Final = 3
"""A word seen less than three times is more often a slip of the pen than a word worth a note."""
LONGEST: Final = 50
"""Code points of a rare word."""

EXCLUDED: Final = ("not letters", "numeral", "markup", "spelling")
"""Why words get no note, in the order of the tests."""

_INSIDE = frozenset("'-·‧" + INVISIBLE_JOINERS)

RARE_WORDS: Final = pa.schema(
    [
        pa.field("word_id", pa.uint32(), nullable=False),
        pa.field("word", pa.string(), nullable=False),
        pa.field("count", pa.uint64(), nullable=False),
        pa.field("documents", pa.uint64(), nullable=False),
    ]
)


def rare_range(config: WordsConfig, total_words: int, counts: npt.NDArray[np.uint64] | None = None) -> tuple[int, int]:
    """(low, high), both inclusive: as configured, or by the rule that the config names.

    "band" is TNF's range in proportion to the corpus. The scaled low is never under LEAST_LOW, and high is never under
    TNF's five times low; so corpora of less than 100 million words have 3..15.
    "mass" (Dict-BERT, Yu et al. 2022) takes the words that make up the last `rare_mass` of all running words; words of
    equal count go together, and high is the largest count with which they stay within it. `counts` [words] are then
    needed; occurrences that they leave out count as rarer than all of them.
    """
    if config.rare_high:
        return config.rare_low, config.rare_high
    if config.rare_rule == "mass":
        ascending = np.sort(np.asarray(counts, dtype=np.uint64))
        mass = np.cumsum(ascending) + np.uint64(total_words - int(ascending.sum()))
        last = np.append(ascending[1:] != ascending[:-1], np.ones(min(len(ascending), 1), np.bool_))
        within = ascending[last & (mass <= config.rare_mass * total_words)]
        return max(LEAST_LOW, config.rare_low), int(within[-1]) if len(within) else 0
    low = max(LEAST_LOW, round(TNF_LOW * total_words / TNF_WORDS))
    high = max(low * (TNF_HIGH // TNF_LOW), round(TNF_HIGH * total_words / TNF_WORDS))
    return low, high


def is_note_word(word: str) -> bool:
    """False for what can be no note's key: anything but letters and marks with single apostrophes or hyphens inside (so
    no numbers, addresses, markup), one letter alone unless its script has no spaces, or more than LONGEST code points.
    """
    if not word or len(word) > LONGEST:
        return False
    letters = 0
    for character in word:
        category = unicodedata.category(character)[0]
        if category not in "LM" and character not in _INSIDE:
            return False
        letters += category == "L"
    return letters > 1 or (letters == 1 and any(character_kind(character) == OWN for character in word))


@dataclass(frozen=True)
class Selection:
    """The rare words of a corpus, and what was left out."""

    table: pa.Table
    """RARE_WORDS, sorted bytewise; word_id is the row."""
    excluded: dict[str, int]
    """Reason -> words of the range that get no note: "not letters", "numeral", "markup", "spelling"."""
    spelling_limits: dict[str, float]
    """Script -> bits a letter above which a word counts as misread print."""


def select_rare(words: pa.Table, low: int, high: int, rubbish: float = 0.0) -> Selection:
    """The words of a merged (word, count, documents) table with low <= count <= high that may be a note's key.

    `rubbish`: the share of the words above high that the limit on spelling would take for misread print; 0 sets none.
    """
    counts = words["count"].to_numpy()
    rows = np.flatnonzero((counts >= low) & (counts <= high))
    found = words.select(["word", "count", "documents"]).take(pa.array(rows))
    above = words["word"].filter(pa.array(counts > high)).to_pylist() if rubbish else []
    spelling = Spelling((word for word in above if is_note_word(word)), rubbish)
    reasons = [_reason(word, spelling) for word in found["word"].to_pylist()]
    excluded = {name: reasons.count(name) for name in EXCLUDED}
    found = found.filter(pa.array([not reason for reason in reasons], pa.bool_())).sort_by("word")
    table = found.add_column(0, "word_id", pa.array(np.arange(len(found), dtype=np.uint32))).cast(RARE_WORDS)
    return Selection(table, excluded, {script: round(limit, 3) for script, limit in spelling.limits.items()})


def _reason(word: str, spelling: Spelling) -> str:
    """Why a word gets no note, one of EXCLUDED; "" where it gets one."""
    if not is_note_word(word):
        return "not letters"
    if is_numeral(word):
        return "numeral"
    if is_markup(word):
        return "markup"
    return "spelling" if spelling.is_rubbish(word) else ""


class RareWords:
    """Word to word_id."""

    def __init__(self, table: pa.Table) -> None:
        """`table` as select_rare gives it, or read back from the notes."""
        self._ids = dict(zip(table["word"].to_pylist(), table["word_id"].to_pylist(), strict=True))

    def __len__(self) -> int:
        return len(self._ids)

    def ids(self, words: Sequence[str]) -> npt.NDArray[np.int64]:
        """word_id of each normalised word [n]; -1 where it is not rare."""
        found = map(self._ids.get, words, itertools.repeat(-1))
        return np.fromiter(found, dtype=np.int64, count=len(words))


@dataclass(frozen=True)
class RareSpans:
    """Occurrences of rare words in n documents, ascending and disjoint in each."""

    offsets: npt.NDArray[np.int64]
    """[n + 1]: document i has the spans offsets[i] : offsets[i + 1]."""
    start: npt.NDArray[np.uint32]
    """[spans], token position inside the document."""
    end: npt.NDArray[np.uint32]
    """[spans], exclusive."""
    word: npt.NDArray[np.uint32]
    """[spans], word_id."""

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def to_arrow(self) -> pa.ListArray:
        """The `rare` column of schemas.arrow.example."""
        columns = [pa.array(self.start), pa.array(self.end), pa.array(self.word)]
        values = pa.StructArray.from_arrays(columns, fields=list(RARE_SPAN))
        kind = pa.list_(pa.field("item", RARE_SPAN, nullable=False))
        return pa.ListArray.from_arrays(pa.array(self.offsets.astype(np.int32)), values, type=kind)

    @classmethod
    def from_arrow(cls, rare: pa.ListArray | pa.ChunkedArray) -> "RareSpans":
        """From a `rare` column."""
        if isinstance(rare, pa.ChunkedArray):
            rare = rare.combine_chunks()
        offsets = rare.offsets.to_numpy().astype(np.int64)
        start, end, word = (column.to_numpy() for column in rare.flatten().flatten())
        return cls(offsets=offsets - offsets[0], start=start, end=end, word=word)


def rare_spans(tokenizer: Tokenizer, encoded: Encoded, spans: Spans, rare: RareWords) -> RareSpans:
    """The spans whose normalised word is rare, with positions counted from the start of their document."""
    words, group = spelt_words(tokenizer, encoded, spans)
    found = rare.ids(words)[group] if words else np.empty(0, dtype=np.int64)
    hits = np.flatnonzero(found >= 0)
    document = spans.document[hits]
    base = encoded.offsets[document]
    return RareSpans(
        offsets=np.searchsorted(document, np.arange(len(encoded) + 1)).astype(np.int64),
        start=(spans.start[hits] - base).astype(np.uint32),
        end=(spans.end[hits] - base).astype(np.uint32),
        word=found[hits].astype(np.uint32),
    )
