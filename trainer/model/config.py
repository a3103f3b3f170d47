"""The shape of an encoder, as one frozen model."""

import math
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from schemas.vocabulary import FIRST_ORDINARY

Positions = Literal["absolute", "tupe-a"]
Attention = Literal["auto", "concat", "mask", "reference"]

NORM_EPSILON = 1e-5
"""Of every layer norm (fairseq's and torch's default; BERT's 1e-12 underflows in bf16)."""


class ModelConfig(BaseModel):
    """Everything that decides the weights' shapes and what the encoder computes.

    An unknown key or a value out of range is a `pydantic.ValidationError` that names the key.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    vocabulary_size: int = Field(gt=FIRST_ORDINARY)
    """Pieces in the vocabulary, specials included."""
    layers: int = Field(ge=1)
    width: int = Field(ge=1)
    """Size d of a token's hidden state; a multiple of `heads`."""
    heads: int = Field(ge=1)
    feed_forward: int = Field(ge=1)
    """Inner size of the feed-forward block (BERT: 4 x width)."""
    max_length: int = Field(ge=2)
    """Most tokens in one document piece, [CLS] and [SEP] included: positions run over [0, max_length)."""
    norm: Literal["pre", "post"] = "pre"
    """"post": x = LN(x + f(x)), the original BERT. "pre": x = x + f(LN(x)) and one final layer norm
    (Xiong et al. 2020, arXiv 2002.04745)."""
    positions: Positions = "tupe-a"
    """"absolute": learned embeddings added to the tokens. "tupe-a": untied positional scores in the attention
    (Ke et al. 2021, arXiv 2006.15595)."""
    embedding_norm: bool = True
    """Layer norm on the embeddings, as in BERT; fairseq keeps it under Pre-LN too."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """On the embeddings and on the output of each sublayer. Attention weights are never dropped: the fused CPU kernel
    refuses it, and recent encoders (cramming, MosaicBERT, ModernBERT) train without."""
    init_std: float | None = Field(default=None, gt=0)
    """Standard deviation of all Linear and Embedding weights; None takes 0.02 * sqrt(768 / width), see `std`."""
    attention: Attention = "auto"
    """Which exact computation carries the positional term; "auto" takes the fastest one measured for the device
    (`trainer.model.attention.choose_attention`)."""

    @model_validator(mode="after")
    def _check_heads(self) -> "ModelConfig":
        if self.width % self.heads:
            raise ValueError(f"width ({self.width}) must be a multiple of heads ({self.heads})")
        return self

    @property
    def head_width(self) -> int:
        return self.width // self.heads

    @property
    def std(self) -> float:
        """Standard deviation of the initial weights.

        BERT's 0.02 belongs to width 768: a product over `width` inputs then has variance 0.02**2 * 768 = 0.31. The
        default keeps that variance at every width (0.035 at 256, 0.049 at 128). With 0.02 at width 128 the sublayers
        would start 6 times weaker against the residual stream.
        """
        return 0.02 * math.sqrt(768 / self.width) if self.init_std is None else self.init_std
