"""Held-out losses, beside what a model that knows word frequencies alone would reach."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from schemas.manifest import file_digest
from schemas.vocabulary import FIRST_ORDINARY
from trainer.config import build_config
from trainer.data.batch import Batch
from trainer.data.frequency import token_counts
from trainer.data.held_out import held_out
from trainer.data.rare import NoteWindow, note_words
from trainer.data.shards import Corpus, CorpusError
from trainer.distributed import World
from trainer.parts import PartSums
from trainer.precision import Precision, autocast
from trainer.run import RunDirectory, load_model
from trainer.tasks.task import Task

DOCUMENTS_AT_ONCE = 4096


@dataclass(frozen=True)
class HeldOut:
    """All losses and entropies in nats a token."""

    task: str
    held_out_loss: float
    """Mean loss of the run's task over the held-out rows, on masks that never change."""
    parts: dict[str, float]
    """The task's parts; `masked_lm` is the loss of a masked-LM head, where the encoder has one."""
    unigram_entropy: float
    """Empirical entropy of the ordinary pieces of the whole validation split, under their own distribution:
    -sum p ln p. The best any model can do that knows nothing but held-out frequencies."""
    unigram_cross_entropy: float
    """Mean of -ln q over the same targets as the loss; q from `frequency/tokens.arrow`, counts plus one."""
    targets: int
    rows: int


def unigram_logs(counts: NDArray[np.int64]) -> torch.Tensor:
    """ln q of every id, fp32 [V], counts plus one so that no id is impossible."""
    smoothed = counts.astype(np.float64) + 1
    return torch.from_numpy(np.log(smoothed / smoothed.sum())).float()


def unigram_entropy(corpus: Corpus) -> float:
    """Empirical entropy, nats, of the ordinary pieces of all documents of the split."""
    counts = np.zeros(corpus.vocabulary_size, dtype=np.int64)
    for first in range(0, corpus.documents, DOCUMENTS_AT_ONCE):
        last = min(first + DOCUMENTS_AT_ONCE, corpus.documents)
        tokens = np.concatenate([corpus.tokens(i) for i in range(first, last)])
        counts += np.bincount(tokens, minlength=len(counts))
    ordinary = counts[FIRST_ORDINARY:].astype(np.float64)
    shares = ordinary[ordinary > 0] / ordinary.sum()
    return float(-(shares * np.log(shares)).sum()) + 0.0


def unigram_cross_entropy(batches: Iterable[Batch], counts: NDArray[np.int64]) -> float:
    """Mean of -ln q over the batches' targets, nats."""
    logs = unigram_logs(counts).double()
    total, targets = 0.0, 0
    for batch in batches:
        total -= float(logs[batch.target_M.cpu()].sum())
        targets += len(batch.target_M)
    return total / max(targets, 1)


@dataclass(frozen=True)
class HeldOutLosses:
    """What a task reaches on held-out rows."""

    loss: float
    """The task's own, mean over its predictions."""
    parts: dict[str, float]
    """By the task's names; `masked_lm` where the encoder has a masked-LM head."""
    targets: int
    rows: int

    def told(self, names: Sequence[str]) -> str:
        """'replaced accuracy 0.412, ...'"""
        return ", ".join(f"{n.replace('_', ' ')} {self.parts[n]:.4f}" for n in names if n in self.parts)


@torch.no_grad()
def held_out_losses(
    task: Task, batches: Iterable[Batch], device: torch.device, precision: Precision, world: World | None = None
) -> HeldOutLosses:
    """Means over all predictions; the task is left in the mode it was in.

    The processes of `world` share the batches; all get the same result.
    Raises CorpusError where there is nothing to predict.
    """
    world = world or World()
    training = task.training
    task.eval()
    targets, rows, sums, totals = 0, 0, PartSums(), [0]
    try:
        held = [task.prepare(batch) for batch in batches]
        counts = [task.counts(batch) for batch in held]
        totals = [sum(term) for term in zip(*counts, strict=True)]
        targets, rows = sum(len(b.target_M) for b in held), sum(len(b.tokens_BT) for b in held)
        if targets == 0:
            raise CorpusError("the held-out rows hold no target; raise evaluate.rows or data.mask_rate")
        for first in range(0, len(held), world.size):
            # A process without a batch of its own computes one for nothing: a sharded model waits for all of them.
            mine = first + world.rank < len(held)
            batch = held[first + world.rank] if mine else held[0]
            if world.size == 1 and not any(counts[first]):
                continue
            with autocast(device, precision):
                output = task(batch.to(device))
            sums.add(output, 1.0 if mine else 0.0)
    finally:
        task.train(training)
    loss, parts = sums.read(world.sum(sums.numbers()), totals)
    return HeldOutLosses(loss, parts, targets, rows)


def held_out_loss(
    task: Task, batches: Iterable[Batch], device: torch.device, precision: Precision, world: World | None = None
) -> tuple[float, int, int]:
    """(loss, targets, rows) of `held_out_losses`."""
    found = held_out_losses(task, batches, device, precision, world)
    return found.loss, found.targets, found.rows


def evaluate_run(run: str | Path, shards: str | Path | None = None) -> HeldOut:
    """Held-out loss of a run's model, in fp32, on as many rows and on the same masks as in training.

    Raises RunError, CheckpointError, ManifestError, CorpusError; CorpusError too where the shards have another
    vocabulary than the run.
    """
    directory = RunDirectory(run)
    model = load_model(run)
    config = build_config(directory.config)
    shards = Path(shards) if shards is not None else directory.shards()
    corpus = Corpus(shards, "valid")
    vocabulary = shards / "vocabulary" / "siliang.model"
    if not vocabulary.is_file() or file_digest(vocabulary) != file_digest(directory.vocabulary):
        raise CorpusError(f"{shards}: has another vocabulary than {run}; the losses would not compare")
    data = config.data
    masking = config.evaluate.masking(data.masking())
    window = None
    if (notes := model.encoder.notes) is not None:
        window = NoteWindow(notes.config.words, config.notes.half_window)
        if note_words([corpus]) != window.words:
            raise CorpusError(f"{shards}: has other notes than {run} was trained with ({window.words:,} words)")
    rows = data.batch_rows, masking, config.evaluate.rows
    batches = list(held_out(corpus, data.sequence_length, *rows, notes=window))
    found = held_out_losses(model, batches, torch.device("cpu"), "fp32")
    return HeldOut(
        task=model.kind,
        held_out_loss=found.loss,
        parts=found.parts,
        unigram_entropy=unigram_entropy(corpus),
        unigram_cross_entropy=unigram_cross_entropy(batches, token_counts(shards, corpus.vocabulary_size)),
        targets=found.targets,
        rows=found.rows,
    )
