"""Operations of a run at its steps: each token counts at the depth that it was trained at.

A finished run's result tells what a token of each depth took; of others it is worked out from the config.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from trainer.config import ConfigError, TrainConfig, build_config
from trainer.report.history import History, number
from trainer.run import RunDirectory
from trainer.tasks.build import task_flops
from trainer.tokenizer import Tokenizer, TokenizerError


def flops_at(history: History, path: Path, steps: np.ndarray) -> np.ndarray | None:
    """Forward and backward, at these steps; None where config or vocabulary cannot be read, or tokens are not known."""
    stages = _told(history) or _worked_out(history, path)
    tokens = history.along("tokens", steps)
    if not stages or not np.isfinite(tokens).all():
        return None
    total = np.zeros(len(steps))
    for (start, rate), end in zip(stages, [*(start for start, _ in stages[1:]), np.inf], strict=True):
        total += rate * np.clip(np.minimum(tokens, end) - start, 0, None)
    return total


Stages = list[tuple[float, float]]
"""(tokens at which a depth begins, operations per token at it)"""


def _told(history: History) -> Stages:
    """By result.json; empty where it does not tell."""
    depths, stages, start = history.result.get("depths"), Stages(), 0.0
    for depth in depths if isinstance(depths, list) else ():
        tokens, flops = (
            number(depth.get(name)) if isinstance(depth, Mapping) else np.nan for name in ("tokens", "flops")
        )
        if not (tokens > 0 and flops >= 0 and np.isfinite(tokens + flops)):
            return []
        stages.append((start, flops / tokens))
        start += tokens
    return stages


def _worked_out(history: History, path: Path) -> Stages:
    """Empty where config or vocabulary cannot be read, or is of another version."""
    run = RunDirectory(path)
    try:
        return _stages(history, build_config(run.config), len(Tokenizer(run.vocabulary)))
    except (ConfigError, TokenizerError, ValueError, OSError):
        return []


def _stages(history: History, config: TrainConfig, vocabulary: int) -> Stages:
    final = config.encoder(vocabulary)
    layers = config.growth.stages(final.layers)[0][1]

    def rate(layers: int) -> float:
        return task_flops(config, final.model_copy(update={"layers": layers}))

    stages = [(0.0, rate(layers))]
    for record in history.of("growth"):
        tokens, deeper = number(record.get("tokens")), record.get("layers")
        if isinstance(deeper, int) and 0 < deeper <= final.layers and tokens >= stages[-1][0]:
            stages.append((tokens, rate(deeper)))
    return stages
