"""Packs documents into rows of T tokens, window by window, from their lengths alone.

The epoch's order is cut in windows of W consecutive positions. What lies in a window, and in which row, is a pure
function of (seed, epoch, window): any row of any epoch is found without walking what comes before it, so a place in the
stream is three integers. Inside a window pieces are packed best-fit decreasing (Johnson 1973: at most 11/9 of the
fewest rows possible), and the rows are put in a keyed order, so that long and short documents are mixed in a batch.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trainer.data.counter import Purpose, key
from trainer.data.kernels import WRAP, best_fit, cut
from trainer.data.order import keyed_order, order

WINDOW_DOCUMENTS: Final = 1024

SHORTEST_ROW: Final = WRAP + 1


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


def windows(documents: int, window_documents: int = WINDOW_DOCUMENTS) -> int:
    """Windows of an epoch; the last one may be shorter."""
    return -(-documents // window_documents)


def plan_window(
    seed: int,
    epoch: int,
    window: int,
    lengths: NDArray[np.int64],
    sequence_length: int,
    window_documents: int = WINDOW_DOCUMENTS,
) -> Plan:
    """The rows of window `window`; documents of length 0 are left out, longer ones than T - 2 cut in pieces of T - 2.

    `lengths` are those of all documents of the corpus. Raises ValueError for a window outside the epoch or a
    sequence too short to hold [CLS], one token and [SEP].
    """
    count = windows(len(lengths), window_documents)
    if not 0 <= window < count:
        raise ValueError(f"window {window} of an epoch of {count:,} windows")
    if sequence_length < SHORTEST_ROW:
        raise ValueError(f"sequence_length {sequence_length}: must be {SHORTEST_ROW} or more ([CLS], a token, [SEP])")
    first = window * window_documents
    last = min(first + window_documents, len(lengths))
    documents = order(seed, epoch, np.arange(first, last), len(lengths))
    document, offset, length = cut(documents, lengths[documents], sequence_length - WRAP)
    row_of_piece, rows = best_fit(length, sequence_length)
    row_of_piece = keyed_order(key(Purpose.ROWS, seed, epoch, window), row_of_piece, rows)
    # Stable: within a row the pieces keep the epoch's order.
    by_row = np.argsort(row_of_piece, kind="stable")
    first_piece = np.zeros(rows + 1, dtype=np.int64)
    np.cumsum(np.bincount(row_of_piece, minlength=rows), out=first_piece[1:])
    return Plan(seed, epoch, window, sequence_length, document[by_row], offset[by_row], length[by_row], first_piece)
