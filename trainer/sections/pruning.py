"""Settings of `siliang-trainer compress prune`: flat, `--set rounds=5` or a TOML file."""

from typing import Literal

from pydantic import Field

from trainer.sections.section import Section

NARROW = 512


class PruneConfig(Section):
    """How a model is pruned in rounds, and what it learns in between."""

    rounds: int = Field(default=3, ge=1, le=100)
    """Times that importance is measured, a part cut away and what is left trained."""
    examples: int = Field(default=1024, ge=1)
    """Texts of --valid (of a run: rows of the validation split) that importance is measured on, at most."""
    scope: Literal["model", "layer"] = "model"
    """Whether heads and inner features of all layers compete, or each layer keeps the same share."""
    multiple: int = Field(default=8, ge=1, le=1024)
    """Inner features of a layer stay in multiples of this, which products like."""
    least_share: float = Field(default=0.25, gt=0, le=1)
    """To reach a size or time: below this share of heads and inner features a layer goes rather."""
    epochs: int = Field(default=2, ge=0)
    """Of training after each round but the last."""
    final_epochs: int = Field(default=5, ge=0)
    """After the last one; the best by --valid is kept."""
    steps: int = Field(default=200, ge=0)
    """Of a run, in place of epochs: after each round but the last."""
    final_steps: int = Field(default=1000, ge=0)
    learning_rate: float | None = Field(default=None, gt=0, lt=1)
    """Peak. None: of a classifier 3e-4, or 3e-5 for encoders of width 512 and more; of a run a third of its own."""
    warmup: float = Field(default=0.06, ge=0, lt=1)
    weight_decay: float = Field(default=0.01, ge=0)
    clip_norm: float = Field(default=1.0, ge=0)
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Of a classifier; a run keeps its own."""
    batch_rows: int = Field(default=32, ge=1)
    """Of a classifier; a run keeps its own."""
    batch_tokens: int = Field(default=1 << 14, ge=8)
    teacher_weight: float = Field(default=0.5, ge=0, le=1)
    """Share of the unpruned model's answers in the loss; 0: it is no teacher."""
    teacher_temperature: float = Field(default=2.0, gt=0, le=100)
    metric: Literal["auto", "accuracy", "f1", "matthews", "pearson", "spearman"] = "auto"
    """What the best epoch is chosen by. 'auto': as the classifier was."""
    seed: int = Field(default=0, ge=0, lt=1 << 62)
    device: str = "auto"
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Of training; 'auto' takes what a short matmul at the start finds faster. Importance, time and scores are in
    fp32."""
    threads: int = Field(default=0, ge=0, le=4096)

    def rate(self, width: int) -> float:
        """Of a classifier."""
        return self.learning_rate or (3e-4 if width < NARROW else 3e-5)
