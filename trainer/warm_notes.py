"""A warm start: notes of the windows that the pipeline chose for every rare word over the whole corpus.

TNF must meet a word before it has a note of it. The notes table holds real contexts of each, so at a step of choice
the encoder as it is then reads them, without dropout and without notes, and the dictionary holds what it saw.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

import schemas.arrow
from schemas.shard import SchemaError, open_shard
from schemas.vocabulary import CLS, PAD, SEP
from trainer.data.batch import Batch, RowRange
from trainer.data.packing_kernels import WRAP
from trainer.data.rare import RareWords, ranges
from trainer.data.shards import Corpus, CorpusError
from trainer.precision import autocast
from trainer.sections.notes import NotesSection

if TYPE_CHECKING:
    from trainer.loop import Trainer

ROWS: Final = 64
"""Windows of a batch, at most; bounds the memory of warming."""

MOST_WINDOWS: Final = 256
LONGEST: Final = 1 << 16
"""No limit on the pieces of a word."""


@dataclass(frozen=True)
class Windows:
    """Windows by word, words ascending: window i is tokens[offset[i]:offset[i + 1]] around an occurrence of
    word[i]."""

    tokens: NDArray[np.uint16] | NDArray[np.uint32]
    offset: NDArray[np.int64]
    word: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.word)

    def batches(self) -> list[tuple[int, int]]:
        """Runs [first, last) of windows of whole words, at most ROWS each."""
        ends = [*(np.flatnonzero(self.word[1:] != self.word[:-1]) + 1).tolist(), len(self)]
        runs, first, last = [], 0, 0
        for end in ends:
            if end - first > ROWS:
                runs.append((first, last))
                first = last
            last = end
        return [*runs, (first, last)] if last > first else runs


def read_windows(corpus: Corpus, section: NotesSection, max_length: int) -> Windows:
    """The first `warm_windows` windows of each word, cut to `half_window` tokens on each side, and to what fits a row.

    Raises CorpusError where a file is damaged.
    """
    parts = [(np.empty(0, corpus.token_dtype), np.empty(0, np.int64), np.empty(0, np.int64))]
    for batch in _tables(corpus):
        parts.append(_cut(batch, section.warm_windows, section.half_window, max_length))
    tokens, lengths, word = (np.concatenate(column) for column in zip(*parts, strict=True))
    if len(tokens) and int(tokens.max()) >= corpus.vocabulary_size:
        raise CorpusError(f"{corpus.directory}/notes: token id {int(tokens.max()):,}; run `siliang-pipeline verify`")
    return Windows(tokens, np.concatenate([[0], np.cumsum(lengths)]), word)


def read_words(corpus: Corpus) -> dict[tuple[int, ...], int]:
    """How each word of the notes is spelt in pieces, in all of its windows; of two words of equal pieces the first.

    Raises CorpusError where a file is damaged.
    """
    known: dict[tuple[int, ...], int] = {}
    for batch in _tables(corpus):
        tokens, lengths, words = _cut(batch, MOST_WINDOWS, 0, LONGEST)
        ends = np.cumsum(lengths)
        for word, end, length in zip(words.tolist(), ends.tolist(), lengths.tolist(), strict=True):
            known.setdefault(tuple(tokens[end - length : end].tolist()), word)
    return known


def _tables(corpus: Corpus) -> Iterator[pa.RecordBatch]:
    for path in corpus.notes_paths():
        try:
            table = open_shard(path, schemas.arrow.note(corpus.vocabulary_size)).read_all()
        except (SchemaError, pa.ArrowInvalid, OSError) as error:
            raise CorpusError(f"{error}; run `siliang-pipeline verify` on the corpus") from error
        yield from table.to_batches()


def _cut(
    batch: pa.RecordBatch, most: int, half_window: int, max_length: int
) -> tuple[NDArray[Any], NDArray[np.int64], NDArray[np.int64]]:
    """(tokens, tokens of each window, word of each window) of the first `most` windows of each word."""
    contexts = batch.column("contexts")
    bounds = contexts.offsets.to_numpy().astype(np.int64)
    here, _ = ranges(bounds[:-1], np.minimum(np.diff(bounds), most))
    word = np.repeat(batch.column("word_id").to_numpy(), np.minimum(np.diff(bounds), most))
    values = contexts.values
    start, end = (values.field(name).to_numpy().astype(np.int64)[here] for name in ("start", "end"))
    held = values.field("tokens")
    offsets = held.offsets.to_numpy().astype(np.int64)
    size = np.diff(offsets)[here]
    if ((start >= end) | (end > size)).any():
        raise CorpusError("notes: a word lies outside its window; run `siliang-pipeline verify` on the corpus")
    side = np.minimum(half_window, (max_length - WRAP - (end - start)) // 2)
    fits = side >= 0
    first = np.maximum(start - side, 0)[fits]
    last = np.minimum(end + side, size)[fits]
    places, _ = ranges(offsets[here][fits] + first, last - first)
    return held.values.to_numpy()[places], last - first, word[fits].astype(np.int64)


def as_batch(windows: Windows, first: int, last: int) -> Batch:
    """Windows [first, last) as rows of one document each, nothing masked, and the note of each row's word asked for."""
    length = np.diff(windows.offset[first : last + 1])
    rows, width = last - first, int(length.max()) + WRAP
    tokens = np.full((rows, width), PAD, dtype=np.int64)
    row, column = np.repeat(np.arange(rows), length), ranges(np.ones(rows, np.int64), length)[0]
    tokens[row, column] = windows.tokens[windows.offset[first] : windows.offset[last]]
    tokens[:, 0] = CLS
    tokens[np.arange(rows), length + 1] = SEP
    inside = np.arange(width) < (length + WRAP)[:, None]
    nothing = np.empty(0, dtype=np.int64)
    window, bag = ranges(np.arange(rows) * width + 1, length)
    # Whose note it is counts; where the word stands in its window does not.
    words = (windows.word[first:last], np.arange(rows), np.ones(rows, np.int64), length + 1, nothing, nothing)
    return Batch(
        tokens_BT=torch.from_numpy(tokens),
        segments_BT=torch.from_numpy(inside.astype(np.int64)),
        positions_BT=torch.from_numpy(np.where(inside, np.arange(width), 0)),
        target_index_M=torch.from_numpy(nothing),
        target_M=torch.from_numpy(nothing),
        source=(RowRange(0, 0, 0, rows),),
        token_count=int(length.sum()) + WRAP * rows,
        words=RareWords(*map(torch.from_numpy, (*words, window, bag))),
    )


