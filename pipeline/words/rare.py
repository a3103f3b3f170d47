"""Rare words: which they are, and where they stand (Taking Notes on the Fly, Wu et al., ICLR 2021, section 3)."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.config import WordsConfig
from pipeline.words.frequency import distinct_words
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

_INSIDE = frozenset("'-·‧" + INVISIBLE_JOINERS)

RARE_WORDS: Final = pa.schema(
    [
        pa.field("word_id", pa.uint32(), nullable=False),
        pa.field("word", pa.string(), nullable=False),
        pa.field("count", pa.uint64(), nullable=False),
        pa.field("documents", pa.uint64(), nullable=False),
    ]
)


def rare_range(config: WordsConfig, total_words: int) -> tuple[int, int]:
    """(low, high), both inclusive: as configured, or TNF's range in proportion to the corpus.

    The scaled low is never under LEAST_LOW, and high is never under TNF's five times low; so corpora of less than
    100 million words have 3..15.
    """
    if config.rare_high:
        return config.rare_low, config.rare_high
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


def select_rare(words: pa.Table, low: int, high: int) -> pa.Table:
    """RARE_WORDS: the words of a merged (word, count, documents) table with low <= count <= high that may be a note's
    key, sorted bytewise; word_id is the row.
    """
    counts = words["count"]
    inside = pc.and_(
        pc.greater_equal(counts, pa.scalar(low, pa.uint64())), pc.less_equal(counts, pa.scalar(high, pa.uint64()))
    )
    found = words.select(["word", "count", "documents"]).filter(inside)
    keep = [is_note_word(word) for word in found["word"].to_pylist()]
    found = found.filter(pa.array(keep, pa.bool_())).sort_by("word")
    return found.add_column(0, "word_id", pa.array(np.arange(len(found), dtype=np.uint32))).cast(RARE_WORDS)


class RareWords:
    """Word to word_id."""

    def __init__(self, table: pa.Table) -> None:
        """`table` as select_rare gives it, or read back from the notes."""
        self._ids = dict(zip(table["word"].to_pylist(), table["word_id"].to_pylist(), strict=True))

    def __len__(self) -> int:
        return len(self._ids)

    def ids(self, words: Sequence[str]) -> npt.NDArray[np.int64]:
        """word_id of each normalised word [n]; -1 where it is not rare."""
        return np.fromiter((self._ids.get(word, -1) for word in words), dtype=np.int64, count=len(words))


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
    words, word = distinct_words(tokenizer, encoded, spans)
    found = rare.ids(words)[word] if words else np.empty(0, dtype=np.int64)
    hits = np.flatnonzero(found >= 0)
    document = spans.document[hits]
    base = encoded.offsets[document]
    return RareSpans(
        offsets=np.searchsorted(document, np.arange(len(encoded) + 1)).astype(np.int64),
        start=(spans.start[hits] - base).astype(np.uint32),
        end=(spans.end[hits] - base).astype(np.uint32),
        word=found[hits].astype(np.uint32),
    )
