"""A classifier's labels for texts, batch by batch: memory does not grow with the input."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from trainer.finetune.classifier import predict
from trainer.finetune.directory import Head, Loaded
from trainer.finetune.examples import Encoding, Example
from trainer.finetune.labels import Labels
from trainer.finetune.table import Row
from trainer.tokenizer import Tokenizer

CHUNK = 1024
"""Texts that are held, so that those of like length can share a batch."""
BATCH_TOKENS = 1 << 14


class Reader(Protocol):
    """What texts are encoded by, and answers read by."""

    @property
    def tokenizer(self) -> Tokenizer: ...

    @property
    def head(self) -> Head: ...


Answer = Callable[[Sequence[Example]], Iterable[tuple[NDArray[np.float32], dict[str, Any]]]]
"""(logits [predictions, outputs], what else is to be told) of each example, in order."""


def whole_model(loaded: Loaded) -> Answer:
    """All layers for every text."""

    def answer(examples: Sequence[Example]) -> Iterator[tuple[NDArray[np.float32], dict[str, Any]]]:
        device = next(loaded.model.parameters()).device
        for logits in predict(loaded.model, examples, BATCH_TOKENS, device, loaded.finder):
            yield logits, {}

    return answer


def predict_rows(
    reader: Reader, rows: Iterable[Row], refuse_long: bool = False, answer: Answer | None = None
) -> Iterator[dict[str, Any]]:
    """For each row, in order: {label, probability, probabilities}, {value} of a regression, or {labels,
    probabilities} with one entry a word, null where the word was cut off. `cut` is true where the text was too long.
    Without an `answer` the reader is a `Loaded`, all of whose layers answer.

    Raises TableError and LabelError, naming file and line.
    """
    head = reader.head
    labels = head.meaning()
    encoding = Encoding(reader.tokenizer, head.kind, head.max_length, head.pair, refuse_long)
    if answer is None:
        assert isinstance(reader, Loaded)
        answer = whole_model(reader)
    rows = iter(rows)
    while chunk := list(islice(rows, CHUNK)):
        examples = [encoding.encode(row) for row in chunk]
        for example, (logits, more) in zip(examples, answer(examples), strict=True):
            yield _meaning(logits, example, labels) | more | {"cut": example.cut}


def _meaning(logits: NDArray[np.float32], example: Example, labels: Labels) -> dict[str, Any]:
    if labels.kind == "regression":
        return {"value": float(logits[0, 0]) * labels.scale + labels.mean}
    shares = torch.from_numpy(logits).softmax(-1).numpy()
    best = shares.argmax(-1)
    if labels.kind == "tokens":
        missing = [None] * (example.words - len(example.at))
        return {
            "labels": [labels.names[k] for k in best] + missing,
            "probabilities": [float(p) for p in np.take_along_axis(shares, best[:, None], 1)[:, 0]] + missing,
        }
    return {
        "label": labels.names[best[0]],
        "probability": float(shares[0, best[0]]),
        "probabilities": dict(zip(labels.names, map(float, shares[0]), strict=True)),
    }
