"""One fine-tuning: a rate, a seed, epochs until the validation score no longer rises.

Everything drawn depends on (seed, epoch, batch), so a trial that was killed and goes on from its last epoch ends with
the bits of an undisturbed one (CPU).
"""

import json
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from trainer.checkpoint import CheckpointError
from trainer.data.counter import Purpose, key
from trainer.finetune.classifier import Classifier, loss_of, predict, scores_of
from trainer.finetune.examples import Example, ExampleBatch, collate, training_batches
from trainer.finetune.labels import Labels, balanced_weights
from trainer.finetune.note_finder import NoteFinder
from trainer.finetune.taught import Taught, taught_loss
from trainer.model.encoder import Encoder
from trainer.notes import set_notes
from trainer.optim import (
    build_optimizer,
    clip_gradients,
    load_optimizer_tensors,
    optimizer_tensors,
    set_learning_rate,
)
from trainer.precision import Precision, autocast
from trainer.run import write_atomic
from trainer.sections.finetune import FinetuneConfig
from trainer.sections.optimizer import OptimizerConfig

STATE_FILE = "state.safetensors"
BEST_FILE = "best.safetensors"
DONE_FILE = "trial.json"
STEPS_PER_TELL = 10


@dataclass
class TrialState:
    """What a trial has come to."""

    rate: float
    seed: int
    epoch: int = 0
    """Epochs done."""
    best_epoch: int = 0
    """Counted from 1; 0 where no epoch was sound."""
    scores: list[dict[str, float]] = field(default_factory=list)
    """Of the validation file, after each epoch."""
    losses: list[float] = field(default_factory=list)
    """Mean training loss of each epoch."""
    diverged: bool = False

    def best(self, metric: str) -> float:
        """-inf where no epoch was sound."""
        return self.scores[self.best_epoch - 1][metric] if self.best_epoch else -math.inf


