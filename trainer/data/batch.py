"""Rows of packing plans, filled with tokens, masked, and handed over as torch tensors.

Shapes: B rows, T positions in a row, M predicted positions in the batch, K pieces.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

from trainer.data.kernels import fill
from trainer.data.masking import Masking, window_key
from trainer.data.packing import Plan
from trainer.data.packing_kernels import WRAP
from trainer.data.rare import NoteWindow, RareSpans, RareWords
from trainer.data.shards import Corpus, CorpusError


class RowRange(NamedTuple):
    """Rows [first, last) of one window of one epoch of one source."""

    epoch: int
    window: int
    first: int
    last: int
    source: int = 0


@dataclass(frozen=True)
class PlanRows:
    """Rows [first, last) of a plan of source `source`; the first is row `drawn` of the stream."""

    plan: Plan
    first: int
    last: int
    drawn: int = 0
    source: int = 0

    def __len__(self) -> int:
        return self.last - self.first

    def range(self) -> RowRange:
        return RowRange(self.plan.epoch, self.plan.window, self.first, self.last, self.source)


@dataclass(frozen=True)
class Batch:
    """Masked rows and what is to be predicted."""

    tokens_BT: Tensor
    """int64 input ids after masking; PAD to the right."""
    segments_BT: Tensor
    """int64: 0 at padding, else the number of the document piece within its row, from 1.
    A position may attend to its own segment only."""
    positions_BT: Tensor
    """int64: 0 at each piece's [CLS], counting up; 0 at padding."""
    target_index_M: Tensor
    """int64, ascending: predicted positions as indices into the flattened B*T."""
    target_M: Tensor
    """int64: the original ids there."""
    source: tuple[RowRange, ...]
    """Where the rows come from, in row order; more than one range where the batch crosses windows or sources."""
    token_count: int
    """Positions that are not padding."""
    words: RareWords | None = None
    """Rare words that are visible, where notes are taken on them."""
    draws_BT: Tensor | None = None
    """int32: random bits of each position, where the task draws (`trainer.tasks.draws`)."""
    pieces_MK: Tensor | None = None
    """int64: where a teacher's distributions are stored, its likeliest pieces at each predicted position."""
    log_shares_MK: Tensor | None = None
    """fp32: the logarithms of their probabilities."""

    @property
    def epoch(self) -> int:
        """Epoch of the first row."""
        return self.source[0].epoch

    @property
    def rows(self) -> tuple[tuple[int, int], ...]:
        """(window, row) of every row."""
        return tuple((part.window, row) for part in self.source for row in range(part.first, part.last))

    def describe(self) -> str:
        """For error messages: 'epoch 0, window 3, rows 5-36'."""
        several = any(p.source for p in self.source)
        return "; ".join(
            (f"source {p.source}, " if several else "")
            + f"epoch {p.epoch}, window {p.window}, rows {p.first}-{p.last - 1}"
            for p in self.source
        )

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Self:
        """The same batch with its tensors on `device`."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        moved: dict[str, Any] = {
            name: value.to(device, non_blocking=non_blocking)
            for name, value in values.items()
            if isinstance(value, Tensor | RareWords)
        }
        return replace(self, **moved)


def collate(
    corpora: Corpus | Sequence[Corpus], parts: Sequence[PlanRows], masking: Masking, notes: NoteWindow | None = None
) -> Batch:
    """The rows of `parts`, one below the other. Masks depend on each row's own (seed, epoch, window, row), and with a
    schedule of the rate on its number in the stream, alone.

    `corpora` are the sources that PlanRows.source counts, of one vocabulary. With `notes` the batch holds its rare
    words.
    Raises CorpusError, naming shard and row, where a token id is not in the vocabulary, or a rare word not in the
    notes.
    """
    corpora = [corpora] if isinstance(corpora, Corpus) else corpora
    corpus = corpora[0]
    rows, width = sum(map(len, parts)), parts[0].plan.sequence_length
    tokens, segments, positions = (np.empty((rows, width), dtype=np.int64) for _ in range(3))
    spans = [slice(int(p.plan.first_piece[p.first]), int(p.plan.first_piece[p.last])) for p in parts]
    offset = np.concatenate([p.plan.offset[s] for p, s in zip(parts, spans, strict=True)])
    length = np.concatenate([p.plan.length[s] for p, s in zip(parts, spans, strict=True)])
    address = np.concatenate([p.plan.address[s] for p, s in zip(parts, spans, strict=True)])
    address += offset.astype(np.uint64) * np.uint64(corpus.token_dtype.itemsize)
    per_row = np.concatenate([np.diff(p.plan.first_piece[p.first : p.last + 1]) for p in parts])
    first_piece = np.zeros(rows + 1, dtype=np.int64)
    np.cumsum(per_row, out=first_piece[1:])

    item = np.empty(0, dtype=corpus.token_dtype)
    bad = fill(address, length, first_piece, item, corpus.vocabulary_size, tokens, segments, positions)
    if bad >= 0:
        raise _foreign_token(corpora, parts, spans, bad)
    rare = None
    if masking.rare != "plain" or notes is not None:
        document = np.concatenate([p.plan.document[s] for p, s in zip(parts, spans, strict=True)])
        origin = np.repeat([p.source for p in parts], [s.stop - s.start for s in spans])
        rare = RareSpans(corpora, document, origin, offset, length, first_piece, width, notes)
    counts = [len(part) for part in parts]
    keys = [window_key(p.plan.seed, p.plan.epoch, p.plan.window) for p in parts]
    row = np.concatenate([np.arange(p.first, p.last) for p in parts])
    drawn = np.concatenate([np.arange(p.drawn, p.drawn + len(p)) for p in parts])
    stream = np.repeat(np.array(keys, dtype=np.uint64), counts)
    marked = None if rare is None or masking.rare == "plain" else rare.rare_BT
    tickets = corpus.tickets(masking.bands)
    index, target = masking.apply(tokens, marked, stream, row, drawn, corpus.vocabulary_size, corpus.marks, tickets)
    return Batch(
        tokens_BT=torch.from_numpy(tokens),
        segments_BT=torch.from_numpy(segments),
        positions_BT=torch.from_numpy(positions),
        target_index_M=torch.from_numpy(index),
        target_M=torch.from_numpy(target),
        source=tuple(part.range() for part in parts),
        token_count=int(length.sum()) + WRAP * len(length),
        words=None if rare is None or notes is None else rare.visible(index),
    )


def _foreign_token(
    corpora: Sequence[Corpus], parts: Sequence[PlanRows], spans: Sequence[slice], piece: int
) -> CorpusError:
    number = 0
    while piece >= spans[number].stop - spans[number].start:
        piece -= spans[number].stop - spans[number].start
        number += 1
    part = parts[number]
    corpus, document = corpora[part.source], int(part.plan.document[spans[number]][piece])
    return CorpusError(
        f"{corpus.directory}: {corpus.where(document)}: token id {int(corpus.tokens(document).max()):,}, "
        f"the vocabulary has {corpus.vocabulary_size:,}; run `siliang-pipeline verify` on the corpus"
    )
