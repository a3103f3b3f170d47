"""Tiny classifiers with random weights, large enough that layers and branches differ, and texts of several lengths."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch

from trainer.finetune.examples import Example
from trainer.finetune.labels import Labels
from trainer.light.early_exit.branch import BranchConfig
from trainer.light.early_exit.model import EarlyExitClassifier, ExitsConfig
from trainer.model.config import ModelConfig
from trainer.model.encoder import Encoder

VOCABULARY = 50


def make_model(classes: int = 3, exits: list[int] | None = None, pooling: str = "attention", **changes: object):
    """(an early-exit classifier in eval mode, its exits)."""
    shape = {"layers": 4, "width": 16, "heads": 2, "feed_forward": 32, "max_length": 40, "init_std": 0.3} | changes
    config = ModelConfig(vocabulary_size=VOCABULARY, **shape)
    config_of_exits = ExitsConfig(exits=exits or [1, 2, 3], branch=BranchConfig(pooling=pooling, width=8, heads=2))
    torch.manual_seed(0)
    labels = Labels("classification", tuple(map(str, range(classes))))
    return EarlyExitClassifier(Encoder(config), labels, config_of_exits).eval(), config_of_exits


def make_examples(count: int = 24, classes: int = 3, seed: int = 0, longest: int = 40) -> list[Example]:
    draw = np.random.default_rng(seed)
    lengths = draw.integers(3, longest + 1, count)
    return [
        Example([2, *draw.integers(6, VOCABULARY, n - 2).tolist(), 3], [0], [float(draw.integers(classes))])
        for n in lengths
    ]


@pytest.fixture(scope="session")
def model_of() -> Callable[..., tuple[EarlyExitClassifier, ExitsConfig]]:
    return make_model


@pytest.fixture(scope="session")
def examples_of() -> Callable[..., list[Example]]:
    return make_examples


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(False)
