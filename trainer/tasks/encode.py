"""The one place where a batch becomes the encoder's arguments.

Shape suffixes: B rows, T tokens of a row, D width, M positions that are read, N occurrences of rare words.
"""

from typing import TYPE_CHECKING, Protocol

from torch import Tensor

from trainer.model.encoder import Encoder
from trainer.model.notes import window_means

if TYPE_CHECKING:
    from trainer.data.rare import RareWords


class Rows(Protocol):
    """What an encoder reads of a batch (`trainer.data.batch.Batch` says what the names mean)."""

    @property
    def tokens_BT(self) -> Tensor: ...  # noqa: N802
    @property
    def segments_BT(self) -> Tensor: ...  # noqa: N802
    @property
    def positions_BT(self) -> Tensor: ...  # noqa: N802
    @property
    def words(self) -> "RareWords | None": ...


def encode(
    encoder: Encoder, batch: Rows, tokens_BT: Tensor | None = None, states: list[Tensor] | None = None
) -> Tensor:
    """h_BTD of the batch, or of its rows with other tokens at predicted positions. Notes of its rare words enter where
    the encoder has some. `states` is given what `Encoder.forward` says."""
    tokens_BT = batch.tokens_BT if tokens_BT is None else tokens_BT
    return encoder(tokens_BT, batch.segments_BT, batch.positions_BT, batch.words, states)


def encode_at(encoder: Encoder, batch: Rows, index_M: Tensor) -> Tensor:
    """h_MD at these flat positions; the last layer is worked out for no others."""
    return encoder(batch.tokens_BT, batch.segments_BT, batch.positions_BT, batch.words, read_M=index_M)


def encode_and_see(encoder: Encoder, batch: Rows, index_M: Tensor) -> tuple[Tensor, Tensor | None]:
    """(h_MD at these flat positions, what rare words were seen as). Words are seen by states around them: with some in
    the batch the last layer runs on all positions, but no gradient goes through the others."""
    if batch.words is None:
        return encode_at(encoder, batch, index_M), None
    around: list[Tensor] = []
    h_MD = encoder(batch.tokens_BT, batch.segments_BT, batch.positions_BT, batch.words, read_M=index_M, around=around)
    return h_MD, seen(around[0], batch)


def seen(h_BTD: Tensor, batch: Rows) -> Tensor | None:
    """`TaskOutput.notes_ND`: what the batch's rare words were seen as by the encoder whose states these are."""
    return None if batch.words is None else window_means(h_BTD, batch.words)
