"""[data]: rows, sources, masks."""

from typing import Literal

from pydantic import Field, model_validator

from trainer.data.masking import MOST_TICKETS, Masking
from trainer.sections.section import Section


class SourceConfig(Section):
    """One corpus of a mixture: a `[[data.sources]]` table."""

    path: str
    """Output of `siliang-pipeline prepare`: a directory, or a URL (s3://, gs://, https://)."""
    weight: float | None = Field(default=None, ge=0)
    """Its share of the rows is its weight over the sum of all; without one, its tokens times its epochs."""
    epochs: int | None = Field(default=None, ge=1)
    """Times that it is passed; then the other sources take its place. Without one it is passed again and again."""


class WeightsConfig(Section):
    """New weights of all sources from a step on: a `[[data.weights]]` table."""

    step: int = Field(ge=1)
    weights: list[float]
    """One for each source, in their order."""


class DataConfig(Section):
    sequence_length: int = Field(default=128, ge=3, le=1 << 16)
    """Tokens of a row; documents are packed into rows, [CLS] and [SEP] around each."""
    batch_rows: int = Field(default=16, ge=1)
    """Rows of one optimiser step, over all micro-batches and processes."""
    sources: list[SourceConfig] = []
    """More corpora beside those of the command line, or weights and epochs of those."""
    weights: list[WeightsConfig] = []
    """Weights of the sources that hold from a step on."""
    order: Literal["full", "blocks"] = "full"
    """'full' shuffles all documents; 'blocks' runs of `block_documents` of them, 16 runs together, so that what is read
    at a time lies in few shards (remote or spinning storage)."""
    block_documents: int = Field(default=1024, ge=1)
    curriculum_epochs: int = Field(default=0, ge=0)
    """Epochs in which short documents come before long ones."""
    cache: str = "~/.cache/siliang"
    """Where shards of remote corpora are kept."""
    cache_gb: float = Field(default=50.0, gt=0)
    """Bound of each remote corpus's shards there, in 10^9 bytes."""
    mask_rate: float = Field(default=0.15, gt=0, le=1)
    """Share of the tokens that is predicted."""
    mask_rate_final: float | None = Field(default=None, gt=0, le=1)
    """The rate goes linearly to this one over the first `mask_rate_steps` steps (0.30 to 0.15 is usual)."""
    mask_rate_steps: int = Field(default=0, ge=0)
    mask_unit: Literal["piece", "word", "span"] = "piece"
    """What is chosen: single pieces, whole words, or spans of words of geometric length (SpanBERT)."""
    mask_rare: Literal["plain", "mask", "spare"] = "plain"
    """Rare words of the shards: like any other, masked before all others, or never masked."""
    mask_bands: tuple[int, ...] = ()
    """More of the rare pieces, at the same rate over all: tickets in the draw by band of frequency, most frequent band
    first; each band holds an equal share of all tokens. [1, 2, 4] asks mostly for the rarer two thirds."""
    mask_share: float = Field(default=0.8, ge=0, le=1)
    """Of those, the share that becomes [MASK]; what is neither masked nor random stays as it is."""
    random_share: float = Field(default=0.1, ge=0, le=1)
    window_documents: int = Field(default=1024, ge=1)
    """Consecutive documents of the shuffled order that are packed together."""
    workers: int = Field(default=0, ge=0, le=64)
    """Loader workers. The batches are the same for any number."""

    def masking(self) -> Masking:
        return Masking(
            rate=self.mask_rate,
            mask_share=self.mask_share,
            random_share=self.random_share,
            unit=self.mask_unit,
            rare=self.mask_rare,
            final_rate=self.mask_rate_final,
            bands=self.mask_bands,
            schedule_rows=self.mask_rate_steps * self.batch_rows,
        )

    @model_validator(mode="after")
    def _schedules(self) -> "DataConfig":
        if (self.mask_rate_final is None) != (self.mask_rate_steps == 0):
            raise ValueError("mask_rate_final and mask_rate_steps go together")
        if self.mask_rate_steps * self.batch_rows >= 1 << 30:
            raise ValueError("mask_rate_steps times batch_rows must be below 2^30")
        steps = [change.step for change in self.weights]
        if steps != sorted(set(steps)):
            raise ValueError(f"weights change at steps {steps}: they must rise")
        if len({source.path for source in self.sources}) < len(self.sources):
            raise ValueError("sources: a path is given twice")
        return self

    @model_validator(mode="after")
    def _bands(self) -> "DataConfig":
        if self.mask_bands and (len(self.mask_bands) < 2 or not all(1 <= t <= MOST_TICKETS for t in self.mask_bands)):
            raise ValueError(
                f"mask_bands {list(self.mask_bands)}: two bands or more, each of 1 to {MOST_TICKETS} tickets"
            )
        return self

    @model_validator(mode="after")
    def _shares(self) -> "DataConfig":
        if self.mask_share + self.random_share > 1 + 1e-9:
            raise ValueError("mask_share + random_share must not be above 1")
        return self
