"""The shape of an encoder, as one frozen model."""

from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from schemas.vocabulary import FIRST_ORDINARY
from trainer.model.note_config import NoteConfig

Positions = Literal["absolute", "sinusoidal", "tupe-a", "tupe-r", "bert-r", "rope", "alibi"]
Attention = Literal["auto", "concat", "mask", "written", "flex", "reference"]

ADDED: Final[frozenset[Positions]] = frozenset({"absolute", "sinusoidal", "bert-r"})
"""Positions that put something into the encoder's input."""
BUCKETED: Final[frozenset[Positions]] = frozenset({"tupe-r", "bert-r"})
"""Positions with a learned score for each bucket of distances."""
UNTIED: Final[frozenset[Positions]] = frozenset({"tupe-a", "tupe-r"})
"""TUPE: scores of positions apart from the content's, [CLS] untied, everything over sqrt(2 C)."""

NORM_EPSILON = 1e-5
"""Of every layer norm (fairseq's and torch's default; BERT's 1e-12 underflows in bf16)."""


class LayerShape(BaseModel):
    """A layer from which something was cut away."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    heads: tuple[int, ...] = Field(min_length=1)
    """Which of the model's heads it still has, rising: each has its width, and its scores of positions."""
    feed_forward: int = Field(ge=1)


