"""Notes of rare words, as the encoder sees them (Taking Notes on the Fly, Wu et al., ICLR 2021, arXiv 2008.01466).

A note is what an encoder's final states around a word were, on average; at its next occurrence it enters the input.
Shape suffixes: B rows, T tokens of a row, D width, W words of the dictionary, N occurrences of words in a
batch, P tokens of them.
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainer.model.note_config import NoteConfig

if TYPE_CHECKING:
    from trainer.data.rare import RareWords


class NoteTable(nn.Module):
    """The dictionary: fp32 buffers, which no optimiser, weight decay, average of weights or DDP broadcast touches and
    FSDP leaves whole. In `state_dict`, so in checkpoints."""

    table_WD: Tensor
    taken_W: Tensor
    """int64: occurrences that each note was taken from; 0 is a word without a note."""

    def __init__(self, config: NoteConfig, width: int) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("table_WD", torch.zeros(config.words, width))
        self.register_buffer("taken_W", torch.zeros(config.words, dtype=torch.int64))

    def noted(self, word_P: Tensor) -> Tensor:
        """bool [P]: whether a note enters at the tokens of these words."""
        if self.config.filled_only:
            return self.taken_W.index_select(0, word_P) > 0
        return torch.ones_like(word_P, dtype=torch.bool)

    def mix(self, x_BTD: Tensor, words: "RareWords") -> Tensor:
        """(1 - lambda) x + lambda note at the tokens of words with a note; every other token's bits as they were."""
        x_PD = x_BTD.flatten(0, 1).index_select(0, words.token_P)
        note_PD = self.table_WD.index_select(0, words.word_P).to(x_BTD.dtype)
        if self.config.scale == "input":
            length_P1 = x_PD.detach().norm(dim=-1, keepdim=True)
            note_PD = note_PD * (length_P1 / note_PD.norm(dim=-1, keepdim=True).clamp(min=1e-12))
        share_P1 = (self.noted(words.word_P).to(x_BTD.dtype) * self.config.share).unsqueeze(-1)
        mixed_PD = x_PD + share_P1 * (note_PD - x_PD)
        return x_BTD.flatten(0, 1).index_copy(0, words.token_P, mixed_PD).view_as(x_BTD)


def window_means(h_BTD: Tensor, words: "RareWords") -> Tensor:
    """fp32 [N, D], without a graph: mean of the states from `half_window` tokens before each word to as many behind it.

    A true mean; the paper's divisor 2k + t - s is one short of the number of terms. Each mean is summed in the order of
    its tokens, whatever else is in the batch. (On CPU 13 times as fast as differences of cumulated sums over the row:
    32 x 128 x 256, 256 words, 1.6 against 21 ms.)
    """
    with torch.autocast(h_BTD.device.type, enabled=False):
        flat = h_BTD.detach().float().flatten(0, 1)
        return F.embedding_bag(words.window_K, flat, words.bag_N, mode="mean")
