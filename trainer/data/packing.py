"""Packs documents into rows of T tokens, window by window.

The epoch's order is cut in windows of W consecutive positions. What lies in a window, and in which row, is a pure
function of (seed, epoch, window): any row of any epoch is found without walking what comes before it, so a place in the
stream is a few integers. The number of rows follows from the documents' lengths alone.

Documents that fit a row stay whole and are packed best-fit decreasing (Johnson 1973: at most 11/9 of the fewest rows
possible). Longer ones are cut, at sentence ends, to fill what the others leave free (`packing_kernels`). The rows are
put in a keyed order, so that long and short documents are mixed in a batch.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trainer.data.counter import Purpose, key
from trainer.data.marks import Marks
from trainer.data.order import Order, keyed_order
from trainer.data.packing_kernels import WRAP, cut_to_fit, lay_out

WINDOW_DOCUMENTS: Final = 1024

SHORTEST_ROW: Final = WRAP + 1

Locate = Callable[[NDArray[np.int64]], tuple[NDArray[np.uint64], Any]]
"""Documents -> (memory address of each one's first token, what keeps the addresses valid)."""


def least_part(sequence_length: int) -> int:
    """Fewest tokens that a cut leaves on either side, where the row count allows: T / 8, at most 32."""
    return max(1, min(32, sequence_length // 8))


@dataclass(frozen=True)
class Plan:
    """The rows of one window. Piece p is tokens [offset[p], offset[p] + length[p]) of document[p].

    Row r holds pieces [first_piece[r], first_piece[r + 1]), each wrapped as [CLS] tokens [SEP].
    """

    seed: int
    epoch: int
    window: int
    sequence_length: int
    document: NDArray[np.int64]
    offset: NDArray[np.int64]
    length: NDArray[np.int64]
    """Without [CLS] and [SEP]."""
    first_piece: NDArray[np.int64]
    address: NDArray[np.uint64]
    """Where in memory each piece's document begins."""
    keep: Any = None
    """What keeps the addresses valid."""

    @property
    def rows(self) -> int:
        return len(self.first_piece) - 1

    @property
    def token_count(self) -> int:
        """Tokens of all rows, [CLS] and [SEP] included, padding not."""
        return int(self.length.sum()) + WRAP * len(self.length)

    @property
    def padding(self) -> float:
        """Share of the rows' positions that is padding."""
        return 1 - self.token_count / (self.rows * self.sequence_length) if self.rows else 0.0


@dataclass(frozen=True)
class Packer:
    """Plans of a corpus: its lengths, the order of its documents, and how rows are made of them.

    Raises ValueError for a sequence too short to hold [CLS], one token and [SEP].
    """

    lengths: NDArray[np.int64]
    """Of all documents of the corpus."""
    order: Order
    sequence_length: int
    marks: Marks
    token_dtype: np.dtype[Any]
    locate: Locate
    window_documents: int = WINDOW_DOCUMENTS
    wanted_next: Callable[[NDArray[np.int64], NDArray[np.int64]], None] | None = None
    """Told the documents of the window after, and of this one, before they are located."""

    def __post_init__(self) -> None:
        if self.sequence_length < SHORTEST_ROW:
            raise ValueError(
                f"sequence_length {self.sequence_length}: must be {SHORTEST_ROW} or more ([CLS], a token, [SEP])"
            )
        if self.window_documents < 1:
            raise ValueError(f"window_documents {self.window_documents}: must be 1 or more")

    @property
    def windows(self) -> int:
        """Windows of an epoch; the last one may be shorter."""
        return -(-len(self.lengths) // self.window_documents)

    @property
    def least(self) -> int:
        return least_part(self.sequence_length)

    def documents(self, epoch: int, window: int) -> NDArray[np.int64]:
        """The documents of a window in the epoch's order, empty ones left out. Raises ValueError outside the epoch."""
        if not 0 <= window < self.windows:
            raise ValueError(f"window {window} of an epoch of {self.windows:,} windows")
        first = window * self.window_documents
        last = min(first + self.window_documents, len(self.lengths))
        documents = self.order(epoch, np.arange(first, last))
        return documents[self.lengths[documents] > 0]

    def following(self, epoch: int, window: int) -> tuple[int, int]:
        """(epoch, window) after these."""
        return (epoch, window + 1) if window + 1 < self.windows else (epoch + 1, 0)

    def fetch_ahead(self, epoch: int, window: int) -> None:
        """Says what will be read after this window."""
        if self.wanted_next is not None:
            self.wanted_next(self.documents(*self.following(epoch, window)), self.documents(epoch, window))

    def rows(self, epoch: int, window: int) -> int:
        """Rows of a window, from lengths alone."""
        lengths = self.lengths[self.documents(epoch, window)]
        return int(lay_out(lengths, self.sequence_length, self.least)[-1])

    def plan(self, epoch: int, window: int) -> Plan:
        """The rows of a window. Each token of its documents lies in exactly one of them."""
        documents = self.documents(epoch, window)
        lengths = self.lengths[documents]
        addresses, keep = self.locate(documents)
        row_of, free, whole, rows = lay_out(lengths, self.sequence_length, self.least)
        fluid, solid = np.flatnonzero(row_of < 0), np.flatnonzero(row_of >= 0)
        # Rows of nothing but cut documents first: none of them may stay empty.
        hole = np.concatenate([np.arange(whole, rows), np.flatnonzero(free[:whole] >= self.least + WRAP)])
        k, offset, length, row, lost = cut_to_fit(
            addresses[fluid], lengths[fluid], np.empty(0, dtype=self.token_dtype), self.marks.flags,
            hole, free[hole], rows - whole, self.least,
        )  # fmt: skip
        if lost:
            raise RuntimeError(f"epoch {epoch}, window {window}: {lost} tokens found no row; please report this corpus")
        place = np.concatenate([solid, fluid[k]])
        row_of_piece = np.concatenate([row_of[solid], row])
        seed = self.order.seed
        row_of_piece = keyed_order(key(Purpose.ROWS, seed, epoch, window), row_of_piece, rows)
        # By row; within a row the pieces keep the epoch's order.
        by_row = np.lexsort((place, row_of_piece))
        first_piece = np.zeros(rows + 1, dtype=np.int64)
        np.cumsum(np.bincount(row_of_piece, minlength=rows), out=first_piece[1:])
        place = place[by_row]
        return Plan(
            seed=seed,
            epoch=epoch,
            window=window,
            sequence_length=self.sequence_length,
            document=documents[place],
            offset=np.concatenate([np.zeros(len(solid), dtype=np.int64), offset])[by_row],
            length=np.concatenate([lengths[solid], length])[by_row],
            first_piece=first_piece,
            address=addresses[place],
            keep=keep,
        )