class ModelConfig(BaseModel):
    """Everything that decides the weights' shapes and what the encoder computes.

    An unknown key or a value out of range is a `pydantic.ValidationError` that names the key.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

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
    norm: Literal["pre", "post", "pre-extra"] = "pre"
    """"post": x = LN(x + f(x)), the original BERT. "pre": x = x + f(LN(x)) and one final layer norm
    (Xiong et al. 2020, arXiv 2002.04745). "pre-extra": "pre" with a norm after the attention and one after the GELU
    (NormFormer, Shleifer et al. 2021, arXiv 2110.09456)."""
    head_scale: bool = False
    """A learned factor per head before the attention's output projection, NormFormer's third addition; with
    "pre-extra" only."""
    residual_init: Literal["plain", "scaled"] = "plain"
    """"scaled": weights that write into the residual stream start at init_std / sqrt(2 layers) (GPT-2)."""
    positions: Positions = "tupe-a"
    """"absolute": learned embeddings added to the tokens (BERT). "sinusoidal": fixed ones times a learned number.
    "tupe-a", "tupe-r": untied positional scores in the attention, absolute or absolute and relative (Ke et al. 2021,
    arXiv 2006.15595). "bert-r": "absolute" and T5's relative scores. "rope": rotated queries and keys (Su et al. 2021,
    arXiv 2104.09864). "alibi": scores that fall with the distance, the same to both sides (Press et al. 2022)."""
    position_std: float | None = Field(default=None, gt=0)
    """Size of what absolute, sinusoidal and bert-r positions add to the tokens' embeddings: standard deviation of the
    learned table, root mean square of the sinusoids at the start. None: `init_std`, as the tokens."""
    position_start: Literal["normal", "sinusoidal"] = "normal"
    """What the table of tupe-a and tupe-r starts from: "normal", N(0, init_std), as published, or "sinusoidal", sines
    and cosines of full size, learned from there on."""
    embedding_norm: bool = True
    """Layer norm on the embeddings, as in BERT and fairseq; ModernBERT has it under Pre-LN as well. Without it Pre-LN
    loses 0.17 nats in the fair test (900 s): what its first layers add is larger than the words."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """On the embeddings and on the output of each sublayer. Attention weights are never dropped: the fused CPU kernel
    refuses it, and recent encoders (cramming, MosaicBERT, ModernBERT) train without."""
    init_std: float = Field(default=0.02, gt=0)
    """Standard deviation of all Linear and Embedding weights (BERT's). A value scaled up for small widths was worse:
    preset tiny (Pre-LN), 3,000 steps of 16 rows on books, held-out loss in nats of two seeds, unigram entropy 6.35:

        init_std   with embedding norm   without
        0.02       4.34  4.41              -   4.28
        0.049      4.42  4.57            4.36  4.42     (0.02 * sqrt(768 / width))
        0.06       4.56    -
    """
    attention: Attention = "auto"
    """Which exact computation carries the positional term; "auto" takes the fastest one measured for the device
    (`trainer.model.choice.choose_attention`). "concat" needs a term that is a product: not bert-r, tupe-r, alibi."""
    notes: NoteConfig | None = None
    """The dictionary of notes of rare words; None: none. Set from the section [notes], not in [model]."""

    shapes: tuple[LayerShape, ...] | None = None
    """Of a pruned model: what each layer still has; `heads` and `feed_forward` are then those of the unpruned one.
    None: all layers have all. Set by `compress prune`, not in [model]."""

    @model_validator(mode="before")
    @classmethod
    def _decide_old(cls, values: Any) -> Any:
        """Files of before the default was decided say null, which was: with Post-LN alone."""
        if isinstance(values, dict) and values.get("embedding_norm", True) is None:
            return values | {"embedding_norm": values.get("norm", "pre") == "post"}
        return values

    @model_validator(mode="after")
    def _check_shapes(self) -> "ModelConfig":
        if self.shapes is None:
            return self
        if len(self.shapes) != self.layers:
            raise ValueError(f"shapes of {len(self.shapes)} layers, there are {self.layers}")
        for number, shape in enumerate(self.shapes):
            heads = list(shape.heads)
            if sorted(set(heads)) != heads or heads[0] < 0 or heads[-1] >= self.heads:
                raise ValueError(f"layer {number}: heads {heads}: must be different numbers below {self.heads}, rising")
            if shape.feed_forward > self.feed_forward:
                raise ValueError(f"layer {number}: feed_forward {shape.feed_forward} is above {self.feed_forward}")
        return self

    @model_validator(mode="after")
    def _check_heads(self) -> "ModelConfig":
        if self.width % self.heads:
            raise ValueError(f"width ({self.width}) must be a multiple of heads ({self.heads})")
        if self.positions == "rope" and self.head_width % 2:
            raise ValueError(f"positions 'rope' rotates pairs: width / heads ({self.head_width}) must be even")
        return self

    @model_validator(mode="after")
    def _check_combinations(self) -> "ModelConfig":
        if self.head_scale and self.norm != "pre-extra":
            raise ValueError(f"head_scale goes with norm 'pre-extra' alone, not with '{self.norm}'")
        if self.position_std is not None and self.positions not in ADDED:
            raise ValueError(
                f"position_std has no meaning for positions '{self.positions}', which add nothing to the embeddings; "
                f"it goes with {', '.join(sorted(ADDED))}"
            )
        if self.position_start != "normal" and self.positions not in UNTIED:
            raise ValueError(
                f"position_start '{self.position_start}' goes with positions {', '.join(sorted(UNTIED))}, not with "
                f"'{self.positions}'"
            )
        if self.attention == "concat" and self.positions in BUCKETED | {"alibi"}:
            raise ValueError(
                f"attention 'concat' cannot carry positions '{self.positions}': a score by distance is no product of "
                "few features; use auto, mask, written or flex"
            )
        return self

    @property
    def head_width(self) -> int:
        return self.width // self.heads

    def shape(self, layer: int) -> LayerShape:
        """What a layer has."""
        if self.shapes is not None:
            return self.shapes[layer]
        return LayerShape(heads=tuple(range(self.heads)), feed_forward=self.feed_forward)

    @property
    def score_width(self) -> int:
        """Scores are over the root of this: C, or with TUPE 2 C, for it sums two scores."""
        return self.head_width * (2 if self.positions in UNTIED else 1)

    @property
    def residual_std(self) -> float:
        """Standard deviation at the start of the weights that write into the residual stream. A model that grows has
        another one afterwards."""
        return self.init_std / (2 * self.layers) ** 0.5 if self.residual_init == "scaled" else self.init_std
