"""What a run is and how it went, from its directory alone."""

import json
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from trainer.checkpoint import STATE_FILE, best_checkpoint, checkpoints
from trainer.log import read_log
from trainer.run import RunDirectory, RunError

BARS = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True)
class RunInfo:
    """All of it is printed by `trainer info`; `--json` prints the fields."""

    path: str
    status: str
    """'finished', 'at step N' or 'no checkpoint yet'."""
    config: dict[str, Any]
    versions: dict[str, str]
    source: str
    """Digest of the trainer's source files that wrote the newest checkpoint."""
    data: dict[str, Any]
    """Digests of the splits and the vocabulary."""
    checkpoints: list[int]
    """Steps."""
    best: int | None
    """Step of the checkpoint of the lowest held-out loss."""
    curve: list[dict[str, float]]
    """Held-out losses: step, tokens, seconds, loss."""
    train_losses: list[float]
    """Training loss of every logged step."""
    growth: list[dict[str, Any]]
    """Records 'growth' and 'recovery' of the log."""
    skipped: int
    notes: dict[str, float] | None
    """Of the dictionary of rare words at the last evaluation: words filled, mean norm of a note, share of the tokens
    that a note entered at."""
    result: dict[str, Any] | None


def sparkline(values: Sequence[float], width: int = 60) -> str:
    """One character per mean of a stretch of values; the highest value is the tallest bar."""
    if not values:
        return ""
    width = min(width, len(values))
    edges = [round(i * len(values) / width) for i in range(width + 1)]
    means = [sum(values[a:b]) / (b - a) for a, b in pairwise(edges)]
    low, span = min(means), max(means) - min(means)
    return "".join(BARS[min(len(BARS) - 1, int((mean - low) / span * len(BARS)) if span else 0)] for mean in means)


def run_info(path: str | Path) -> RunInfo:
    """Raises RunError where PATH is no run. Damaged checkpoints are left out."""
    run = RunDirectory(path)
    if not run.config.is_file():
        raise RunError(f"{run.path}: no run here (no config.toml)")
    states = []
    for checkpoint in checkpoints(run.checkpoints):
        try:
            states.append(json.loads((checkpoint / STATE_FILE).read_bytes()))
        except (OSError, ValueError):
            continue
    newest: dict[str, Any] = states[-1] if states else {}
    result = run.read_result()
    records = read_log(run.path / "log.jsonl")
    best = best_checkpoint(run.checkpoints)
    return RunInfo(
        path=str(run.path),
        status="finished" if result else f"at step {newest['step']:,}" if newest else "no checkpoint yet",
        config=tomllib.loads(run.config.read_text(encoding="utf-8")),
        versions=newest.get("versions", {}),
        source=newest.get("source", ""),
        data=newest.get("data", {}),
        checkpoints=[state["step"] for state in states],
        best=None if best is None else int(best.name.removeprefix("step-")),
        curve=[
            {key: record[key] for key in ("step", "tokens", "seconds", "loss")}
            for record in records
            if record["kind"] == "held_out"
        ],
        train_losses=[record["loss"] for record in records if record["kind"] == "train"],
        growth=[record for record in records if record["kind"] in ("growth", "recovery")],
        skipped=newest.get("guard", {}).get("skipped", 0),
        notes=next(
            ({k: r[k] for k in ("filled", "mean_norm", "share")} for r in records[::-1] if r["kind"] == "notes"), None
        ),
        result=result,
    )
