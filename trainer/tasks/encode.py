"""The one place where a batch becomes the encoder's arguments.

Shape suffixes: B rows, T tokens of a row, D width, N occurrences of rare words.
"""

from typing import TYPE_CHECKING

from torch import Tensor

from trainer.model.encoder import Encoder
from trainer.model.notes import window_means

if TYPE_CHECKING:
    from trainer.data.batch import Batch


def encode(
    encoder: Encoder, batch: "Batch", tokens_BT: Tensor | None = None, states: list[Tensor] | None = None
) -> Tensor:
    """h_BTD of the batch, or of its rows with other tokens at predicted positions. Notes of its rare words enter where
    the encoder has some. `states` is given what `Encoder.forward` says."""
    tokens_BT = batch.tokens_BT if tokens_BT is None else tokens_BT
    return encoder(tokens_BT, batch.segments_BT, batch.positions_BT, batch.words, states)


def seen(h_BTD: Tensor, batch: "Batch") -> Tensor | None:
    """`TaskOutput.notes_ND`: what the batch's rare words were seen as by the encoder whose states these are."""
    return None if batch.words is None else window_means(h_BTD, batch.words)
