"""A run as its directory tells it, whatever state it was left in."""

import math
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from trainer.log import read_lines
from trainer.run import RunDirectory, RunError

AXES = ("step", "tokens", "seconds", "flops")
"""What a curve may be drawn against."""
MOST_STEPS = 1 << 53
"""A float still tells them apart."""
Record = Mapping[str, Any]


@dataclass(frozen=True)
class Points:
    """One number over a run. Values that are not finite are left out and counted."""

    steps: np.ndarray
    values: np.ndarray
    lost: int = 0

    def __len__(self) -> int:
        return len(self.steps)


@dataclass(frozen=True)
class History:
    """Records of a run's log, each step once, and its small files."""

    name: str
    records: Mapping[str, list[Record]]
    """Kind -> records by rising step."""
    config: Mapping[str, Any] = field(default_factory=dict)
    """config.toml; empty where it cannot be read."""
    result: Mapping[str, Any] = field(default_factory=dict)
    """result.json of a finished run."""
    doubled: int = 0
    """Records that a later one of the same step replaced."""
    unread: int = 0
    """Lines of the log that are no record; the last one of a killed run is cut."""

    def of(self, kind: str) -> list[Record]:
        return self.records.get(kind, [])

    @property
    def last_step(self) -> int:
        return max((records[-1]["step"] for records in self.records.values()), default=0)

    def points(self, kind: str, name: str) -> Points:
        """The number `name` of the records of a kind; those without it are passed over."""
        found = [(record["step"], number(record[name])) for record in self.of(kind) if name in record]
        steps, values = [np.array([pair[k] for pair in found], dtype=np.float64) for k in (0, 1)]
        sound = np.isfinite(values)
        return Points(steps[sound], values[sound], int((~sound).sum()))

    def names(self, kind: str) -> list[str]:
        """Numbers that records of a kind hold, in the order in which they came up."""
        return list(dict.fromkeys(key for record in self.of(kind) for key in record if key not in ("kind", "step")))

    def along(self, axis: str, steps: np.ndarray) -> np.ndarray:
        """Tokens or seconds at these steps: between logged ones, in proportion. NaN where none were logged."""
        if axis == "step":
            return steps
        told = dict[int, float]()
        for kind in ("train", "held_out", "growth"):
            for record in self.of(kind):
                if math.isfinite(value := number(record.get(axis))):
                    # A growth stands under the step to come.
                    told.setdefault(record["step"] - (kind == "growth"), value)
        if not told:
            return np.full(len(steps), math.nan)
        places = sorted({0, *told})
        # Counters never fall; a log that says so is wrong somewhere, and a curve that turns back would hide it less.
        values = np.maximum.accumulate([told.get(place, 0.0) for place in places])
        return np.interp(steps, places, values, right=math.nan if len(places) == 1 else None)


def number(value: Any) -> float:
    """NaN for what is no number, or none that a float holds."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.nan


def _key(record: Record) -> tuple[str, int, Any]:
    return record["kind"], record["step"], record.get("sample") if record["kind"] == "sample" else None


def sorted_records(lines: Iterable[Any]) -> tuple[dict[str, list[Record]], int, int]:
    """(kind -> records by step, how many were replaced by a later one of their step, how many are none)."""
    last: dict[tuple[str, int, Any], Record] = {}
    count = unread = 0
    for line in lines:
        sound = isinstance(line, dict) and isinstance(line.get("kind"), str) and type(line.get("step")) is int
        if not sound or not 0 <= line["step"] < MOST_STEPS or not isinstance(line.get("sample", 0), int):
            unread += 1
            continue
        count += 1
        last[_key(line)] = line
    records: dict[str, list[Record]] = {}
    for key in sorted(last, key=lambda key: (key[1], key[2] or 0)):
        records.setdefault(key[0], []).append(last[key])
    return records, count - len(last), unread


def read_history(path: Path, name: str | None = None) -> History:
    """Raises RunError where PATH is no run, or one without a record."""
    run = RunDirectory(path)
    log = path / "log.jsonl"
    if not run.config.is_file() and not log.is_file():
        raise RunError(f"{path}: no run here (neither config.toml nor log.jsonl)")
    lines, bad = read_lines(log)
    records, doubled, unread = sorted_records(lines)
    if not records:
        raise RunError(f"{path}: its log holds no record yet; train first, or look at log.jsonl")
    try:
        config = tomllib.loads(run.config.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        config = {}
    result = run.read_result()
    return History(
        name=name or str(path),
        records=records,
        config=config,
        result=result if isinstance(result, dict) else {},
        doubled=doubled,
        unread=bad + unread,
    )


def read_histories(paths: Sequence[Path]) -> list[History]:
    """Named by their directories, or by the whole paths where two directories are called alike. Raises RunError."""
    places = [path.resolve() for path in paths]
    for k, place in enumerate(places):
        if place in places[:k]:
            raise RunError(f"{paths[k]}: named twice")
    short = [place.name for place in places]
    alike = len(set(short)) < len(short)
    return [read_history(path, None if alike else name) for path, name in zip(paths, short, strict=True)]
