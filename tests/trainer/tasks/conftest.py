"""Tasks on tiny models and made-up batches."""

from typing import Any

import pytest
import torch

from trainer.bench import made_up_batch
from trainer.config import build_config
from trainer.data.batch import Batch
from trainer.tasks.build import build_task
from trainer.tasks.task import Task

SHAPE = {"model.layers": 2, "model.width": 32, "model.heads": 2, "model.feed_forward": 64}


class Make:
    """Tiny tasks with random weights, large enough that nothing is near zero."""

    def task(self, kind: str, vocabulary: int = 60, std: float = 0.2, **changes: Any) -> Task:
        keys = {f"task.{name}": value for name, value in changes.items() if "__" not in name}
        keys |= {name.replace("__", "."): value for name, value in changes.items() if "__" in name}
        values = {**SHAPE, "model.init_std": std, "data.sequence_length": 16, "task.kind": kind, **keys}
        config = build_config(preset="tiny", overrides=[f"{key}={value}" for key, value in values.items()])
        torch.manual_seed(0)
        return build_task(config, config.encoder(vocabulary))

    def batch(self, rows: int = 6, length: int = 16, vocabulary: int = 60, rate: float = 0.3, seed: int = 0) -> Batch:
        """With two places of padding at the end of every row."""
        batch = made_up_batch(rows, length, vocabulary, rate, seed)
        batch.segments_BT[:, -2:] = 0
        batch.tokens_BT[:, -2:] = 0
        kept = batch.target_index_M % length < length - 2
        return batch.__class__(
            **{
                **batch.__dict__,
                "target_index_M": batch.target_index_M[kept],
                "target_M": batch.target_M[kept],
                "token_count": rows * (length - 2),
            }
        )


@pytest.fixture(scope="session")
def make() -> Make:
    return Make()
