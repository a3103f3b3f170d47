"""Adaptive difficulty: the task is made harder or easier until the main network succeeds at a chosen rate."""

import math
from collections.abc import Mapping
from typing import Any, Literal

Steered = Literal["temperature", "candidates", "mask-rate"]

SUCCESS = "replaced_accuracy"
"""The part that is steered by."""


class Difficulty:
    """An integral controller with bounds (a `Method`).

        success <- decay * success + (1 - decay) * rate of this step
        level   <- clip(level + gain * (success - target), 0, 1)

    The value goes from `easiest` (level 0) to `hardest` (level 1): a temperature geometrically, a number of candidates
    and a mask rate linearly. The level starts where the value is `start`. Deterministic: it reads the means over all
    processes, so each of them holds the same state.
    """

    def __init__(
        self,
        steers: Steered,
        start: float,
        easiest: float,
        hardest: float,
        target: float,
        decay: float,
        gain: float,
    ) -> None:
        """Raises ValueError where the bounds are equal or `start` lies outside."""
        if easiest == hardest or not min(easiest, hardest) <= start <= max(easiest, hardest):
            raise ValueError(f"difficulty of {steers}: it starts at {start:g}, outside {easiest:g} to {hardest:g}")
        self.steers = steers
        self.easiest, self.hardest = easiest, hardest
        self.target, self.decay, self.gain = target, decay, gain
        self.start = start
        """Value of the config; held-out rows always have it."""
        self.success: float | None = None
        self.level = (self._scale(start) - self._scale(easiest)) / (self._scale(hardest) - self._scale(easiest))

    def _scale(self, value: float) -> float:
        return math.log(value) if self.steers == "temperature" else value

    @property
    def value(self) -> float:
        """What is in force; candidates as a whole number."""
        first, last = self._scale(self.easiest), self._scale(self.hardest)
        value = first + self.level * (last - first)
        if self.steers == "temperature":
            return math.exp(value)
        return round(value) if self.steers == "candidates" else value

    def observe(self, step: int, parts: Mapping[str, float]) -> None:
        """A step without a replaced position says nothing."""
        if (rate := parts.get(SUCCESS)) is None:
            return
        self.success = rate if self.success is None else self.decay * self.success + (1 - self.decay) * rate
        self.level = min(1.0, max(0.0, self.level + self.gain * (self.success - self.target)))

    def state(self) -> dict[str, Any]:
        return {"success": self.success, "level": self.level}

    def load(self, state: dict[str, Any]) -> None:
        self.success, self.level = state["success"], state["level"]
