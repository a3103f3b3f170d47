"""Where a growing run stands: its depth, what each depth has cost, how far it has recovered from its last growth."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from trainer.sections.growth import GrowthConfig


@dataclass
class Spent:
    """What one depth has taken."""

    layers: int
    steps: int = 0
    tokens: int = 0
    seconds: float = 0.0
    """Training seconds; the growth to this depth among them."""


@dataclass(frozen=True)
class Recovery:
    """The held-out loss is back where it was before the last growth."""

    loss: float
    loss_before: float
    steps: int
    """Steps since."""
    tokens: int
    seconds: float


class Growth:
    """Depths over a run. Its state goes into the checkpoint, so that a resumed run grows at the same step."""

    def __init__(self, config: GrowthConfig, layers: int, final: int) -> None:
        """`layers` the model has now, `final` those it ends with."""
        self.config = config
        self.stages = config.stages(final)
        self.spent = [Spent(layers)]
        self.grown_at: int | None = None
        """Step of the last growth."""
        self.loss_before: float | None = None
        """Held-out loss before the last growth; None once it is reached again."""
        self.base_flops = 0.0
        """What the run that this one grew from has taken."""

    @property
    def layers(self) -> int:
        return self.spent[-1].layers

    def wanted(self, progress: float) -> int:
        """Layers at this share of the run. Never fewer than now: a run that is made longer does not shrink."""
        return max([self.layers, *(layers for start, layers in self.stages if start <= progress)])

    def factor(self, step: int) -> float:
        """Of the learning rate of step `step` (0-based): the depth's, and the re-warm-up after a growth."""
        rate = self.config.rate(self.layers)
        if self.grown_at is None or not self.config.warmup_steps:
            return rate
        return rate * min(1.0, (step - self.grown_at + 1) / self.config.warmup_steps)

    def count(self, tokens: int) -> None:
        """One step at the present depth."""
        self.spent[-1].steps += 1
        self.spent[-1].tokens += tokens

    def begin(self, layers: int, step: int, loss_before: float) -> None:
        """A deeper stage, from step `step` (0-based) on."""
        self.spent.append(Spent(layers))
        self.grown_at, self.loss_before = step, loss_before

    @property
    def probes(self) -> bool:
        """Whether to take the held-out loss now: 1, 2, 4, 8, ... steps after a growth until it has recovered."""
        since = self.spent[-1].steps
        return self.loss_before is not None and since > 0 and since & (since - 1) == 0

    def recovery(self, loss: float) -> Recovery | None:
        """Told once, of the first held-out loss that is no worse than before the growth."""
        before, now = self.loss_before, self.spent[-1]
        if before is None or not now.steps or loss > before:
            return None
        self.loss_before = None
        return Recovery(loss, before, now.steps, now.tokens, now.seconds)

    def ledger(self, flops_at: Callable[[int], float]) -> list[dict[str, Any]]:
        """Each depth with its steps, tokens, seconds and operations, those of a token given by `flops_at(layers)`."""
        return [asdict(spent) | {"flops": spent.tokens * flops_at(spent.layers)} for spent in self.spent]

    def observe(self, step: int, parts: Mapping[str, float]) -> None:
        """Nothing: skipped steps count as well, see `count`."""

    def state(self) -> dict[str, Any]:
        return {
            "spent": [asdict(spent) for spent in self.spent],
            "grown_at": self.grown_at,
            "loss_before": self.loss_before,
            "base_flops": self.base_flops,
        }

    def load(self, state: dict[str, Any]) -> None:
        self.spent = [Spent(**spent) for spent in state["spent"]]
        self.grown_at, self.loss_before = state["grown_at"], state["loss_before"]
        self.base_flops = state["base_flops"]
