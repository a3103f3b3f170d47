"""Answers of a classifier that may exit early, for `predict`."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.finetune.examples import Example, collate, scoring_batches
from trainer.finetune.prediction import BATCH_TOKENS, Answer
from trainer.light.early_exit.directory import LoadedEarlyExit
from trainer.light.early_exit.model import EarlyExitClassifier


def early(loaded: LoadedEarlyExit, speed: float, batch_tokens: int = BATCH_TOKENS) -> Answer:
    """At this speed; each text is told the `layers` that it went through."""
    model = loaded.model
    assert isinstance(model, EarlyExitClassifier)
    device, longest = next(model.parameters()).device, model.encoder.config.max_length

    def answer(examples: Sequence[Example]) -> Iterator[tuple[NDArray[np.float32], dict[str, Any]]]:
        logits: list[Any] = [None] * len(examples)
        layers = [0] * len(examples)
        for numbers in scoring_batches(examples, batch_tokens):
            found = model.answer(collate(examples, numbers, longest, loaded.finder).to(device), speed)
            for k, row, layer in zip(numbers, found.logits_BK.float().cpu(), found.layers_B.tolist(), strict=True):
                logits[k], layers[k] = row[None].numpy(), layer
        yield from zip(logits, ({"layers": layer} for layer in layers), strict=True)

    return answer
