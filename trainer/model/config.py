"""The shape of an encoder, as one frozen model."""

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
    embedding_norm: bool | None = None
    """Layer norm on the embeddings; None: with Post-LN as in BERT, not with Pre-LN (fairseq allows it there too).
    See `init_std` for what it costs Pre-LN."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """On the embeddings and on the output of each sublayer. Attention weights are never dropped: the fused CPU kernel
    refuses it, and recent encoders (cramming, MosaicBERT, ModernBERT) train without."""
    init_std: float = Field(default=0.02, gt=0)
    """Standard deviation of all Linear and Embedding weights (BERT's). A value scaled up for small widths was worse:
    preset tiny (width 128), 3,000 steps of 16 rows on books, held-out loss in nats of two seeds, unigram entropy 6.35:

        init_std   with embedding norm   without
        0.02       4.34  4.41              -   4.28
        0.049      4.42  4.57            4.36  4.42     (0.02 * sqrt(768 / width))
        0.06       4.56    -
    """
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
    def normalises_embeddings(self) -> bool:
        """`embedding_norm`, decided."""
        return self.norm == "post" if self.embedding_norm is None else self.embedding_norm
