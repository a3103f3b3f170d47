"""Training settings that go with a model preset."""

from typing import Any, Final

PRESET_TRAINING: Final[dict[str, dict[str, dict[str, Any]]]] = {
    "tiny": {
        "data": {"sequence_length": 64, "batch_rows": 16},
        "optimizer": {"learning_rate": 1e-3},
        "schedule": {"steps": 10_000},
        # Its products are too small to share: a second thread gains little on an idle machine, and where something
        # else uses that core each step waits for it (30,340 tokens/s became 1,496).
        "system": {"threads": 1},
    },
    # The best combination that the fair test's search found (benchmarks/ABLATION.md, `all`), measured in its setting
    # alone. It grows after 30 % of the time, where shallow steps are cheap: this share of the steps.
    "tiny-grown": {
        "data": {"sequence_length": 32, "batch_rows": 32, "mask_rate": 0.3},
        "growth": {"depths": [2, 4], "at": [0.404]},
        "optimizer": {"learning_rate": 2e-3},
        "schedule": {"steps": 34_000, "warmup": 0.1},
        # As BERT's, so that losses compare.
        "evaluate": {"masks": "standard"},
        "system": {"threads": 1},
    },
    "small": {
        "data": {"sequence_length": 128, "batch_rows": 32},
        "optimizer": {"learning_rate": 7e-4},
        "schedule": {"steps": 50_000, "warmup": 0.05},
    },
    "base": {
        "data": {"sequence_length": 512, "batch_rows": 256},
        "optimizer": {"learning_rate": 4e-4},
        "schedule": {"steps": 100_000, "warmup": 0.05},
        "checkpoint": {"every_steps": 2000},
        "evaluate": {"every_steps": 2000},
        "system": {"accumulate": 8},
    },
    "large": {
        "data": {"sequence_length": 512, "batch_rows": 512},
        "optimizer": {"learning_rate": 2e-4},
        "schedule": {"steps": 100_000, "warmup": 0.06},
        "checkpoint": {"every_steps": 2000},
        "evaluate": {"every_steps": 2000},
        "system": {"accumulate": 64, "recompute": True},
    },
}
"""Preset name -> section -> key -> value. Small batches and 1e-3 leave the plateau soonest at tiny scale; base and
large take the rates of published runs of their size (BERT, RoBERTa), for they were not trained here."""
