"""The loss of a classifier that learns from another one, beside the labels or without them.

Shape suffixes: M predictions, K outputs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from trainer.distillation.losses import divergence_sum
from trainer.finetune.classifier import loss_of
from trainer.sections.finetune import Kind


@dataclass(frozen=True)
class Taught:
    """What a teacher says of each training example, and what that counts."""

    logits: list[NDArray[np.float32]]
    """[predictions, outputs] of each, in the student's labels and scale."""
    weight: float
    temperature: float

    def of(self, numbers: Sequence[int], predictions: Sequence[int]) -> Tensor:
        """logits_MK of a batch of examples with so many predictions each; NaN where the teacher has cut the text."""
        rows = []
        for number, count in zip(numbers, predictions, strict=True):
            found = torch.from_numpy(self.logits[number][:count])
            rows.append(F.pad(found, (0, 0, 0, count - len(found)), value=float("nan")))
        return torch.cat(rows)


def taught_loss(
    logits_MK: Tensor,
    labels_M: Tensor,
    told_MK: Tensor,
    kind: Kind,
    taught: Taught,
    weights_K: Tensor | None = None,
) -> Tensor:
    """(1 - weight) of the labels' loss + weight of the teacher's, each a mean over what has one: KL(teacher || student)
    times the temperature's square, for regression the squared difference of the two values."""
    known_M, told_M = ~labels_M.isnan(), ~told_MK.isnan().any(-1)
    loss = logits_MK.float().sum() * 0
    if taught.weight < 1 and bool(known_M.any()):
        loss = loss + (1 - taught.weight) * loss_of(logits_MK[known_M], labels_M[known_M], kind, weights_K)
    if taught.weight > 0 and bool(told_M.any()):
        student_MK, teacher_MK = logits_MK[told_M].float(), told_MK[told_M]
        if kind == "regression":
            soft = F.mse_loss(student_MK, teacher_MK)
        else:
            soft = divergence_sum(teacher_MK, student_MK, taught.temperature) / len(teacher_MK)
        loss = loss + taught.weight * soft
    return loss