@dataclass(frozen=True)
class Job:
    """What all trials of a fine-tuning share."""

    encoder: Callable[[], Encoder]
    """A fresh copy of the trained encoder, with the dropout of fine-tuning."""
    labels: Labels
    train: Sequence[Example]
    valid: Sequence[Example]
    config: FinetuneConfig
    longest: int
    device: torch.device
    precision: Precision
    finder: NoteFinder | None = None
    """Of words with notes, where the encoder keeps them."""
    taught: Taught | None = None
    """What a teacher says of `train`."""

    def loss(self, logits_MK: Tensor, batch: ExampleBatch, weights_K: Tensor | None) -> Tensor:
        """Mean over the batch's predictions; see `taught_loss` where there is a teacher."""
        kind = self.labels.kind
        if self.taught is None:
            return loss_of(logits_MK, batch.labels_M, kind, weights_K)
        told_MK = self.taught.of(batch.examples, [len(self.train[k].at) for k in batch.examples]).to(self.device)
        return taught_loss(logits_MK, batch.labels_M, told_MK, kind, self.taught, weights_K)

    def classifier(self, seed: int) -> Classifier:
        """The encoder with a head that `seed` draws."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(_draw_seed(seed))
            return Classifier(self.encoder(), self.labels, self.config.dropout).to(self.device)


class StoppedError(Exception):
    """The user asked for an end; what is saved goes on with --resume."""


def _draw_seed(*address: int) -> int:
    return key(Purpose.FINETUNE, *address) >> 1


def run_trial(
    job: Job,
    rate: float,
    seed: int,
    directory: Path,
    tell: Callable[[float, str], None],
    stop: Callable[[], bool] = lambda: False,
) -> TrialState:
    """Trains, or tells what a finished trial came to; the best epoch's weights lie in DIRECTORY/best.safetensors.

    `tell` is told the share of the planned epochs that is done. Raises StoppedError, OSError, CheckpointError.
    """
    config, metric = job.config, job.config.primary
    if (directory / DONE_FILE).is_file():
        return _finished(directory / DONE_FILE, rate, seed)
    model = job.classifier(seed)
    settings = OptimizerConfig(
        learning_rate=rate, betas=(0.9, 0.999), weight_decay=config.weight_decay, clip_norm=config.clip_norm
    )
    optimizer = build_optimizer(model, settings)
    state = TrialState(rate, seed)
    best: dict[str, Tensor] = {}
    directory.mkdir(parents=True, exist_ok=True)
    saved = directory / STATE_FILE
    if saved.is_file():
        state, best = _load(saved, model, optimizer, state)
    taker = set_notes(model.encoder, "update", config.notes_gamma) if config.notes == "update" else None
    weights_K = None
    if config.class_weights == "balanced" and job.labels.kind != "regression":
        balanced = balanced_weights([example.labels for example in job.train], job.labels.outputs)
        weights_K = torch.from_numpy(balanced).float().to(job.device)
    while not _over(state, config):
        batches = training_batches(
            job.train, config.batch_rows, config.batch_tokens, job.longest, _draw_seed(seed, 1), state.epoch
        )
        model.train()
        total, targets = 0.0, 0
        for number, numbers in enumerate(batches):
            if stop():
                raise StoppedError
            progress = (state.epoch + (number + 0.5) / len(batches)) / config.epochs
            set_learning_rate(optimizer, rate * _factor(progress, config.warmup))
            torch.manual_seed(_draw_seed(seed, 2, state.epoch, number))
            batch = collate(job.train, numbers, job.longest, job.finder).to(job.device)
            with autocast(job.device, job.precision):
                logits_MK, notes_ND = model(batch)
            loss = job.loss(logits_MK, batch, weights_K)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            norm = clip_gradients(model.parameters(), config.clip_norm)
            state.diverged = not (math.isfinite(float(loss.detach())) and math.isfinite(float(norm)))
            if state.diverged:
                break
            optimizer.step()
            if taker is not None and notes_ND is not None:
                # Of a batch it reads tokens, words and their number alone.
                taker.update([(batch, notes_ND)])  # type: ignore[list-item]
            total, targets = total + float(loss.detach()) * len(batch.labels_M), targets + len(batch.labels_M)
            if number % STEPS_PER_TELL == 0:
                tell(progress, f"rate {rate:g}, seed {seed}, epoch {state.epoch + 1}: loss {total / targets:.4f}")
        if state.diverged:
            break
        logits = predict(model, job.valid, config.batch_tokens, job.device, job.finder)
        state.scores.append(scores_of(logits, job.valid, job.labels))
        state.losses.append(total / max(targets, 1))
        state.epoch += 1
        # A tie keeps the earlier one.
        if state.scores[-1][metric] > state.best(metric):
            state.best_epoch = state.epoch
            best = {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}
        _save(saved, state, model, optimizer, best)
    if best:
        write_tensors(directory / BEST_FILE, best)
    write_atomic(directory / DONE_FILE, json.dumps(asdict(state), indent=1) + "\n")
    saved.unlink(missing_ok=True)
    return state


def _finished(path: Path, rate: float, seed: int) -> TrialState:
    try:
        state = TrialState(**json.loads(path.read_bytes()))
        if (state.rate, state.seed) != (rate, seed):
            raise ValueError(f"it is of rate {state.rate:g} and seed {state.seed}")
    except (ValueError, TypeError) as error:
        raise CheckpointError(f"{path}: damaged ({error}); remove its directory to begin this trial anew") from error
    return state


def _over(state: TrialState, config: FinetuneConfig) -> bool:
    return state.diverged or state.epoch >= config.epochs or state.epoch - state.best_epoch >= config.patience


def _factor(progress: float, warmup: float) -> float:
    return progress / warmup if progress < warmup else (1 - progress) / (1 - warmup)


def write_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Atomic. Raises OSError."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, temporary, metadata)
    except SafetensorError as error:
        temporary.unlink(missing_ok=True)
        raise OSError(f"{path}: cannot be written ({error})") from error
    os.replace(temporary, path)


def _save(
    path: Path, state: TrialState, model: Classifier, optimizer: torch.optim.Optimizer, best: dict[str, Tensor]
) -> None:
    tensors = {f"model/{name}": tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}
    tensors |= {f"best/{name}": tensor.clone() for name, tensor in best.items()}
    tensors |= {
        f"optimizer/{name}": t.detach().cpu().clone() for name, t in optimizer_tensors(model, optimizer).items()
    }
    write_tensors(path, tensors, {"trial": json.dumps(asdict(state))})


def _load(
    path: Path, model: Classifier, optimizer: torch.optim.Optimizer, fresh: TrialState
) -> tuple[TrialState, dict[str, Tensor]]:
    """Raises CheckpointError where the file is damaged or another trial's."""
    parts: dict[str, dict[str, Tensor]] = {"model": {}, "best": {}, "optimizer": {}}
    try:
        with safe_open(path, "pt") as file:
            state = TrialState(**json.loads(file.metadata()["trial"]))
            for name in file.keys():  # noqa: SIM118 (a safetensors handle is no dict)
                part, _, rest = name.partition("/")
                parts[part][rest] = file.get_tensor(name)
        if (state.rate, state.seed) != (fresh.rate, fresh.seed):
            raise ValueError(f"it is of rate {state.rate:g} and seed {state.seed}")
        model.load_state_dict(parts["model"])
        load_optimizer_tensors(model, optimizer, tensors=parts["optimizer"])
    except (SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise CheckpointError(
            f"{path}: cannot go on from here ({error}); remove it to begin this trial anew"
        ) from error
    return state, parts["best"]


def describe(state: TrialState, metric: str) -> dict[str, Any]:
    """For result.json."""
    best = state.scores[state.best_epoch - 1] if state.best_epoch else {}
    return {
        "learning_rate": state.rate,
        "seed": state.seed,
        "score": best.get(metric),
        "scores": best,
        "best_epoch": state.best_epoch,
        "epochs": state.epoch,
        "curve": [scores[metric] for scores in state.scores],
        "losses": state.losses,
        "diverged": state.diverged,
    }
