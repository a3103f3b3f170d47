"""[optimizer] and [schedule]."""

from typing import Literal

from pydantic import Field, model_validator

from trainer.sections.section import Section


class OptimizerConfig(Section):
    """AdamW, or Muon for the layers' matrices and AdamW for the rest."""

    kind: Literal["adamw", "muon"] = "adamw"
    learning_rate: float = Field(default=1e-3, gt=0)
    """Peak of the schedule."""
    muon_learning_rate: float = Field(default=0.02, gt=0)
    """Peak of the schedule for the matrices that Muon updates."""
    muon_momentum: float = Field(default=0.95, ge=0, lt=1)
    betas: tuple[float, float] = (0.9, 0.98)
    eps: float = Field(default=1e-6, gt=0)
    weight_decay: float = Field(default=0.01, ge=0)
    decay: Literal["matrices", "all"] = "matrices"
    """'matrices' spares biases, norms and other 1-d parameters; 'all' is fairseq's way."""
    clip_norm: float = Field(default=1.0, ge=0)
    """Common L2 norm that gradients are scaled down to; 0 switches clipping off."""
    ema: float = Field(default=0.0, ge=0, lt=1)
    """Decay of an exponential moving average of the weights (0: none; 0.999 is usual). Held-out losses and the final
    model are then those of the average."""

    @model_validator(mode="after")
    def _betas(self) -> "OptimizerConfig":
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError("betas must lie in [0, 1)")
        return self


class ScheduleConfig(Section):
    """Length of the run, the learning rate and the batch size over it.

    A run by steps or tokens is reproducible bit for bit on one machine. A run by seconds is not: its learning rate
    follows the clock (training seconds: steps and their data, without evaluation and checkpoints), and so does its end.
    """

    by: Literal["steps", "tokens", "seconds"] = "steps"
    steps: int = Field(default=5000, ge=1)
    tokens: int = Field(default=10_000_000, ge=1)
    seconds: float = Field(default=1200.0, gt=0)
    warmup: float = Field(default=0.02, ge=0, lt=1)
    """Share of the run over which the rate rises to its peak."""
    decay: Literal["linear", "cosine", "constant", "wsd", "one-cycle"] = "linear"
    """What follows the warm-up. 'wsd' (warm-up, stable, decay) keeps the peak until the last `cooldown` of the run;
    'one-cycle' rises from a 25th of the peak and falls, both by a cosine (Smith 2018)."""
    cooldown: float = Field(default=0.2, gt=0, le=1)
    """Share of the run over which 'wsd' falls."""
    final: float = Field(default=0.0, ge=0, le=1)
    """Share of the peak rate that is left at the end."""
    batch_ramp: float = Field(default=0.0, ge=0, le=1)
    """Share of the run over which a step grows from `batch_start` rows to data.batch_rows; 0: the full batch always."""
    batch_start: int = Field(default=1, ge=1)
    """Rows of the first step of a ramp; the batch grows by as many at a time."""
