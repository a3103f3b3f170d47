"""A reported run's final weights fine-tuned, by `siliang-trainer finetune`'s own functions: the other measure that
tasks without a masked-LM head share with the rest. None of it takes time from the run's budget.

The same small search for every arm: two rates with three seeds each, of which the better median counts, each seed at
the best of five epochs by the validation texts. (Chosen by one seed each, the higher rate was taken for a Post-LN
encoder that it sent to chance with the two other seeds.) Notes are dropped, and texts cut at what the encoder was
trained on.
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.ablations.plan import Job
from benchmarks.ablations.results import Results

TASKS = ("sst2",)
"""Directories of train.tsv, dev.tsv and test.tsv: a text, a label."""
RECIPE = {"learning_rates": [3e-4, 1e-3], "search_seeds": 3, "seeds": 3, "epochs": 5, "patience": 5}


def finetuned(run: Path, job: Job, tasks: Path) -> dict[str, dict[str, Any]]:
    """Task -> {learning_rate, valid, test: {median, least, greatest} of accuracy over seeds}."""
    from trainer.finetune.data import Files
    from trainer.finetune.finetuning import finetune
    from trainer.finetune.settings import build_settings
    from trainer.finetune.table import Columns
    from trainer.progress import ProgressLine

    found = {}
    for name in TASKS:
        place = tasks / name
        files = Files(place / "train.tsv", place / "dev.tsv", Columns("1", None, "2"), place / "test.tsv")
        chosen = {**RECIPE, "device": "cpu", "precision": job.place.precision, "threads": job.threads}
        output = run.parent / f"tuned-{name}"
        shutil.rmtree(output, ignore_errors=True)
        result = finetune(run, files, output, build_settings(chosen=chosen), ProgressLine(quiet=True))
        if result is None:
            raise KeyboardInterrupt
        shutil.rmtree(output)
        scores = {part: result[part]["accuracy"] for part in ("valid", "test")}
        found[name] = {"learning_rate": result["learning_rate"]} | {
            part: {key: round(score[key], 5) for key in ("median", "least", "greatest")}
            for part, score in scores.items()
        }
    return found


def tune_late(results: Results, work: Path, tasks: Path, note: Callable[[str], None] = print) -> int:
    """Fine-tunes what reported runs left in `work` and no call fine-tuned yet; how many they were."""
    import torch

    done = 0
    for digest, job in sorted(results.jobs().items(), key=lambda pair: pair[1].name):
        run, kept = results.good(digest), work / job.name / "run"
        lacks = run is not None and run["loss"] is not None and "finetuned" not in run["measures"]
        if job.kind != "report" or not lacks or not (kept / "model.safetensors").is_file():
            continue
        torch.set_num_threads(job.threads)
        told = finetuned(kept, job, tasks)
        results.tell(digest, {"finetuned": told})
        note(f"{job.name}: " + ", ".join(f"{name} {scores['test']['median']:.4f}" for name, scores in told.items()))
        done += 1
    return done
