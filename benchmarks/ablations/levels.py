"""The two plateaus of a setting, as levels of the held-out loss.

The first is the entropy of word frequencies. The second is what the words of a window tell without their order: the
loss of the setting's own encoder whose position table is held at zero, so that it sees a set, not a sequence.
"""

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.ablations.arms import Setting, nested
from benchmarks.ablations.plan import Place


def order_free_values(setting: Setting, place: Place) -> dict[str, Any]:
    """Pre-LN and absolute positions, the setting's shape and batch, by steps: the same bits every time."""
    return {
        "system.precision": place.precision,
        **setting.values,
        "model.norm": "pre",
        "model.embedding_norm": False,
        "model.positions": "absolute",
        "optimizer.learning_rate": setting.start,
        "schedule.by": "steps",
        "schedule.steps": setting.level_steps,
        "evaluate.every_steps": max(1, setting.level_steps // 20),
        "system.threads": setting.threads,
        "system.seed": setting.tuning_seed,
    }


def order_free(shards: Path, values: dict[str, Any], run: Path) -> dict[str, Any]:
    """Trains the encoder without positions; the levels in nats. Takes minutes at the sizes of the settings."""
    import torch

    from trainer.config import make_config
    from trainer.log import read_log
    from trainer.loop import StopRequest
    from trainer.progress import ProgressLine
    from trainer.run import RunDirectory
    from trainer.train import Session

    session = Session(shards, RunDirectory(run), make_config(nested(values)), None, ProgressLine(quiet=True))
    with torch.no_grad():
        for parameter in session.model.encoder.positions.parameters():
            parameter.zero_().requires_grad_(False)
    with StopRequest() as stop:
        loss = session.fit(None, stop)
    if loss is None:
        raise KeyboardInterrupt
    result = session.finish(loss)
    curve = [r for r in read_log(run / "log.jsonl") if r["kind"] == "held_out"]
    return {
        "unigram_entropy": result["unigram_entropy"],
        "unigram_cross_entropy": result["unigram_cross_entropy"],
        "order_free": loss,
        "order_free_before": curve[-2]["loss"] if len(curve) > 1 else None,
        "steps": result["steps"],
        "seconds": result["seconds"],
    }


def levels_path(results: Path, setting: str, place: Place) -> Path:
    return results / f"levels-{setting}-{place.data[:8]}.json"


def read_levels(results: Path, setting: str, data: str) -> dict[str, Any] | None:
    path = results / f"levels-{setting}-{data[:8]}.json"
    return json.loads(path.read_bytes()) if path.is_file() else None


def measure_levels(shards: Path, setting: Setting, place: Place, results: Path) -> dict[str, Any]:
    """Those that were measured before, or new ones, which are then kept."""
    known = read_levels(results, setting.name, place.data)
    values = order_free_values(setting, place)
    if known is not None and known["values"] == values:
        return known
    with tempfile.TemporaryDirectory() as directory:
        found = {"setting": setting.name, "data": place.data, "values": values}
        found |= order_free(shards, values, Path(directory) / "run")
    results.mkdir(parents=True, exist_ok=True)
    path = levels_path(results, setting.name, place)
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    os.replace(temporary, path)
    return found
