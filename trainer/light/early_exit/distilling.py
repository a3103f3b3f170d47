"""Branches learn what the fine-tuned head of the same model says, which stays as it is (FastBERT, 3.2.2).

Shape suffixes: B rows, T positions, D width, K classes, E exits.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from trainer.data.counter import Purpose, key
from trainer.finetune.examples import Example, collate, scoring_batches, training_batches
from trainer.finetune.note_finder import NoteFinder
from trainer.light.early_exit.model import EarlyExitClassifier
from trainer.optim import build_optimizer, clip_gradients, set_learning_rate
from trainer.sections.early_exit import EarlyExitConfig
from trainer.sections.optimizer import OptimizerConfig


class DistillingError(ValueError):
    """The branches came to nothing."""


class StoppedError(Exception):
    """The user asked for an end; nothing is kept."""


@dataclass
class History:
    """How the branches learnt."""

    rates: list[float] = field(default_factory=list)
    """Learning rate of each epoch's last step."""
    losses: list[list[float]] = field(default_factory=list)
    """By epoch and branch: mean over training texts."""
    divergences: list[list[float]] = field(default_factory=list)
    """By epoch and branch, nats: KL(fine-tuned head || branch) on the validation texts, at temperature 1."""
    best_epochs: list[int] = field(default_factory=list)
    """Of each branch, from 1."""


def draw_seed(*address: int) -> int:
    return key(Purpose.EARLY_EXIT, *address) >> 1


def divergence(teacher_BK: Tensor, student_BK: Tensor, temperature: float = 1.0) -> Tensor:
    """KL(teacher || student) of each row, times the temperature's square, which keeps gradients of one size (Hinton et
    al. 2015). The direction is the released code's; the paper's eq. 5 has the other."""
    teacher_BK, student_BK = teacher_BK.float() / temperature, student_BK.float() / temperature
    each_BK = F.kl_div(student_BK.log_softmax(-1), teacher_BK.log_softmax(-1), reduction="none", log_target=True)
    return each_BK.sum(-1) * temperature**2


def factor(step: int, steps: int, warmup: float) -> float:
    """Share of the peak rate at step `step` (0-based) of all `steps`, never 0."""
    progress = (step + 0.5) / steps
    return progress / warmup if progress < warmup else (1 - progress) / (1 - warmup)


def branch_loss(branch_BK: Tensor, teacher_BK: Tensor, labels_B: Tensor, config: EarlyExitConfig) -> Tensor:
    loss = divergence(teacher_BK, branch_BK, config.temperature).mean()
    if config.label_share:
        true = F.cross_entropy(branch_BK.float(), labels_B.long())
        loss = (1 - config.label_share) * loss + config.label_share * true
    return loss


def distil(
    model: EarlyExitClassifier,
    train: Sequence[Example],
    valid: Sequence[Example],
    config: EarlyExitConfig,
    longest: int,
    finder: NoteFinder | None = None,
    tell: Callable[[float, str], None] = lambda share, text: None,
    stop: Callable[[], bool] = lambda: False,
) -> History:
    """Trains the branches alone; the model is left with each one's best epoch, in eval mode.

    Everything drawn depends on (seed, epoch, batch). Raises DistillingError, StoppedError.
    """
    device = next(model.parameters()).device
    model.train_branches()
    settings = OptimizerConfig(
        learning_rate=config.rate(model.encoder.config.width),
        betas=(0.9, 0.999),
        weight_decay=config.weight_decay,
        clip_norm=config.clip_norm,
    )
    optimizer = build_optimizer(model.branches, settings)
    plan = [
        training_batches(train, config.batch_rows, config.batch_tokens, longest, draw_seed(config.seed, 1), epoch)
        for epoch in range(config.epochs)
    ]
    # Of all epochs: FastBERT's released code counted three, and its rate was 0 from then on.
    steps, step = sum(map(len, plan)), 0
    history = History(best_epochs=[0] * len(model.branches))
    best: list[dict[str, Tensor]] = [{} for _ in model.branches]
    for epoch, batches in enumerate(plan):
        model.train_branches()
        sums = torch.zeros(len(model.branches), dtype=torch.float64)
        for number, numbers in enumerate(batches):
            if stop():
                raise StoppedError
            rate = settings.learning_rate * factor(step, steps, config.warmup)
            set_learning_rate(optimizer, rate)
            torch.manual_seed(draw_seed(config.seed, 2, epoch, number))
            batch = collate(train, numbers, longest, finder).to(device)
            states, teacher_BK = model.states(batch)
            optimizer.zero_grad(set_to_none=True)
            for k, (branch, h_BTD) in enumerate(zip(model.branches, states, strict=True)):
                loss = branch_loss(branch(h_BTD, batch.segments_BT), teacher_BK, batch.labels_M, config)
                loss.backward()
                norm = clip_gradients(branch.parameters(), config.clip_norm)
                if not (math.isfinite(float(loss.detach())) and math.isfinite(float(norm))):
                    raise DistillingError(
                        f"exit {model.exits[k]} diverged in epoch {epoch + 1}; lower learning_rate ({rate:g})"
                    )
                sums[k] += float(loss.detach()) * len(numbers)
            optimizer.step()
            step += 1
            if number % 10 == 0:
                tell(step / steps, f"epoch {epoch + 1} of {config.epochs}")
        history.rates.append(rate)
        history.losses.append((sums / len(train)).tolist())
        found = measure(model, valid, config.batch_tokens, longest, finder)
        history.divergences.append(found)
        for k, branch in enumerate(model.branches):
            before = history.best_epochs[k]
            if not before or found[k] < history.divergences[before - 1][k]:
                history.best_epochs[k] = epoch + 1
                best[k] = {name: tensor.detach().clone() for name, tensor in branch.state_dict().items()}
    for branch, kept in zip(model.branches, best, strict=True):
        branch.load_state_dict(kept)
    model.eval().requires_grad_(False)
    return history


@torch.no_grad()
def all_logits(
    model: EarlyExitClassifier, examples: Sequence[Example], batch_tokens: int, longest: int, finder: NoteFinder | None
) -> Tensor:
    """fp32 logits_NEK of each example by every branch and, last, the fine-tuned head; on the CPU. In eval mode."""
    device = next(model.parameters()).device
    model.eval()
    found = torch.empty(len(examples), len(model.branches) + 1, model.out.out_features)
    for numbers in scoring_batches(examples, batch_tokens):
        batch = collate(examples, numbers, longest, finder).to(device)
        states, teacher_BK = model.states(batch)
        told: list[Any] = [branch(h, batch.segments_BT) for branch, h in zip(model.branches, states, strict=True)]
        found[numbers] = torch.stack([*told, teacher_BK], 1).float().cpu()
    return found


def measure(
    model: EarlyExitClassifier, examples: Sequence[Example], batch_tokens: int, longest: int, finder: NoteFinder | None
) -> list[float]:
    """Mean divergence of each branch from the head."""
    logits_NEK = all_logits(model, examples, batch_tokens, longest, finder)
    return [float(divergence(logits_NEK[:, -1], logits_NEK[:, k]).mean()) for k in range(len(model.branches))]
