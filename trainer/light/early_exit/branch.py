"""A classifier on one layer's states, and how unsure it is.

Shape suffixes: B rows, T positions, D the encoder's width, C the branch's, H its heads, E its head width, K classes.
"""

from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from trainer.model.config import NORM_EPSILON
from trainer.model.encoder import initialise

Pooling = Literal["attention", "mean", "cls"]


class BranchConfig(BaseModel):
    """Shape of all branches of a model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    pooling: Pooling
    width: int = Field(ge=1)
    heads: int = Field(ge=1)

    @model_validator(mode="after")
    def _heads(self) -> "BranchConfig":
        if self.width % self.heads:
            raise ValueError(f"width ({self.width}) must be a multiple of heads ({self.heads})")
        return self


class Branch(nn.Module):
    """FastBERT's branch (arXiv 2004.02178, 3.1.2; heads, tanh and padding mask as in its released code):

        D -> C, tanh, self-attention with 2 heads, its first token, C -> C, tanh, C -> K

    Of the attention only the first token is read, so only that query is computed: the same numbers for less. A layer
    norm comes first, for Pre-LN states are not normalised before the last layer. Pooling "mean" puts the mean over a
    text's pieces in the attention's place, "cls" the first token itself.
    """

    def __init__(self, encoder_width: int, classes: int, config: BranchConfig, std: float, dropout: float = 0.0):
        super().__init__()
        width = config.width
        self.pooling, self.heads = config.pooling, config.heads
        self.norm = nn.LayerNorm(encoder_width, eps=NORM_EPSILON)
        self.down = nn.Linear(encoder_width, width)
        if config.pooling == "attention":
            self.query = nn.Linear(width, width)
            self.key_value = nn.Linear(width, 2 * width)
            self.attended = nn.Linear(width, width)
        self.dense = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(width, classes)
        initialise(self, std)

    def forward(self, h_BTD: Tensor, segments_BT: Tensor) -> Tensor:
        """logits_BK. `segments_BT` is 0 at padding, which has no influence."""
        if self.pooling == "cls":
            h_BTD = h_BTD[:, :1]
        x_BTC = torch.tanh(self.down(self.norm(h_BTD)))
        if self.pooling == "cls":
            x_BC = x_BTC[:, 0]
        elif self.pooling == "mean":
            real_BT1 = (segments_BT != 0).unsqueeze(-1)
            x_BC = (x_BTC * real_BT1).sum(1) / real_BT1.sum(1)
        else:
            x_BC = self._attend(x_BTC, segments_BT != 0)
        return self.out(self.dropout(torch.tanh(self.dense(x_BC))))

    def _attend(self, x_BTC: Tensor, real_BT: Tensor) -> Tensor:
        q_BH1E = self.query(x_BTC[:, :1]).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        k_BHTE, v_BHTE = self.key_value(x_BTC).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        o_BH1E = F.scaled_dot_product_attention(q_BH1E, k_BHTE, v_BHTE, attn_mask=real_BT[:, None, None])
        return self.attended(o_BH1E.flatten(1))


def uncertainty(logits_BK: Tensor, top: int | None = None) -> Tensor:
    """fp32 [B] in [0, 1]: entropy of the classes' probabilities over that of as many equal ones (FastBERT, eq. 6).

    With `top` it is that of the N likeliest classes, their probabilities scaled to sum to 1 and over log N: with many
    classes the whole entropy is near 1 even where one class is sure to win (its authors' advice, N = 5).
    """
    logits_BK = logits_BK.float()
    if top is not None and top < logits_BK.shape[-1]:
        logits_BK = logits_BK.topk(top).values
    logs_BK = logits_BK.log_softmax(-1)
    entropy_B = -(logs_BK.exp() * logs_BK).nan_to_num(0.0).sum(-1)
    return (entropy_B / torch.tensor(float(logits_BK.shape[-1])).log()).clamp(0, 1)
