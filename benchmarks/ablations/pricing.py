"""Measures prices.py's list: short runs of the trainer itself, config after config, in rounds, so that what disturbs
the machine disturbs all alike."""

import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from benchmarks.ablations.child import overrides
from benchmarks.ablations.prices import Values, key

INTERVAL = 10
"""Steps between two records of the log, the smallest time that is measured."""
SKIPPED, COUNTED = 4, 10
"""Intervals: of a warming run, and of those that count."""
ANCHORS = 3
"""Configs of a list that are measured again beside new ones."""
WARM_STEP = 2 * INTERVAL + 5


def times_of(records: Sequence[Mapping[str, Any]]) -> list[float]:
    """Seconds a step of each interval of a log, the first from the start on."""
    points = [(0, 0.0), *((r["step"], r["seconds"]) for r in records if r["kind"] == "train")]
    return [(after[1] - before[1]) / (after[0] - before[0]) for before, after in pairwise(points)]


def one_run(shards: Path, values: Values, run: Path) -> tuple[list[float], float]:
    """(seconds a step of each counted interval, seconds of the warm start of notes)."""
    from trainer.log import read_log
    from trainer.train import train

    shutil.rmtree(run, ignore_errors=True)
    short = {
        **values,
        "system.seed": 1,
        "system.log_every": INTERVAL,
        "schedule.by": "steps",
        "schedule.steps": INTERVAL * (SKIPPED + COUNTED),
        "evaluate.every_steps": 1_000_000_000,
        "evaluate.rows": 16,
        "checkpoint.every_steps": 1_000_000_000,
    }
    warm = values.get("notes.start") == "warm"
    if warm:
        short["notes.warm_step"] = WARM_STEP
    train(shards, run, overrides=overrides(short))
    times = times_of(read_log(run / "log.jsonl"))
    counted = times[SKIPPED:]
    once = (times[WARM_STEP // INTERVAL] - median(counted)) * INTERVAL if warm else 0.0
    return counted, max(0.0, once)


def measure(
    shards: Path, wanted: Mapping[str, Values], rounds: int, note: Callable[[str], None] = print
) -> dict[str, dict[str, Any]]:
    """Key -> {name, step, once, median, rounds}: `step` is the lower quartile of all intervals, `rounds` the median of
    each round, by which a reader sees how quiet the machine was.

    Args:
        wanted: name -> config; configs of one key are measured once.
    """
    named = {key(values): (name, values) for name, values in reversed(wanted.items())}
    taken: dict[str, list[list[float]]] = {digest: [] for digest in named}
    once: dict[str, list[float]] = {digest: [] for digest in named}
    with tempfile.TemporaryDirectory() as directory:
        for number in range(rounds):
            for digest, (name, values) in named.items():
                times, warm = one_run(shards, values, Path(directory) / "run")
                taken[digest].append(times)
                once[digest].append(warm)
                note(f"round {number + 1}: {median(times) * 1e3:8.2f} ms a step, {name}")
    found = {}
    for digest, (name, _) in named.items():
        times = [time for part in taken[digest] for time in part]
        found[digest] = {
            "name": name,
            "step": round(quantiles(times, n=4)[0], 7),
            "once": round(min(once[digest]), 3),
            "median": round(median(times), 7),
            "rounds": [round(median(part), 7) for part in taken[digest]],
        }
    return found


def on_list(found: Mapping[str, Mapping[str, Any]], known: Mapping[str, float]) -> dict[str, dict[str, Any]]:
    """The new ones of these measurements at the speed that the machine had when the list was begun: times the median of
    (listed seconds, seconds now) over the configs that are on it.

    Args:
        known: key -> seconds a step on the list.
    """
    ratios = [known[digest] / entry["step"] for digest, entry in found.items() if digest in known]
    scale = round(median(ratios), 4) if ratios else 1.0

    def scaled(entry: Mapping[str, Any]) -> dict[str, Any]:
        step, once = round(entry["step"] * scale, 7), round(entry["once"] * scale, 3)
        return {**entry, "step": step, "once": once, "scale": scale}

    return {digest: scaled(entry) for digest, entry in found.items() if digest not in known}
