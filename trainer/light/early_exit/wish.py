"""How fast an answer is wanted."""

from collections.abc import Sequence
from dataclasses import dataclass

from trainer.config import ConfigError
from trainer.light.early_exit.calibration import Calibration

DEFAULT_LOSE = 1.0
"""Points; where nothing is wished for."""


@dataclass(frozen=True)
class Wish:
    """How fast; at most one of the three."""

    speed: float | None = None
    lose: float | None = None
    """Points of the score, at most."""
    latency: float | None = None
    """Milliseconds of a batch, at most."""
    batch: int = 1

    def __post_init__(self) -> None:
        """Raises ConfigError."""
        if sum(value is not None for value in (self.speed, self.lose, self.latency)) > 1:
            raise ConfigError("--speed, --lose and --latency exclude one another")
        if self.speed is not None and not 0 <= self.speed <= 1:
            raise ConfigError(f"--speed {self.speed:g}: lies in [0, 1]; 0 is the whole model")
        if self.lose is not None and not 0 <= self.lose <= 100:
            raise ConfigError(f"--lose {self.lose:g}: points in [0, 100]")
        if self.latency is not None and not 0 < self.latency < float("inf"):
            raise ConfigError(f"--latency {self.latency:g}: milliseconds above 0")

    def check(self, batches: Sequence[int], seconds: float) -> None:
        """Before anything is learnt: raises ConfigError where the time that is wished for would not be measured."""
        if self.latency is not None and not (seconds and self.batch in batches):
            raise ConfigError(
                f"--latency: batches of {self.batch} will not be timed: latency_batches is {list(batches)}, "
                f"latency_seconds {seconds:g}"
            )

    @property
    def named(self) -> bool:
        return any(value is not None for value in (self.speed, self.lose, self.latency))

    def choose(self, calibration: Calibration) -> float:
        """Raises ConfigError where no speed is fast enough."""
        if self.speed is not None:
            return self.speed
        if self.latency is not None:
            return calibration.within(self.latency, self.batch)
        return calibration.losing(DEFAULT_LOSE if self.lose is None else self.lose)
