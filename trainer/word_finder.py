"""Finds the words that have notes in texts that come without the pipeline's list of them: those of a fine-tuning task.

A word is known by its pieces, as they stand in the windows of the notes table. A run of known pieces counts where it
is a whole word: neither a letter, digit nor byte piece goes on before or behind it, nor a joiner (' - . and the like)
with such a piece behind.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from schemas.vocabulary import FIRST_ORDINARY, WORD_BOUNDARY
from trainer.data.rare import RareWords, visible_words
from trainer.data.shards import Corpus
from trainer.tokenizer import Tokenizer
from trainer.warm_notes import read_words

JOINERS = frozenset("'’-‐‑.·_&@:/")


class WordFinder:
    """`known`: pieces -> number of the word in the notes."""

    def __init__(self, known: dict[tuple[int, ...], int], tokenizer: Tokenizer) -> None:
        self.known = known
        self.longest = max(map(len, known), default=0)
        pieces = [tokenizer.piece(i) for i in range(len(tokenizer))]
        texts = [piece.removeprefix(WORD_BOUNDARY) for piece in pieces]
        bytes_ = [len(piece) == 6 and piece.startswith("<0x") for piece in pieces]
        self._starts = np.array([piece.startswith(WORD_BOUNDARY) for piece in pieces])
        self._first = np.array([b or t[:1].isalnum() for t, b in zip(texts, bytes_, strict=True)])
        self._last = np.array([b or t[-1:].isalnum() for t, b in zip(texts, bytes_, strict=True)])
        self._joins = np.array([t in JOINERS and not s for t, s in zip(texts, self._starts, strict=True)])
        for flags in (self._starts, self._first, self._last, self._joins):
            flags[:FIRST_ORDINARY] = False

    @classmethod
    def read(cls, corpus: Corpus, tokenizer: Tokenizer) -> "WordFinder":
        """Of the corpus that the encoder was trained on, whose words its notes count. Raises CorpusError."""
        return cls(read_words(corpus), tokenizer)

    def spans(self, ids: Sequence[int]) -> list[tuple[int, int, int]]:
        """(start, end, word) of the known words of a text, ascending, disjoint; the longest of several."""
        found, at, size = [], 0, len(ids)
        while at < size:
            before = ids[at - 1] if at else None
            inside = not self._starts[ids[at]] and before is not None and (self._last[before] or self._joins[before])
            end = at
            for stop in range(min(at + self.longest, size), at, -1):
                if not inside and tuple(ids[at:stop]) in self.known and not self._goes_on(ids, stop):
                    end = stop
                    break
            if end > at:
                found.append((at, end, self.known[tuple(ids[at:end])]))
            at = max(end, at + 1)
        return found

    def _goes_on(self, ids: Sequence[int], at: int) -> bool:
        """Whether the word before `at` goes on there."""
        if at < len(ids) and self._joins[ids[at]]:
            at += 1
        return at < len(ids) and bool(self._first[ids[at]]) and not self._starts[ids[at]]

    def find(self, tokens_BT: Tensor, segments_BT: Tensor, half_window: int, hidden: Tensor | None = None) -> RareWords:
        """The known words of rows of documents, as `Batch.words` wants them; without those that hold one of the flat
        positions `hidden` (ascending: what is to be predicted). A document's first and last piece are no text."""
        columns: list[tuple[int, ...]] = []
        for row, (ids, segments) in enumerate(zip(tokens_BT.tolist(), segments_BT.tolist(), strict=True)):
            begin = 0
            while begin < len(ids):
                end = begin
                while end < len(ids) and segments[end] == segments[begin]:
                    end += 1
                for a, b, word in self.spans(ids[begin:end]) if segments[begin] else []:
                    first, last = max(begin + a - half_window, begin + 1), min(begin + b + half_window, end - 1)
                    columns.append((word, row, begin + a, begin + b, first, last))
                begin = end
        found: NDArray[np.int64] = np.array(columns, dtype=np.int64).reshape(-1, 6).T.copy()
        index = torch.empty(0, dtype=torch.int64) if hidden is None else hidden
        return visible_words(found, index.numpy(), tokens_BT.shape[1])
