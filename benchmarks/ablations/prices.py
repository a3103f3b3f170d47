"""What a step of each config costs on a quiet machine, and what a budget of seconds buys at that price.

Runs are then made of steps, so that a run's result does not depend on what else its machine does, a killed run is
repeated to the same bits, and a queue may go on elsewhere. Pure but for reading and writing the list.
"""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

Values = Mapping[str, Any]

FREE = {
    "system.seed", "system.log_every", "optimizer.learning_rate", "optimizer.muon_learning_rate", "model.init_std",
    "model.position_std", "model.position_start", "model.residual_init", "notes.warm_step", "data.mask_rate_steps",
    "data.mask_share", "data.random_share", "task.temperature", "task.difficulty_easiest",
}  # fmt: skip
"""Keys that no step's time depends on, beside those of FREE_SECTIONS."""
FREE_SECTIONS = ("schedule.", "evaluate.", "checkpoint.", "guard.")


class Unpriced(LookupError):  # noqa: N818
    """A config's step was not measured yet."""


@dataclass(frozen=True)
class Price:
    step: float
    """Seconds a step: the lower quartile of intervals, their data included."""
    once: float = 0.0
    """Seconds of a warm start of the notes."""


@dataclass(frozen=True)
class Prices:
    machine: str
    precision: str
    threads: int
    entries: Mapping[str, Price] = field(default_factory=dict)
    """`key` of a config -> its price."""

    def of(self, values: Values) -> Price:
        """Raises Unpriced."""
        try:
            return self.entries[key(values)]
        except KeyError:
            raise Unpriced("its step is not priced yet; run --price") from None


@dataclass(frozen=True)
class Bill:
    """What a budget buys."""

    steps: Sequence[int]
    """Of each phase."""
    seconds: Sequence[float]
    """A step of each phase."""
    once: float = 0.0
    once_at: int = 0
    """Step that pays `once`."""

    @property
    def total(self) -> int:
        return sum(self.steps)

    def at(self, step: float) -> float:
        """Priced seconds from the start of the run to the end of a step."""
        told, left = self.once if self.once and step >= self.once_at else 0.0, step
        for count, price in zip(self.steps, self.seconds, strict=True):
            told += min(left, count) * price
            left = max(0.0, left - count)
        return told + left * self.seconds[-1]


def key(values: Values) -> str:
    """Of all that decides the time of a step."""
    told = {name: value for name, value in values.items() if name not in FREE and not name.startswith(FREE_SECTIONS)}
    return hashlib.blake2b(json.dumps(told, sort_keys=True).encode(), digest_size=6).hexdigest()


FALL = 0.5
"""Share of the budget's time over which a falling mask rate reaches its last."""


def _grows(values: Values) -> bool:
    return bool(values.get("growth.depths"))


def _starts(values: Values) -> list[float]:
    """Where phases begin, in shares of the budget's time."""
    falls = [FALL] if "data.mask_rate_final" in values else []
    grows = values["growth.at"] if _grows(values) else []
    return sorted({0.0, *grows, *falls})


def phases(values: Values) -> list[tuple[float, dict[str, Any]]]:
    """(share of the budget's time, config of its steps): one, or more where the model grows or the mask rate falls. A
    falling rate counts as the mean of both rates until it has fallen."""
    starts = _starts(values)
    plain = {name: value for name, value in values.items() if not name.startswith("growth.")}
    plain.pop("data.mask_rate_steps", None)
    final = plain.pop("data.mask_rate_final", None)
    depths = dict(zip([0.0, *values["growth.at"]], values["growth.depths"], strict=True)) if _grows(values) else {}
    found = []
    for start, end in pairwise([*starts, 1.0]):
        own = dict(plain)
        if final is not None:
            own["data.mask_rate"] = (plain["data.mask_rate"] + final) / 2 if start < FALL else final
        layers = [depth for at, depth in depths.items() if at <= start][-1:]
        # The last depth is the model's own: its step has the price of the same arm without growth.
        if layers and layers != list(depths.values())[-1:]:
            own["model.layers"] = layers[0]
        found.append((end - start, own))
    return found


def bill(values: Values, seconds: float, prices: Prices) -> Bill:
    """The steps that the seconds buy. A warm start is paid at the price of the last phase, the dearest.

    Raises Unpriced.
    """
    parts = [(share, prices.of(part)) for share, part in phases(values)]
    warm = values.get("notes.start") == "warm"
    once = parts[-1][1].once if warm else 0.0
    counts = [max(1, round(share * max(seconds - once, 0.0) / price.step)) for share, price in parts]
    return Bill(counts, [price.step for _, price in parts], once, values.get("notes.warm_step", 0) if warm else 0)


def spend(values: Values, bought: Bill) -> dict[str, Any]:
    """The config of a run of so many steps: what the values say in shares of time, in steps."""
    told = {**values, "schedule.by": "steps", "schedule.steps": bought.total}
    ends = dict(zip(_starts(values)[1:], accumulate(bought.steps), strict=False))
    if _grows(values):
        told["growth.at"] = [round(ends[start] / bought.total, 6) for start in values["growth.at"]]
    if "data.mask_rate_final" in values:
        told["data.mask_rate_steps"] = ends[FALL]
    return told


def prices_path(results: Path, setting: str) -> Path:
    return results / f"prices-{setting}.json"


def read_prices(results: Path, setting: str) -> Prices | None:
    """None where none were measured."""
    path = prices_path(results, setting)
    if not path.is_file():
        return None
    told = json.loads(path.read_bytes())
    entries = {name: Price(entry["step"], entry["once"]) for name, entry in told["entries"].items()}
    return Prices(told["machine"]["id"], told["precision"], told["threads"], entries)


def add_prices(results: Path, setting: str, place: Mapping[str, Any], entries: Mapping[str, Any]) -> None:
    """Puts entries to those on disk, atomically."""
    path = prices_path(results, setting)
    path.parent.mkdir(parents=True, exist_ok=True)
    known = json.loads(path.read_bytes())["entries"] if path.is_file() else {}
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(json.dumps({**place, "entries": {**known, **entries}}, indent=1) + "\n", encoding="utf-8")
    os.replace(temporary, path)
