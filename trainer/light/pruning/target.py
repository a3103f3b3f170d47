"""How large a pruned model may be: told as shares, or found from a size or a time that it has to meet."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

import torch
from torch import nn

from trainer.config import ConfigError
from trainer.light.pruning.selection import Sizes
from trainer.model.config import ModelConfig

TURNS = 7
"""Of measuring time; the median counts."""
STEP = 0.05
"""Shares are tried in steps of this."""


Shape = Callable[[Sizes], ModelConfig]
"""Sizes -> the shape that would be cut."""


@dataclass(frozen=True)
class Wish:
    """What the user asks for: shares, or one of the three others."""

    heads: float | None = None
    columns: float | None = None
    layers: int | None = None
    latency: float | None = None
    """Milliseconds of a batch."""
    speed: float | None = None
    """Times as fast as the unpruned model."""
    megabytes: float | None = None
    """Of model.safetensors, 10^6 bytes."""

    def check(self, layers: int) -> None:
        """Raises ConfigError where nothing, too much, or the impossible is asked."""
        told = [name for name in ("latency", "speed", "megabytes") if getattr(self, name) is not None]
        shares = [name for name in ("heads", "columns") if getattr(self, name) is not None]
        if len(told) > 1 or (told and shares):
            raise ConfigError("--latency, --speed, --size and shares to keep: one of them decides")
        if not (told or shares or self.layers is not None):
            raise ConfigError(
                "nothing to prune: add --keep-heads, --keep-ffn, --keep-layers, or --speed, --latency or --size"
            )
        for name, option in (("heads", "--keep-heads"), ("columns", "--keep-ffn")):
            if (share := getattr(self, name)) is not None and not 0 < share <= 1:
                raise ConfigError(f"{option} {share:g}: a share of what there is, above 0 and at most 1")
        for name, option, least in (("latency", "--latency", 0), ("speed", "--speed", 1), ("megabytes", "--size", 0)):
            if (value := getattr(self, name)) is not None and not value > least:
                raise ConfigError(f"{option} {value:g}: must be above {least}")
        if self.layers is not None and not 1 <= self.layers <= layers:
            raise ConfigError(f"--keep-layers {self.layers}: the model has {layers}; 1 to {layers} are possible")

    @property
    def direct(self) -> Sizes | None:
        """The sizes, where shares were told."""
        if self.latency is None and self.speed is None and self.megabytes is None:
            return Sizes(self.heads or 1.0, self.columns or 1.0, self.layers)
        return None


def find(
    shape: Shape, layers: int | None, most_layers: int, cost: Callable[[ModelConfig], float], limit: float,
    least: float, what: str,
) -> Sizes:  # fmt: skip
    """The largest sizes whose cost is at most `limit`: as many layers as can be with a share of `least` or more of
    heads and inner features, then the largest share. `layers` fixes their number.

    Raises ConfigError where none is small enough.
    """
    shares = [share / 100 for share in range(100, 0, -round(100 * STEP)) if share / 100 >= least - 1e-9]
    best = float("inf")
    for count in range(most_layers, 0, -1) if layers is None else [layers]:
        low, high = 0, len(shares) - 1
        best = min(best, found := cost(shape(Sizes(shares[high], shares[high], count))))
        if found > limit:
            continue
        while low < high:
            middle = (low + high) // 2
            if cost(shape(Sizes(shares[middle], shares[middle], count))) <= limit:
                high = middle
            else:
                low = middle + 1
        return Sizes(shares[high], shares[high], count)
    raise ConfigError(
        f"no size is small enough for {what}; the smallest has {best:.3g}: ask for more, lower least_share, or take a "
        "smaller model"
    )


def model_bytes(build: Callable[[ModelConfig], nn.Module], config: ModelConfig) -> int:
    """Of its weights, as model.safetensors holds them, its header apart."""
    with torch.device("meta"):
        model = build(config)
    return sum(tensor.numel() * tensor.element_size() for tensor in model.state_dict().values())


@torch.no_grad()
def milliseconds(models: Sequence[nn.Module], passes: Sequence[Callable[[nn.Module], object]]) -> list[float]:
    """Of a batch, each model in turn on the same batches: `passes` are functions that answer one, waited for."""
    taken: list[list[float]] = [[] for _ in models]
    for turn in range(TURNS + 1):
        for model, times in zip(models, taken, strict=True):
            start = time.perf_counter()
            for answer in passes:
                answer(model)
            if turn:
                times.append((time.perf_counter() - start) / len(passes))
    return [1e3 * median(times) for times in taken]


def settle(
    wish: Wish, shape: Shape, layers: int, build: Callable[[ModelConfig], nn.Module], whole: nn.Module,
    passes: Sequence[Callable[[nn.Module], object]], least: float,
) -> Sizes:  # fmt: skip
    """The sizes that the wish comes to for a model that has `layers` now. Raises ConfigError.

    Args:
        build: makes a model of a shape, in eval mode.
        whole: the unpruned one.
    """
    device = next(whole.parameters()).device

    def found(cost: Callable[[ModelConfig], float], limit: float, what: str) -> Sizes:
        return find(shape, wish.layers, layers, cost, limit, least, what)

    if (told := wish.direct) is not None:
        return told
    if (megabytes := wish.megabytes) is not None:
        return found(lambda config: model_bytes(build, config) / 1e6, megabytes, f"--size {megabytes:g} MB")
    if (limit := wish.latency) is not None:
        return found(
            lambda config: milliseconds([build(config).to(device)], passes)[0], limit, f"--latency {limit:g} ms"
        )
    assert wish.speed is not None

    def share(config: ModelConfig) -> float:
        own, theirs = milliseconds([build(config).to(device), whole], passes)
        return own / theirs

    limit = 1 / wish.speed
    return found(share, limit, f"--speed {wish.speed:g} (a share of {limit:.3g} of the time)")
