"""What is measured of a run's final weights, beside its held-out loss: `siliang-trainer evaluate`'s own functions.

Words by frequency band, minimal pairs, and the masked-LM loss of a head trained for a fixed number of steps on the
frozen encoder, which tasks without a masked-LM head share with the others; so they do fine-tuning (tuned.py). None of
it takes time from the run's budget.
"""

from pathlib import Path
from typing import Any

from benchmarks.ablations.plan import Job
from benchmarks.ablations.tuned import finetuned


def measure(run: Path, job: Job, order: dict[str, Any]) -> dict[str, Any]:
    """{bands: {band: nats a piece}, target_bands, minimal_pairs: {mean, paradigms}, probe: {held_out_loss, ...},
    finetuned: {task: scores}}.

    Runs of a search are measured only where they are judged by the probe. `order` holds `probe_steps` (0: none),
    `pairs` (a directory of minimal pairs, or None), `pairs_limit` (of each paradigm), `tasks` (a directory of labelled
    texts, or None) and `band_words`.
    """
    from trainer.evaluate.evaluation import Wanted, evaluate
    from trainer.evaluate.probe import ProbeSettings

    probed, reported = job.judge == "probe", job.kind == "report"
    pairs = Path(order["pairs"]) if order.get("pairs") and reported else None
    common = {"shards": Path(order["shards"]), "band_words": order["band_words"], "limit": order["pairs_limit"]}
    found: dict[str, Any] = {}
    if reported and not probed:
        found |= small(evaluate(run, Wanted(**common, bands=True, pairs=pairs)))
    if order["probe_steps"] and (reported or probed):
        wanted = Wanted(
            **common,
            bands=probed and reported,
            pairs=pairs if probed else None,
            probe=ProbeSettings(steps=order["probe_steps"]),
        )
        found |= small(evaluate(run, wanted))
    if order.get("tasks") and reported:
        found["finetuned"] = finetuned(run, job, Path(order["tasks"]))
    return found


def small(found: dict[str, Any]) -> dict[str, Any]:
    """What of it is kept in the repository."""
    kept: dict[str, Any] = {}
    if "bands" in found:
        kept["bands"] = {row["band"]: round(row["loss"], 5) for row in found["bands"]["words"]}
        kept["target_bands"] = {row["band"]: round(row["loss"], 5) for row in found["bands"]["targets"]}
    if "minimal_pairs" in found:
        pairs = found["minimal_pairs"]
        accuracies = {row["name"]: round(row["accuracy"], 4) for row in pairs["paradigms"]}
        kept["minimal_pairs"] = {"mean": pairs["mean"], "pairs": pairs["pairs"], "paradigms": accuracies}
    if "probe" in found:
        kept["probe"] = found["probe"]
    return kept
