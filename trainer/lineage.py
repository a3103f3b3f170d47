"""Where a run's weights come from: its corpus, and what it took to train them."""

import json
from pathlib import Path
from typing import Any

from trainer.checkpoint import STATE_FILE, checkpoints
from trainer.run import RunDirectory

RESULT_KEYS = (
    "task", "steps", "tokens", "seconds", "flops", "flops_base", "parameters", "held_out_loss_end", "unigram_entropy",
    "precision", "device", "source", "versions",
)  # fmt: skip


def lineage(run: str | Path) -> dict[str, Any]:
    """{'corpus': as `corpus_facts`, 'training': numbers of result.json}; what a run does not say is left out.

    Of the corpus of a run from before it was noted only digests are known, those of its newest checkpoint.
    """
    directory = RunDirectory(run)
    result = directory.read_result() or {}
    # Not where it lay: that is this machine's.
    corpus = {key: value for key, value in _read(directory.data).items() if key != "shards"}
    if not corpus and (made := checkpoints(directory.checkpoints)):
        corpus = _read(made[-1] / STATE_FILE).get("data", {})
    training = {key: result[key] for key in RESULT_KEYS if key in result}
    return {name: part for name, part in (("corpus", corpus), ("training", training)) if part}


def _read(path: Path) -> dict[str, Any]:
    """Empty where there is none to be read."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
