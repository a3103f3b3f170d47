"""One run, in a process of its own: train, measure; then outcome.json.

    python -m benchmarks.ablations.child DIRECTORY

DIRECTORY/order.json says what to run (queue.py writes it). Without an outcome the run counts as never begun.
"""

import json
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.ablations.curves import thin
from benchmarks.ablations.machine import end_with_parent, machine
from benchmarks.ablations.plan import Job
from benchmarks.ablations.prices import Bill
from benchmarks.ablations.results import as_job, write_json

KEPT = (
    "steps", "tokens", "targets", "seconds", "held_out_loss_start", "held_out_loss_end", "unigram_entropy",
    "unigram_cross_entropy", "tokens_per_second", "mfu", "precision", "device", "threads", "matmul_gflops",
    "parameters", "skipped", "source", "versions", "depths", "layers",
)  # fmt: skip
"""Of result.json."""


def overrides(values: dict[str, Any]) -> list[str]:
    """As `siliang-trainer train --set` takes them; JSON's numbers, strings, lists and booleans are TOML's too."""
    return [f"{key}={json.dumps(value)}" for key, value in values.items()]


def flops_per_token(result: dict[str, Any]) -> float:
    """Of the whole run over its tokens: as the run tells it, or from the utilisation that it tells."""
    if result.get("flops"):
        return result["flops"] / result["tokens"]
    rate = result["matmul_gflops"][result["precision"]] * 1e9 * result.get("processes", 1)
    return result["mfu"] * rate / result["tokens_per_second"]


def flops_at(tokens: float, each: float, depths: Sequence[Mapping[str, float]]) -> float:
    """Operations that so many tokens took: by the depths that the model had, or at `each` a token without them."""
    if not depths:
        return tokens * each
    done = 0.0
    for depth in depths:
        if tokens <= depth["tokens"] or depth is depths[-1]:
            return done + tokens * depth["flops"] / max(depth["tokens"], 1)
        tokens, done = tokens - depth["tokens"], done + depth["flops"]
    return done


def curve_of(
    run: Path, bought: Bill, each: float, depths: Sequence[Mapping[str, float]] = ()
) -> list[dict[str, float]]:
    """Held-out losses of the log, thinned; their seconds are those of the price list."""
    from trainer.log import read_log

    points = [
        {
            "step": record["step"],
            "seconds": round(bought.at(record["step"]), 3),
            "tokens": record["tokens"],
            "flops": flops_at(record["tokens"], each, depths),
            "loss": round(record["loss"], 5),
        }
        for record in read_log(run / "log.jsonl")
        if record["kind"] == "held_out"
    ]
    return [dict(point) for point in thin(points)]


def train_job(job: Job, shards: Path, run: Path) -> dict[str, Any] | None:
    """{loss, curve, result} or {loss: None, diverged}; None where a signal stopped it."""
    from trainer.guard import DivergedError
    from trainer.train import train

    shutil.rmtree(run, ignore_errors=True)
    try:
        outcome = train(shards, run, overrides=overrides(job.values))
    except DivergedError as error:
        return {"loss": None, "diverged": str(error)}
    if outcome.result is None:
        return None
    each = flops_per_token(outcome.result)
    told = {key: outcome.result[key] for key in KEPT if key in outcome.result}
    told["flops"] = each * outcome.result["tokens"]
    told["priced_tokens_per_second"] = round(told["tokens"] / job.seconds, 1)
    return {
        "loss": outcome.result["held_out_loss_end"],
        "curve": curve_of(run, job.bought, each, told.get("depths", ())),
        "result": told,
    }


def main(directory: Path) -> int:
    order = json.loads((directory / "order.json").read_bytes())
    job = as_job(order["job"])
    end_with_parent()
    import torch

    from benchmarks.ablations.measures import measure

    torch.set_num_threads(job.threads)
    began = time.perf_counter()
    run = directory / "run"
    found = train_job(job, Path(order["shards"]), run)
    if found is None:
        return 1
    found["machine"] = machine()["id"]
    torch.set_num_threads(job.threads)
    if found["loss"] is not None:
        found["measures"] = measure(run, job, order)
        if job.judge == "probe":
            found["loss"] = found["measures"]["probe"]["held_out_loss"]
    found["wall_seconds"] = round(time.perf_counter() - began, 1)
    write_json(directory / "outcome.json", found)
    # Checkpoints are large and never needed again; the final weights stay.
    shutil.rmtree(run / "checkpoints", ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