@torch.no_grad()
def fill_notes(trainer: "Trainer", windows: Windows, tell: Callable[[str], None] = lambda text: None) -> None:
    """Sets the note of every word that has windows to the mean over them; other words keep theirs.

    The processes share the work. Which windows are read together does not depend on their number, and each word's note
    is one process's: the dictionary is the same on all, for any number of them.
    """
    notes, model, world = trainer.model.encoder.notes, trainer.model, trainer.world
    if notes is None:
        raise ValueError("the encoder has no notes to fill")
    begun = time.perf_counter()
    filled_WD, taken_W = torch.zeros_like(notes.table_WD), torch.zeros_like(notes.taken_W)
    runs, training = windows.batches(), model.training
    model.eval()
    for k in range(0, len(runs), world.size):
        # A process without a batch of its own reads one for nothing: a sharded model waits for all of them.
        mine = k + world.rank < len(runs)
        batch = model.prepare(as_batch(windows, *runs[k + world.rank if mine else k])).to(trainer.device)
        with autocast(trainer.device, trainer.precision):
            notes_ND = model(batch).notes_ND
        if mine and batch.words is not None:
            word_U, n_U = torch.unique_consecutive(batch.words.word_N, return_counts=True)
            order = torch.arange(len(notes_ND), device=notes_ND.device)
            filled_WD[word_U] = torch.nn.functional.embedding_bag(order, notes_ND, n_U.cumsum(0) - n_U, mode="mean")
            taken_W[word_U] = n_U
    model.train(training)
    world.add_up(filled_WD)
    world.add_up(taken_W)
    here = taken_W > 0
    notes.table_WD[here] = filled_WD[here]
    notes.taken_W[here] = taken_W[here]
    seconds = time.perf_counter() - begun
    tell(f"notes: {int(here.sum()):,} words filled from {len(windows):,} windows in {seconds:.1f} s")
