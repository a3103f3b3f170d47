"""Words of token sequences: where they lie, and the form under which the pipeline counts them.

The pipeline's rules (docs/shards.md) stated once more over decoded text, since the trainer does not import it: a word
is a run of letters, marks and numbers that holds a letter, with single joiners (', -, ., ...) inside; a piece that
begins with '▁' begins a new one. In scripts without spaces a letter is a word of its own unless its piece holds more.
"""

import re
import unicodedata
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

import schemas.arrow
from schemas.shard import SchemaError, open_shard
from schemas.vocabulary import FIRST_ORDINARY, WORD_BOUNDARY
from trainer.data.corpus_error import CorpusError

_APOSTROPHES: Final = "'’‘ʼ′＇`´"
_HYPHENS: Final = "-‐‑"
_JOINERS: Final = frozenset(_APOSTROPHES + _HYPHENS + "\u00ad\u200c\u200d·‧./:@_&+#%=~\\")
_WORD: Final = re.compile("[LD]+(?:J[LD]+)*")
"""Over the kinds of characters, see `_kind`."""
_WITHOUT_SPACES: Final = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Myanmar
    (0x1780, 0x17FF),  # Khmer
    (0x3005, 0x3007),  # ideographic iteration mark, zero
    (0x3031, 0x30FF),  # Hiragana, Katakana
    (0x31F0, 0x31FF),
    (0x3400, 0x9FFF),  # Han
    (0xA9E0, 0xA9FF),  # Myanmar extended
    (0xAA60, 0xAA7F),
    (0xF900, 0xFAFF),
    (0xFF66, 0xFF9F),  # halfwidth Katakana
    (0x1AFF0, 0x1B16F),
    (0x20000, 0x3FFFF),  # Han extensions
)
_UNIFIED: Final = str.maketrans(
    {**dict.fromkeys(_APOSTROPHES, "'"), **dict.fromkeys(_HYPHENS, "-"), "\u00ad": None, "\ufeff": None}
)
_BYTE: Final = re.compile(r"<0x([0-9A-F]{2})>")


@cache
def _kind(character: str) -> str:
    """L letter or mark, D number, J joiner, S letter of a script without spaces, O anything else."""
    category = unicodedata.category(character)
    if category[0] in "LM":
        return "S" if any(first <= ord(character) <= last for first, last in _WITHOUT_SPACES) else "L"
    return "D" if category[0] == "N" else "J" if character in _JOINERS else "O"


class Pieces(Protocol):
    """What is needed of a tokenizer."""

    def piece(self, token: int) -> str: ...


class Unit(NamedTuple):
    """Pieces [start, end) of a sequence; `word` is normalised, '' for what is no word."""

    start: int
    end: int
    word: str


def normalise_word(word: str) -> str:
    """NFKC, case folded, one apostrophe, one hyphen, letters, marks and numbers at both ends: as in words.arrow."""
    for _ in range(2):
        word = unicodedata.normalize("NFKC", word.translate(_UNIFIED)).casefold()
    word = unicodedata.normalize("NFKC", word).translate(_UNIFIED)
    inner = [i for i, character in enumerate(word) if unicodedata.category(character)[0] in "LMN"]
    return word[inner[0] : inner[-1] + 1] if inner else ""


class WordFinder:
    """Cuts ids into words and single pieces; remembers what it found for each run of pieces between spaces."""

    REMEMBERED: Final = 1 << 20

    def __init__(self, tokenizer: Pieces) -> None:
        self._tokenizer = tokenizer
        self._pieces: dict[int, str] = {}
        self._found: dict[tuple[int, ...], list[Unit]] = {}

    def _piece(self, token: int) -> str:
        if token not in self._pieces:
            self._pieces[token] = self._tokenizer.piece(token) if token >= FIRST_ORDINARY else "\ue000"
        return self._pieces[token]

    def units(self, ids: list[int]) -> list[Unit]:
        """Words, and every other piece alone; ascending, together all of `ids`. Special pieces end words."""
        found: list[Unit] = []
        start = 0
        for end in range(1, len(ids) + 1):
            if end == len(ids) or self._piece(ids[end]).startswith(WORD_BOUNDARY):
                found += (Unit(start + u.start, start + u.end, u.word) for u in self._run(tuple(ids[start:end])))
                start = end
        return found

    def _run(self, ids: tuple[int, ...]) -> list[Unit]:
        if ids not in self._found:
            if len(self._found) >= self.REMEMBERED:
                self._found.clear()
            self._found[ids] = self._cut(ids)
        return self._found[ids]

    def _cut(self, ids: tuple[int, ...]) -> list[Unit]:
        """Units of one run; pieces in a script without spaces are words of their own."""
        units: list[Unit] = []
        start = 0
        for k, token in enumerate(ids):
            if "S" in map(_kind, self._piece(token)):
                word = normalise_word(self._piece(token).replace(WORD_BOUNDARY, ""))
                units += [*self._spaced(ids[start:k], start), Unit(k, k + 1, word)]
                start = k + 1
        return units + self._spaced(ids[start:], start)

    def _spaced(self, ids: tuple[int, ...], offset: int) -> list[Unit]:
        spelt, ends = b"", []
        for token in ids:
            piece = self._piece(token)
            byte = _BYTE.fullmatch(piece)
            spelt += bytes([int(byte[1], 16)]) if byte else piece.replace(WORD_BOUNDARY, " ").encode()
            ends.append(len(spelt))
        text = spelt.decode("utf-8", "surrogateescape")
        units: list[Unit] = []
        done = 0
        for match in _WORD.finditer("".join(map(_kind, text))):
            if "L" not in match[0]:
                continue
            first, last = (len(text[:at].encode("utf-8", "surrogateescape")) for at in match.span())
            start = int(np.searchsorted(ends, first, side="right"))
            end = int(np.searchsorted(ends, last, side="left")) + 1
            # A space piece right before belongs to the word.
            if start > done and self._piece(ids[start - 1]) == WORD_BOUNDARY:
                start -= 1
            if start < done:
                continue
            units += (Unit(k, k + 1, "") for k in range(done, start))
            units.append(Unit(start, end, normalise_word(text[slice(*match.span())])))
            done = end
        units += (Unit(k, k + 1, "") for k in range(done, len(ids)))
        return [Unit(u.start + offset, u.end + offset, u.word) for u in units]


@dataclass(frozen=True)
class WordCounts:
    """frequency/words.arrow of a corpus: how often the kept documents hold each word."""

    words: pa.ChunkedArray
    counts: NDArray[np.int64]
    total: int

    @classmethod
    def read(cls, directory: str | Path) -> "WordCounts":
        """Raises CorpusError where the table is missing or damaged."""
        path = Path(directory) / "frequency" / "words.arrow"
        try:
            table = open_shard(path, schemas.arrow.WORD_FREQUENCY).read_all()
        except (SchemaError, pa.ArrowInvalid) as error:
            raise CorpusError(f"{error}; run `siliang-pipeline prepare` again") from error
        counts = table.column("count").to_numpy().astype(np.int64)
        return cls(table.column("word"), counts, int(counts.sum()))

    def of(self, words: list[str]) -> NDArray[np.int64]:
        """Occurrences of each word; 0 for one that the corpus does not list."""
        if not len(self.counts):
            return np.zeros(len(words), dtype=np.int64)
        rows = pc.index_in(pa.array(words, type=pa.string()), value_set=self.words)
        found = rows.fill_null(-1).to_numpy(zero_copy_only=False)
        return np.where(found >= 0, self.counts[np.maximum(found, 0)], 0)
