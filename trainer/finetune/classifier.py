"""An encoder with a head for labels, its loss, and its predictions.

Shape suffixes: B rows, T positions, M predictions, D width, K outputs.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from trainer import metrics
from trainer.finetune.examples import Example, ExampleBatch, collate, scoring_batches
from trainer.finetune.labels import Labels
from trainer.finetune.note_finder import NoteFinder
from trainer.model.encoder import Encoder, initialise
from trainer.sections.finetune import METRICS, Kind
from trainer.tasks.encode import encode_and_see, encode_at


class Classifier(nn.Module):
    """h[CLS] -> dense -> tanh -> dropout -> out (BERT, fairseq); for the words of a text h -> dropout -> out."""

    def __init__(self, encoder: Encoder, labels: Labels, dropout: float = 0.0) -> None:
        super().__init__()
        self.encoder = encoder
        width = encoder.config.width
        self.dense = nn.Identity() if labels.kind == "tokens" else nn.Sequential(nn.Linear(width, width), nn.Tanh())
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(width, labels.outputs)
        for part in (self.dense, self.out):
            initialise(part, encoder.config.init_std)

    def forward(self, batch: ExampleBatch) -> tuple[Tensor, Tensor | None]:
        """(logits_MK, what rare words of the batch were seen as, in training)"""
        if self.training:
            h_MD, notes_ND = encode_and_see(self.encoder, batch, batch.index_M)
        else:
            h_MD, notes_ND = encode_at(self.encoder, batch, batch.index_M), None
        return self.out(self.dropout(self.dense(h_MD))), notes_ND


def loss_of(logits_MK: Tensor, labels_M: Tensor, kind: Kind, weights_K: Tensor | None = None) -> Tensor:
    """Cross-entropy, weighted by class where told; for regression the squared error of the standardised value."""
    if kind == "regression":
        return F.mse_loss(logits_MK.float()[:, 0], labels_M)
    return F.cross_entropy(logits_MK.float(), labels_M.long(), weight=weights_K)


@torch.no_grad()
def predict(
    model: Classifier,
    examples: Sequence[Example],
    batch_tokens: int,
    device: torch.device,
    finder: NoteFinder | None = None,
) -> list[NDArray[np.float32]]:
    """logits [predictions, outputs] of each example in fp32, in the order given. The model is left in the mode it was
    in."""
    training = model.training
    model.eval()
    found: list[NDArray[np.float32]] = [np.zeros((0, 0), dtype=np.float32)] * len(examples)
    try:
        for numbers in scoring_batches(examples, batch_tokens):
            batch = collate(examples, numbers, model.encoder.config.max_length, finder)
            logits_MK = model(batch.to(device))[0].float().cpu()
            sizes = [len(examples[k].at) for k in numbers]
            for k, part in zip(numbers, logits_MK.split(sizes), strict=True):
                found[k] = part.numpy()
    finally:
        model.train(training)
    return found


def scores_of(logits: Sequence[NDArray[np.float32]], examples: Sequence[Example], labels: Labels) -> dict[str, float]:
    """The metrics of the kind of task, and 'loss'. Words that were cut off count as wrong."""
    flat = np.concatenate(logits)
    truth = np.array([label for example in examples for label in example.labels])
    loss = float(loss_of(torch.from_numpy(flat), torch.from_numpy(truth).float(), labels.kind))
    found: dict[str, Any] = {"loss": loss}
    if labels.kind == "regression":
        guess: NDArray[Any] = flat[:, 0]
    else:
        guess, truth = flat.argmax(1), truth.astype(np.int64)
    for name in METRICS[labels.kind]:
        function = getattr(metrics, name)
        found[name] = (
            function(truth, guess, len(labels.names)) if name in ("f1", "matthews") else function(truth, guess)
        )
    if labels.kind == "tokens":
        found["accuracy"] *= len(truth) / max(sum(example.words for example in examples), 1)
    return found
