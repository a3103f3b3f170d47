"""Settings of `siliang-trainer finetune`: flat, `--set epochs=5` or a TOML file."""

from typing import Literal

from pydantic import Field, model_validator

from trainer.sections.section import Section

Kind = Literal["classification", "regression", "tokens"]
Metric = Literal["auto", "accuracy", "f1", "matthews", "pearson", "spearman"]
METRICS: dict[Kind, tuple[Metric, ...]] = {
    "classification": ("accuracy", "f1", "matthews"),
    "regression": ("pearson", "spearman"),
    "tokens": ("accuracy", "f1"),
}
"""By kind; the first is what 'auto' takes."""

NARROW = 512
SMALL_RATES = (1e-4, 3e-4, 1e-3)
LARGE_RATES = (2e-5, 3e-5, 5e-5)


class FinetuneConfig(Section):
    """The recipe of the TUPE and TNF papers' released code, with a rate that is searched for."""

    kind: Kind = "classification"
    """One label a text (or pair of texts), one number, or one label a word (words are separated by spaces)."""
    labels: list[str] | None = None
    """The classes, in their order; without it those of the training file, sorted."""
    metric: Metric = "auto"
    """What rates and epochs are chosen by, on the validation file: accuracy, for regression Pearson's correlation."""
    learning_rates: list[float] | None = None
    """Peak rates to try. Without it 2e-5, 3e-5, 5e-5 (BERT's), or 1e-4, 3e-4, 1e-3 for encoders narrower than 512."""
    search_seeds: int = Field(default=1, ge=1)
    """Seeds that every rate is tried with; their median decides."""
    seeds: int = Field(default=5, ge=1, le=100)
    """Seeds that the best rate is trained with: the reported score is their median."""
    seed: int = Field(default=0, ge=0, lt=1 << 62)
    """The first of them."""
    keep: Literal["best", "median"] = "best"
    """Whose weights become the model: the seed that is best on the validation file, or the one in the middle."""
    epochs: int = Field(default=10, ge=1)
    patience: int = Field(default=3, ge=1)
    """Epochs without a better score after which a trial ends. Its best epoch counts."""
    batch_rows: int = Field(default=32, ge=1)
    """Examples of a step; those of like length share one."""
    batch_tokens: int = Field(default=1 << 14, ge=8)
    """Most positions of a step, padding included: longer texts come in smaller batches."""
    warmup: float = Field(default=0.06, ge=0, lt=1)
    """Share of the planned steps over which the rate rises; then it falls linearly to 0."""
    weight_decay: float = Field(default=0.01, ge=0)
    clip_norm: float = Field(default=1.0, ge=0)
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Inside the encoder and before the output, whatever the encoder was trained with."""
    class_weights: Literal["none", "balanced"] = "none"
    """'balanced' weighs an example by the inverse frequency of its class."""
    max_length: int | None = Field(default=None, ge=3)
    """Pieces of an example, special ones included; at most the model's, which is the default."""
    long: Literal["cut", "refuse"] = "cut"
    """What happens to longer texts: their end (of a pair, the longer one's) is cut off and told, or they are errors."""
    notes: Literal["drop", "frozen", "update"] = "drop"
    """Of rare words, where the encoder was trained with them: as if there were none (TNF's default), read as they are,
    or read and written on."""
    notes_gamma: float = Field(default=0.1, gt=0, le=1)
    """Share of a new occurrence in a note that is written on."""
    teacher_weight: float = Field(default=0.5, ge=0, le=1)
    """With --teacher: the share of its answers in the loss; the rest is that of the labels."""
    teacher_temperature: float = Field(default=2.0, gt=0, le=100)
    """With --teacher, of both classifiers' probabilities."""
    device: str = "auto"
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """'auto' takes what a short matmul at the start finds faster; a resumed fine-tuning keeps it."""
    threads: int = Field(default=0, ge=0, le=4096)

    @model_validator(mode="after")
    def _metric(self) -> "FinetuneConfig":
        if self.metric != "auto" and self.metric not in METRICS[self.kind]:
            raise ValueError(f"metric '{self.metric}' is none of {self.kind}: {', '.join(METRICS[self.kind])}")
        if self.labels is not None and (self.kind == "regression" or len(set(self.labels)) < max(2, len(self.labels))):
            raise ValueError("labels: two or more different classes, and none for regression")
        if self.learning_rates is not None and not (
            self.learning_rates and all(0 < rate < 1 for rate in self.learning_rates)
        ):
            raise ValueError("learning_rates: one or more numbers between 0 and 1")
        return self

    @property
    def primary(self) -> str:
        """The metric that decides."""
        return METRICS[self.kind][0] if self.metric == "auto" else self.metric

    def rates(self, width: int) -> list[float]:
        """Distinct rates to try on an encoder of this width, rising."""
        return sorted(set(self.learning_rates or (SMALL_RATES if width < NARROW else LARGE_RATES)))
