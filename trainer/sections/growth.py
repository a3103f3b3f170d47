"""[growth]: from shallow to deep inside one run, or from a shallower run."""

from itertools import pairwise
from typing import Literal

from pydantic import Field, field_validator, model_validator

from trainer.sections.section import Section


class GrowthConfig(Section):
    """Progressive stacking (Gong et al. 2019); docs/methods/stacking.md."""

    depths: list[int] = []
    """Layers of each stage, rising, such as [3, 6, 12]; the last is model.layers. Empty: no growth inside the run."""
    at: list[float] = []
    """Share of the run (of its steps, tokens or seconds) at which each later depth begins, such as [0.125, 0.3]."""
    base: str = ""
    """A shallower run (its directory) whose final weights this run grows from before its first step."""
    rule: Literal["stack", "interleave", "identity"] = "stack"
    """Which layer is copied where: [1..L, 1..L], [1, 1, 2, 2, ...], or new layers on top that pass on what they get."""
    optimizer: Literal["carry", "reset"] = "carry"
    """Copied layers keep the optimiser's state of their source, step count included; or all parameters start afresh."""
    warmup_steps: int = Field(default=0, ge=0)
    """Steps after a growth over which the learning rate rises to the schedule's; 0: the schedule goes on as it is."""
    rates: list[float] = []
    """Factor on the learning rate at each depth; empty: 1."""
    rescale: bool = False
    """Scale what ends the branches (attention's and feed-forward's output) by sqrt(old / new depth) at growth, as
    model.residual_init = scaled would for the new depth."""

    @field_validator("depths")
    @classmethod
    def _depths(cls, depths: list[int]) -> list[int]:
        if any(depth < 1 for depth in depths) or any(b <= a for a, b in pairwise(depths)):
            raise ValueError(f"must be layers from 1 on that rise from stage to stage (found {depths})")
        return depths

    @field_validator("at")
    @classmethod
    def _at(cls, at: list[float]) -> list[float]:
        if any(not 0 < share < 1 for share in at) or any(b <= a for a, b in pairwise(at)):
            raise ValueError(f"must be shares of the run that rise inside (0, 1) (found {at})")
        return at

    @field_validator("rates")
    @classmethod
    def _rates(cls, rates: list[float]) -> list[float]:
        if any(rate <= 0 for rate in rates):
            raise ValueError(f"must be factors above 0 (found {rates})")
        return rates

    @model_validator(mode="after")
    def _lengths(self) -> "GrowthConfig":
        stages = len(self.depths)
        if len(self.at) != max(stages - 1, 0):
            raise ValueError(
                f"at has {len(self.at)} shares for {stages} depths; it needs one for each depth but the first"
            )
        if self.rates and len(self.rates) != stages:
            raise ValueError(f"rates has {len(self.rates)} factors for {stages} depths; it needs one for each")
        if self.rescale and self.rule == "identity":
            raise ValueError("rescale would change what the old layers compute, which rule = identity is to keep")
        return self

    @property
    def grows(self) -> bool:
        """Whether the depth may change."""
        return len(self.depths) > 1 or bool(self.base)

    def stages(self, layers: int) -> list[tuple[float, int]]:
        """(share of the run, depth that begins there) of a model that ends with `layers`."""
        return list(zip([0.0, *self.at], self.depths or [layers], strict=True))

    def rate(self, layers: int) -> float:
        """Factor on the learning rate at a depth."""
        return self.rates[self.depths.index(layers)] if self.rates and layers in self.depths else 1.0
