"""Decides which steps are not taken: a loss or gradient that is not finite, a gradient that is a spike.

A spike is a batch's. Gradients that stay large from batch to batch while the loss holds belong to where the weights
are, as when a run leaves a plateau: refusing them for ever would keep it there, so they are taken, clipped.
"""

import math
from typing import Any

from trainer.sections.system import GuardConfig

HISTORY = 50
"""Steps before a gradient can be called a spike."""
SMOOTHING = 0.98
"""Decay of the running means of gradient norm and loss."""
HOLDS = 1.1
"""Up to so many times its running mean the loss of refused steps is no worse than before."""
NEVER_HOLDS = 1e30
"""In place of a loss that is not finite, which a checkpoint's JSON could not hold."""


class DivergedError(RuntimeError):
    """The run cannot go on: too many steps were skipped. The message names the batch."""


class Guard:
    """Counts and remembers; its state goes into the checkpoint, so that a resumed run decides the same."""

    def __init__(self, config: GuardConfig) -> None:
        self.config = config
        self.seen = 0
        """Steps in the running mean."""
        self.mean_norm = 0.0
        self.mean_loss = 0.0
        self.in_a_row = 0
        """Steps skipped just now, one after the other."""
        self.refused_loss = 0.0
        """Sum of their losses."""
        self.skipped = 0
        """Steps skipped in all."""
        self.rolled_back = 0

    def judge(self, loss: float, norm: float) -> str | None:
        """Why the step must be skipped, or None. Counts it either way."""
        reason = None
        if not (math.isfinite(loss) and math.isfinite(norm)):
            reason, loss = f"loss {loss:.4g}, gradient norm {norm:.4g}", NEVER_HOLDS
        elif self.config.spike and self.seen >= HISTORY and norm > self.config.spike * self.mean_norm:
            if self._lasts(loss):
                self.forget_norms()
            else:
                times = f"{norm / self.mean_norm:.0f} times its mean"
                reason = f"gradient norm {norm:.4g} is {times}, loss {loss:.4g} (mean {self.mean_loss:.4g})"
        if reason is not None:
            self.in_a_row += 1
            self.refused_loss += loss
            self.skipped += 1
            return reason
        self.in_a_row, self.refused_loss = 0, 0.0
        self.seen += 1
        # Exponential means, corrected while they are short.
        weight = max(1 - SMOOTHING, 1 / self.seen)
        self.mean_norm += weight * (norm - self.mean_norm)
        self.mean_loss += weight * (loss - self.mean_loss)
        return None

    def _lasts(self, loss: float) -> bool:
        """Whether one more refusal would end the patience though the loss holds."""
        if self.in_a_row < max(self.config.patience - 1, 1):
            return False
        return (self.refused_loss + loss) / (self.in_a_row + 1) <= HOLDS * self.mean_loss

    def forget_norms(self) -> None:
        """For a run whose gradients are of another size from now on."""
        self.seen, self.mean_norm, self.mean_loss = 0, 0.0, 0.0

    @property
    def out_of_patience(self) -> bool:
        return self.in_a_row >= self.config.patience

    def state(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "config"}

    def load(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
