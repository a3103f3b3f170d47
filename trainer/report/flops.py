"""Operations of a run at its steps, from its config: each token counts at the depth that it was trained at."""

from pathlib import Path

import numpy as np

from trainer.config import ConfigError, TrainConfig, build_config
from trainer.report.history import History, number
from trainer.run import RunDirectory
from trainer.tasks.build import task_flops
from trainer.tokenizer import Tokenizer, TokenizerError


def flops_at(history: History, path: Path, steps: np.ndarray) -> np.ndarray | None:
    """Forward and backward, at these steps; None where config or vocabulary cannot be read, or tokens are not known."""
    run = RunDirectory(path)
    try:
        config = build_config(run.config)
        vocabulary = len(Tokenizer(run.vocabulary))
        stages = _stages(history, config, vocabulary)
    except (ConfigError, TokenizerError, ValueError, OSError):
        return None
    tokens = history.along("tokens", steps)
    if not np.isfinite(tokens).all():
        return None
    total = np.zeros(len(steps))
    for (start, rate), end in zip(stages, [*(start for start, _ in stages[1:]), np.inf], strict=True):
        total += rate * np.clip(np.minimum(tokens, end) - start, 0, None)
    return total


def _stages(history: History, config: TrainConfig, vocabulary: int) -> list[tuple[float, float]]:
    """(tokens at which a depth begins, operations per token at it)."""
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
