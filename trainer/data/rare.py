"""The rare words of rows: for masks that treat them apart, and for notes on them.

Shapes: B rows, T positions, N occurrences of rare words, P tokens of them, K tokens of their windows.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainer.data.corpus_error import CorpusError
from trainer.data.rare_kernels import find_rare, keep_visible
from trainer.data.shards import Corpus

ANY_WORD: Final = 1 << 32
"""More than the number of any note: spans' word numbers are uint32."""


@dataclass(frozen=True)
class RareWords:
    """Occurrences of rare words that may be looked up: none of their tokens is to be predicted.

    A token that stands unchanged in the row though it is to be predicted (BERT's 10 %) counts as not visible: a note
    of its word would be its label. So does one replaced at random. A word that a cut between two pieces divides is
    left out. All tensors are int64; N occurrences in the order of the rows.
    """

    word_N: Tensor
    """Number of the word in the notes."""
    row_N: Tensor
    start_N: Tensor
    """Position in the row of its first token."""
    end_N: Tensor
    """Behind its last one."""
    token_P: Tensor
    """Flat position in B * T of every token of every word, ascending."""
    word_P: Tensor
    """The word there."""
    window_K: Tensor
    """Flat positions of the words' windows, one behind the other: `half_window` tokens before the word to as many
    behind it, inside the document piece; [CLS] and [SEP] are in none."""
    bag_N: Tensor
    """Where each word's window begins in `window_K`."""

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Self:
        moved = {name: getattr(self, name).to(device, non_blocking=non_blocking) for name in self.__dataclass_fields__}
        return replace(self, **moved)


@dataclass(frozen=True)
class NoteWindow:
    """What the rare words of batches are wanted for: notes of so many words."""

    words: int
    half_window: int


class RareSpans:
    """All rare words of a batch's rows, before masking."""

    def __init__(
        self,
        corpora: Sequence[Corpus],
        document: NDArray[np.int64],
        source: NDArray[np.int64],
        offset: NDArray[np.int64],
        length: NDArray[np.int64],
        first_piece: NDArray[np.int64],
        width: int,
        window: NoteWindow | None,
    ) -> None:
        """Of a list of pieces: `document` of corpora[`source`], tokens [offset, offset + length); row r holds the
        pieces [first_piece[r], first_piece[r + 1]). Raises CorpusError where a word is not in the notes."""
        address, spans = np.zeros((len(document), 3), dtype=np.uint64), np.zeros(len(document), dtype=np.int64)
        keep = []
        for k in np.unique(source):
            here = source == k
            address[here], spans[here], kept = corpora[k].locate_rare(document[here])
            keep.append(kept)
        rows = len(first_piece) - 1
        self.rare_BT = np.empty((rows, width), dtype=np.uint8)
        """2 at the first token of a rare word, 1 at its others, also of a part that a cut left."""
        words, half_window = (window.words, window.half_window) if window else (ANY_WORD, 0)
        size = min(int(spans.sum()), rows * width) if window else 0
        found = np.empty((6, size), dtype=np.int64)
        item = np.empty(0, dtype=np.uint32)
        n = find_rare(address, spans, offset, length, first_piece, item, words, half_window, self.rare_BT, found)
        if n < 0:
            corpus, number = corpora[source[-1 - n]], int(document[-1 - n])
            raise CorpusError(
                f"{corpus.directory}: {corpus.where(number)}: a rare word's number lies outside the notes, which hold "
                f"{words:,} words; run `siliang-pipeline verify` on the corpus"
            )
        self._found_6N = found[:, :n]

    def visible(self, target_index: NDArray[np.int64]) -> RareWords:
        """Those of which nothing is predicted; for one use."""
        return visible_words(self._found_6N, target_index, self.rare_BT.shape[1])


def visible_words(found_6N: NDArray[np.int64], target_index: NDArray[np.int64], width: int) -> RareWords:
    """Of words in rows of `width`, (word, row, start, end, window's first and end) each, in the order of the rows,
    those of which nothing is predicted. Moves columns of `found_6N`."""
    kept = keep_visible(found_6N, target_index, width)
    word, row, start, end, first, last = found_6N[:, :kept].copy()
    token, _ = ranges(row * width + start, end - start)
    window, bag = ranges(row * width + first, last - first)
    columns = (word, row, start, end, token, np.repeat(word, end - start), window, bag)
    return RareWords(*map(torch.from_numpy, columns))


def ranges(start: NDArray[np.int64], length: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """start[0], start[0] + 1, ... (length[0] of them), start[1], ... in one array; and where each run begins there."""
    begin = np.zeros(len(start), dtype=np.int64)
    np.cumsum(length[:-1], out=begin[1:])
    return np.arange(int(length.sum())) + np.repeat(start - begin, length), begin


def note_words(corpora: Sequence[Corpus]) -> int:
    """Words in the notes of corpora that are trained on together.

    Raises CorpusError where there are none, or where corpora number their words differently.
    """
    first = corpora[0]
    words = sum(entry.rows for entry in first.notes)
    if not words:
        raise CorpusError(f"{first.directory}: has no notes of rare words, which notes.enabled needs; prepare it again")
    digests = [entry.sha256 for entry in first.notes]
    for other in corpora[1:]:
        if [entry.sha256 for entry in other.notes] != digests:
            raise CorpusError(
                f"{other.directory}: its rare words are numbered unlike those of {first.directory}; notes need one "
                "corpus, or corpora with the same notes: prepare the sources together, or switch notes off"
            )
    return words
