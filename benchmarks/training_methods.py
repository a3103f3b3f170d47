"""What each method costs a step: run by benchmarks/training.py --methods, in a process of its own.

All methods stand in one process and take their steps in turn, so that what disturbs the machine disturbs all alike;
ratios are of medians, to Pre-LN with absolute positions and masked LM.
"""

import os
import time
from statistics import median
from typing import Any, Final

import torch

from trainer.bench import MADE_UP_WORDS, made_up_batch, with_made_up_words
from trainer.config import build_config
from trainer.data.batch import Batch
from trainer.loop import Trainer
from trainer.precision import be_deterministic
from trainer.tasks.build import build_task

BASELINE: Final = "pre-ln, absolute"
METHODS: Final[dict[str, list[str]]] = {
    BASELINE: ["model.positions=absolute"],
    "post-ln, absolute": ["model.positions=absolute", "model.norm=post"],
    "pre-extra, absolute": ["model.positions=absolute", "model.norm=pre-extra"],
    "tupe-a": ["model.positions=tupe-a"],
    "tupe-r": ["model.positions=tupe-r"],
    "bert-r": ["model.positions=bert-r"],
    "rope": ["model.positions=rope"],
    "alibi": ["model.positions=alibi"],
    "notes": ["model.positions=absolute", "notes.enabled=true"],
    "multiple-choice": ["model.positions=absolute", "task.kind=multiple-choice"],
    "replaced-token": ["model.positions=absolute", "task.kind=replaced-token"],
    "muon": ["model.positions=absolute", "optimizer.kind=muon"],
}
GOALS: Final = {"tupe-a": 1.10, "notes": 1.10, "multiple-choice": 1.6}


def _trainer(overrides: list[str], asked: dict[str, Any]) -> tuple[Trainer, Batch]:
    config = build_config(preset="small", overrides=["system.device=cpu", *overrides])
    torch.manual_seed(0)
    task = build_task(config, config.encoder(asked["vocabulary"], MADE_UP_WORDS))
    batch = made_up_batch(asked["rows"], asked["length"], asked["vocabulary"], asked["mask_rate"])
    if config.notes.enabled:
        batch = with_made_up_words(batch, MADE_UP_WORDS, config.notes.half_window)
    return Trainer(task, config, torch.device("cpu"), asked["precision"]), batch


def step_costs(asked: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Method -> median wall and CPU seconds of a step and their ratios to the baseline's."""
    torch.set_num_threads(asked["threads"])
    be_deterministic(torch.device("cpu"), False)
    made = {name: _trainer(overrides, asked) for name, overrides in METHODS.items()}
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in made}
    end = time.perf_counter() + asked["seconds"] * len(made)
    rounds = 0
    while rounds < 4 or time.perf_counter() < end:
        for name, (trainer, batch) in made.items():
            wall, cpu = time.perf_counter(), time.process_time()
            trainer.take_step([batch])
            if rounds >= 2:
                taken[name].append((time.perf_counter() - wall, time.process_time() - cpu))
        rounds += 1
    costs = {name: {"wall": median(w for w, _ in t), "cpu": median(c for _, c in t)} for name, t in taken.items()}
    for cost in costs.values():
        cost["ratio"] = cost["wall"] / costs[BASELINE]["wall"]
        cost["cpu_ratio"] = cost["cpu"] / costs[BASELINE]["cpu"]
    return costs


def told(costs: dict[str, dict[str, float]]) -> str:
    lines = [f"{'method':22} {'ms a step':>10} {'ratio':>7} {'CPU ratio':>10} {'goal':>6}"]
    for name, cost in costs.items():
        goal = f"{GOALS[name]:.2f}" if name in GOALS else ""
        lines.append(
            f"{name:22} {cost['wall'] * 1e3:10.1f} {cost['ratio']:7.3f} {cost['cpu_ratio']:10.3f} {goal:>6}".rstrip()
        )
    return os.linesep.join(lines)
