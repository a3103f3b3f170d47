"""Packed rows for the model's tests."""

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor

from schemas.vocabulary import CLS, FIRST_ORDINARY, PAD, SEP
from trainer.model.config import ModelConfig

Rows = tuple[Tensor, Tensor, Tensor]
"""tokens_BT, segments_BT, positions_BT."""


def pack_rows(documents: Sequence[Sequence[int]], length: int, vocabulary_size: int = 40, seed: int = 0) -> Rows:
    """Rows of `length` tokens; each row is given by the lengths of its documents, the rest is padding."""
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.full((len(documents), length), PAD)
    segments, positions = torch.zeros_like(tokens), torch.zeros_like(tokens)
    for row, lengths in enumerate(documents):
        start = 0
        for number, n in enumerate(lengths, 1):
            part = slice(start, start + n)
            tokens[row, part] = torch.randint(FIRST_ORDINARY, vocabulary_size, (n,), generator=generator)
            tokens[row, start + n - 1] = SEP
            tokens[row, start] = CLS
            segments[row, part] = number
            positions[row, part] = torch.arange(n)
            start += n
    return tokens, segments, positions


@pytest.fixture(scope="session")
def pack() -> Callable[..., Rows]:
    return pack_rows


@pytest.fixture(scope="session")
def make_config() -> Callable[..., ModelConfig]:
    def make(**changes: object) -> ModelConfig:
        fields = {"vocabulary_size": 40, "layers": 2, "width": 24, "heads": 3, "feed_forward": 32, "max_length": 16}
        return ModelConfig.model_validate({**fields, "init_std": 0.3, **changes})

    return make
