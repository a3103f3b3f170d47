"""A classifier's labels for texts, batch by batch: memory does not grow with the input."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import numpy as np
import torch

from trainer.finetune.classifier import predict
from trainer.finetune.directory import Loaded
from trainer.finetune.examples import Encoding
from trainer.finetune.table import Row

CHUNK = 1024
"""Texts that are held, so that those of like length can share a batch."""
BATCH_TOKENS = 1 << 14


def predict_rows(loaded: Loaded, rows: Iterable[Row], refuse_long: bool = False) -> Iterator[dict[str, Any]]:
    """For each row, in order: {label, probability, probabilities}, {value} of a regression, or {labels,
    probabilities} with one entry a word, null where the word was cut off. `cut` is true where the text was too long.

    Raises TableError and LabelError, naming file and line.
    """
    head = loaded.head
    labels = head.meaning()
    encoding = Encoding(loaded.tokenizer, head.kind, head.max_length, head.pair, refuse_long)
    device = next(loaded.model.parameters()).device
    rows = iter(rows)
    while chunk := list(islice(rows, CHUNK)):
        examples = [encoding.encode(row) for row in chunk]
        for example, logits in zip(
            examples, predict(loaded.model, examples, BATCH_TOKENS, device, "fp32", loaded.finder), strict=True
        ):
            found: dict[str, Any]
            if head.kind == "regression":
                found = {"value": float(logits[0, 0]) * labels.scale + labels.mean}
            else:
                shares = torch.from_numpy(logits).softmax(-1).numpy()
                best = shares.argmax(-1)
                if head.kind == "tokens":
                    missing = [None] * (example.words - len(example.at))
                    found = {
                        "labels": [labels.names[k] for k in best] + missing,
                        "probabilities": [float(p) for p in np.take_along_axis(shares, best[:, None], 1)[:, 0]]
                        + missing,
                    }
                else:
                    found = {
                        "label": labels.names[best[0]],
                        "probability": float(shares[0, best[0]]),
                        "probabilities": dict(zip(labels.names, map(float, shares[0]), strict=True)),
                    }
            yield found | {"cut": example.cut}
