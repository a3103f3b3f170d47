"""Rows of packing plans, filled with tokens, masked, and handed over as torch tensors.

Shapes: B rows, T positions in a row, M predicted positions in the batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

from trainer.data.kernels import WRAP, fill, mask
from trainer.data.masking import Masking, window_key
from trainer.data.packing import Plan
from trainer.data.shards import Corpus, CorpusError


class RowRange(NamedTuple):
    """Rows [first, last) of one window of one epoch."""

    epoch: int
    window: int
    first: int
    last: int


@dataclass(frozen=True)
class PlanRows:
    """Rows [first, last) of a plan."""

    plan: Plan
    first: int
    last: int

    def __len__(self) -> int:
        return self.last - self.first

    def range(self) -> RowRange:
        return RowRange(self.plan.epoch, self.plan.window, self.first, self.last)


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
    """Where the rows come from, in row order; more than one range where the batch crosses windows."""
    token_count: int
    """Positions that are not padding."""

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
        return "; ".join(f"epoch {p.epoch}, window {p.window}, rows {p.first}-{p.last - 1}" for p in self.source)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Self:
        """The same batch with its tensors on `device`."""
        names = ("tokens_BT", "segments_BT", "positions_BT", "target_index_M", "target_M")
        return replace(self, **{name: getattr(self, name).to(device, non_blocking=non_blocking) for name in names})


def collate(corpus: Corpus, parts: Sequence[PlanRows], masking: Masking) -> Batch:
    """The rows of `parts`, one below the other. Masks depend on each row's own (seed, epoch, window, row) alone.

    Raises CorpusError, naming shard and row, where a token id is not in the vocabulary.
    """
    rows = sum(map(len, parts))
    length = parts[0].plan.sequence_length
    tokens, segments, positions = (np.empty((rows, length), dtype=np.int64) for _ in range(3))
    rate, mask_below, random_below = (np.uint64(t) for t in masking.thresholds())
    # One more than rate * ordinary pieces is the most that a row can be asked for, but never more than it holds.
    index = np.empty(min(rows * length, int(masking.rate * rows * length) + 2 * rows), dtype=np.int64)
    target = np.empty_like(index)
    item = np.empty(0, dtype=corpus.token_dtype)
    row0 = m = token_count = 0
    for part in parts:
        plan = part.plan
        first_piece = plan.first_piece[part.first : part.last + 1]
        pieces = slice(int(first_piece[0]), int(first_piece[-1]))
        address = corpus.addresses[plan.document[pieces]]
        address += plan.offset[pieces].astype(np.uint64) * np.uint64(corpus.token_dtype.itemsize)
        here = slice(row0, row0 + len(part))
        bad = fill(
            address, plan.length[pieces], first_piece, item, corpus.vocabulary_size,
            tokens[here], segments[here], positions[here],
        )  # fmt: skip
        if bad >= 0:
            document = int(plan.document[pieces][bad])
            found = int(corpus.tokens(document).max())
            raise CorpusError(
                f"{corpus.directory}: {corpus.where(document)}: token id {found:,}, "
                f"the vocabulary has {corpus.vocabulary_size:,}; run `siliang-pipeline verify` on the corpus"
            )
        m = mask(
            tokens[here], np.uint64(window_key(plan.seed, plan.epoch, plan.window)), part.first,
            rate, mask_below, random_below, corpus.vocabulary_size, row0 * length, index, target, m,
        )  # fmt: skip
        row0 += len(part)
        token_count += int(plan.length[pieces].sum()) + WRAP * (pieces.stop - pieces.start)
    return Batch(
        tokens_BT=torch.from_numpy(tokens),
        segments_BT=torch.from_numpy(segments),
        positions_BT=torch.from_numpy(positions),
        target_index_M=torch.from_numpy(index[:m]),
        target_M=torch.from_numpy(target[:m]),
        source=tuple(part.range() for part in parts),
        token_count=token_count,
    )
