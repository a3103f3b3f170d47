"""Settings of `siliang-trainer compress early-exit`: flat, `--set epochs=5` or a TOML file."""

from typing import Literal

from pydantic import Field, model_validator

from trainer.sections.section import Section

NARROW = 512
MANY_CLASSES = 10
TOP_CLASSES = 5


class EarlyExitConfig(Section):
    """FastBERT's recipe (Liu et al., ACL 2020, arXiv 2004.02178) with what its released code had wrong put right."""

    exits: list[int] | None = None
    """Layers behind which a text may leave; 0 is the embeddings, before the first layer. None: every layer but the
    last, whose classifier is the fine-tuned one."""
    pooling: Literal["attention", "mean", "cls"] = "attention"
    """What a branch reads of a layer: an attention of its own from [CLS] over all pieces (FastBERT), their mean, or
    the state of [CLS] alone."""
    width: int | None = Field(default=None, ge=1)
    """Of a branch. None: 128 (FastBERT's), or half the encoder's where that is less."""
    heads: int = Field(default=2, ge=1)
    """Of a branch's attention."""
    top_classes: int | None = Field(default=None, ge=2)
    """Uncertainty is the entropy over so many of the likeliest classes (FastBERT's authors for many classes, where that
    over all is near 1 throughout). None: all of up to 10 classes, 5 of more."""
    epochs: int = Field(default=5, ge=1)
    """Each branch keeps its best epoch."""
    learning_rate: float | None = Field(default=None, gt=0, lt=1)
    """Peak. None: 2e-4 (FastBERT's), or 1e-3 for encoders narrower than 512."""
    warmup: float = Field(default=0.1, ge=0, lt=1)
    """Share of all steps over which the rate rises; then it falls linearly to 0 at the last step."""
    weight_decay: float = Field(default=0.01, ge=0)
    clip_norm: float = Field(default=1.0, ge=0)
    """Of each branch's gradient by itself."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Inside the branches. The frozen model is never dropped out."""
    temperature: float = Field(default=1.0, gt=0)
    """Of both distributions while branches learn."""
    label_share: float = Field(default=0.0, ge=0, le=1)
    """Share of the labels' cross-entropy in the loss; the rest is the divergence from the fine-tuned head."""
    batch_rows: int = Field(default=32, ge=1)
    batch_tokens: int = Field(default=1 << 14, ge=8)
    """Most positions of a step, padding included."""
    long: Literal["cut", "refuse"] = "cut"
    """What happens to texts that are longer than the classifier reads."""
    metric: Literal["auto", "accuracy", "f1", "matthews"] = "auto"
    """Whose points `--lose` counts. 'auto': the one that the classifier was chosen by."""
    latency_batches: list[int] = [1, 32]
    """Texts in a batch, at which time is measured."""
    latency_seconds: float = Field(default=10.0, ge=0)
    """Spent on measuring time, about; 0 leaves it out."""
    seed: int = Field(default=0, ge=0, lt=1 << 62)
    device: str = "auto"
    threads: int = Field(default=0, ge=0, le=4096)

    @model_validator(mode="after")
    def _lists(self) -> "EarlyExitConfig":
        if self.exits is not None and (not self.exits or sorted(set(self.exits)) != self.exits or self.exits[0] < 0):
            raise ValueError("exits: different numbers of layers, rising, 0 for the embeddings")
        if sorted(set(self.latency_batches)) != self.latency_batches or (self.latency_batches or [0])[0] < 1:
            raise ValueError("latency_batches: different numbers from 1, rising")
        return self

    def branch_width(self, encoder_width: int) -> int:
        """A multiple of `heads`."""
        wanted = self.width or min(128, encoder_width // 2)
        return max(wanted // self.heads, 1) * self.heads

    def rate(self, encoder_width: int) -> float:
        return self.learning_rate or (1e-3 if encoder_width < NARROW else 2e-4)

    def top(self, classes: int) -> int | None:
        if self.top_classes is not None:
            return self.top_classes if self.top_classes < classes else None
        return TOP_CLASSES if classes > MANY_CLASSES else None
