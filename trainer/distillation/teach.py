"""A teacher's distributions, stored once for the rows and masks that a student will see."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from schemas.manifest import file_digest
from trainer.config import ConfigError, TrainConfig
from trainer.data.open import Shards
from trainer.data.rare import NoteWindow, note_words
from trainer.distillation.losses import top_shares
from trainer.distillation.store import StoreManifest, StoreWriter, identity_of
from trainer.distillation.teacher import load_teacher
from trainer.export.staging import check_empty, staged
from trainer.loop import StopRequest
from trainer.precision import autocast, choose, measure, resolve_device
from trainer.progress import ProgressLine
from trainer.resume import data_identity
from trainer.tasks.masked_lm import HEAD_LOGITS

TOP_K = 16
"""Pieces kept where the config names no number: 96 bytes a predicted position."""


def teach(
    teacher: str | Path,
    shards: str | Path | Sequence[str | Path],
    output: str | Path,
    config: TrainConfig,
    line: ProgressLine,
    steps: int | None = None,
) -> dict[str, Any]:
    """Stores what `teacher` says of the first `steps` steps (default: all of the schedule) of a student's run with
    `config`; numbers to tell. A signal ends it (KeyboardInterrupt): nothing is kept then.

    Raises ConfigError, RunError, CheckpointError, CorpusError, RunInUseError, OSError.
    """
    check_empty(output)
    if steps is None:
        if config.schedule.by != "steps":
            raise ConfigError(f"schedule.by = {config.schedule.by} does not say how many rows are needed: add --steps")
        steps = config.schedule.steps
    if config.system.threads:
        torch.set_num_threads(config.system.threads)
    told = config.distillation.model_copy(update={"teacher": str(teacher)})
    config = config.model_copy(update={"distillation": told})
    opened = Shards(shards, config.data)
    corpora, directory = (opened.corpora("train"), opened.corpora("valid")), opened.directories[0]
    words = note_words(corpora[0]) if config.notes.enabled else None
    window = None if words is None else NoteWindow(words, config.notes.half_window)
    vocabulary_size = corpora[0][0].vocabulary_size
    found = load_teacher(config, config.encoder(vocabulary_size, words), data_identity(directory, *corpora))
    device = resolve_device(config.system.device)
    precision = choose(config.system.precision, measure(device))
    found.model.to(device)
    stream = opened.stream(config.system.seed, config.micro_rows, notes=window)
    count, temperature = min(told.top_k or TOP_K, vocabulary_size), told.temperature
    manifest = StoreManifest(
        teacher=found.digest,
        vocabulary=file_digest(directory / "vocabulary" / "siliang.model"),
        vocabulary_size=vocabulary_size,
        temperature=temperature,
        top_k=count,
        identity=identity_of(stream),
        rows=[],
    )
    part, batches = max(1, HEAD_LOGITS // vocabulary_size), stream.batches()
    targets, total = 0, steps * config.system.accumulate
    with staged(output) as place, StopRequest() as stop, line:
        writer = StoreWriter(place, len(stream.sources), vocabulary_size)
        for number in range(total):
            if stop.requested:
                raise KeyboardInterrupt
            batch = next(batches)[0]
            with autocast(device, precision):
                h_MD = found.tell(batch.to(device)).h_MD
                kept = [top_shares(found.logits(h).float(), count, temperature) for h in h_MD.split(part)]
            writer.add(batch, torch.cat([pieces for pieces, _ in kept]), torch.cat([shares for _, shares in kept]))
            targets += len(batch.target_M)
            line.update((number + 1) / total, f"{targets:,} positions")
        writer.close(manifest)
        size = sum(path.stat().st_size for path in place.rglob("*") if path.is_file())
    return {
        "rows": sum(writer.rows),
        "positions": targets,
        "top_k": count,
        "temperature": temperature,
        "bytes": size,
        "teacher": found.digest,
    }
