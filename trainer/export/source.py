"""What can be exported: a run's masked-LM model, or a fine-tuned classifier."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from schemas.vocabulary import CLS, FIRST_ORDINARY, PAD, SEP
from trainer.checkpoint import CheckpointError
from trainer.finetune.directory import TASK, ClassifierDirectory, Head, Loaded, load_classifier, task_of
from trainer.light.early_exit.directory import TASK as EARLY_EXIT
from trainer.light.early_exit.directory import LoadedEarlyExit, load_early_exit
from trainer.model.config import ModelConfig
from trainer.model.encoder import Encoder
from trainer.model.notes import NoteTable
from trainer.notes import set_notes
from trainer.run import RunDirectory, load_model
from trainer.sections.task import KINDS
from trainer.tasks.masked_lm import MaskedLM
from trainer.tokenizer import Tokenizer

Kind = Literal["masked-lm", "classification", "regression", "tokens"]


class ExportError(ValueError):
    """This model cannot be exported like this. The message says why and what can be done."""


@dataclass(frozen=True)
class Source:
    """A trained model without notes, in eval mode on the CPU."""

    path: Path
    kind: Kind
    encoder: Encoder
    head: dict[str, Tensor]
    """fp32. Of a masked LM dense.*, norm.* and bias, as `MaskedLMHead`'s; else dense.weight, dense.bias (but of words),
    out.weight and out.bias. A regression's outputs are values, not standardised ones."""
    classifier: Head | None
    """Of a classifier: labels, whether it reads pairs, settings."""
    vocabulary: Path
    notes_dropped: int = 0
    """Words whose notes are left behind."""

    @property
    def config(self) -> ModelConfig:
        return self.encoder.config

    @property
    def longest(self) -> int:
        """Pieces of a text that the model was made for."""
        return self.config.max_length if self.classifier is None else self.classifier.max_length

    @property
    def labels(self) -> list[str]:
        """Names of the outputs; none of a masked LM."""
        if self.classifier is None:
            return []
        return ["value"] if self.kind == "regression" else self.classifier.labels


def open_source(path: str | Path, drop_notes: bool = False) -> Source:
    """Raises RunError, CheckpointError, TokenizerError where nothing sound is there; ExportError for a run without a
    masked-LM head, or with notes that cannot go along."""
    task = task_of(path)
    if task == TASK:
        return classifier_source(path, load_classifier(path))
    if task is not None and task not in KINDS:
        raise ExportError(
            f"{path}: holds a model of task '{task}'; export the classifier that it was made from, or `quantise` one "
            "with early exits"
        )
    model = load_model(path)
    if not isinstance(model, MaskedLM):
        raise ExportError(
            f"{path}: was trained on {model.kind}, which leaves no masked-LM head; "
            f"`siliang-trainer finetune {path} ...` makes a classifier, which can be exported"
        )
    dropped = 0
    if (notes := model.encoder.notes) is not None:
        dropped = _used(notes)
        if dropped and not drop_notes:
            raise ExportError(
                f"{path}: reads notes of {dropped:,} rare words. Where one enters depends on neighbouring pieces, so "
                "no table of embeddings can hold them. --drop-notes exports the model without, as `fill` and "
                "fine-tuning use it by default"
            )
        set_notes(model.encoder, "drop")
    vocabulary = RunDirectory(path).vocabulary
    if (pieces := len(Tokenizer(vocabulary))) != model.config.vocabulary_size:
        raise CheckpointError(f"{vocabulary}: {pieces:,} pieces, the model has {model.config.vocabulary_size:,}")
    head = {name: tensor.detach() for name, tensor in model.head.state_dict().items()}
    return Source(Path(path), "masked-lm", model.encoder, head, None, vocabulary, dropped)


def open_with_exits(path: str | Path, drop_notes: bool = False) -> tuple[Source, LoadedEarlyExit | None]:
    """As `open_source`, and a classifier with early exits as well: its whole model, and itself."""
    if task_of(path) != EARLY_EXIT:
        return open_source(path, drop_notes), None
    exits = load_early_exit(path)
    return classifier_source(path, exits), exits


def _used(notes: NoteTable) -> int:
    """Words whose notes change anything."""
    if notes.config.share == 0:
        return 0
    return int((notes.taken_W > 0).sum()) if notes.config.filled_only else len(notes.taken_W)


def classifier_source(path: str | Path, loaded: Loaded) -> Source:
    """Raises ExportError where it reads notes."""
    encoder, head = loaded.model.encoder, loaded.head
    if encoder.notes is not None:
        if used := _used(encoder.notes):
            raise ExportError(
                f"{path}: reads notes of {used:,} rare words, which no other program finds. Fine-tune again with "
                "`--set notes=drop` (the default) for a classifier that can be exported"
            )
        set_notes(encoder, "drop")
    tensors = {name: tensor.detach() for name, tensor in loaded.model.state_dict().items()}
    weights = {
        "dense.weight": tensors.get("dense.0.weight"),
        "dense.bias": tensors.get("dense.0.bias"),
        "out.weight": tensors["out.weight"] * head.scale,
        "out.bias": tensors["out.bias"] * head.scale + head.mean,
    }
    held = {name: tensor for name, tensor in weights.items() if tensor is not None}
    return Source(Path(path), head.kind, encoder, held, head, ClassifierDirectory(path).vocabulary)


def sample_rows(source: Source, rows: int = 3) -> tuple[Tensor, Tensor]:
    """(tokens_BT, mask_BT): rows of several lengths, as any text could be, to compare an export with its source."""
    longest = min(source.longest, 48)
    generator = torch.Generator().manual_seed(0)
    tokens_BT = torch.randint(FIRST_ORDINARY, source.config.vocabulary_size, (rows, longest), generator=generator)
    lengths_B = torch.linspace(longest, min(3, longest), rows).long()
    place_T = torch.arange(longest)
    tokens_BT[:, 0] = CLS
    tokens_BT[torch.arange(rows), lengths_B - 1] = SEP
    mask_BT = (place_T < lengths_B[:, None]).long()
    return tokens_BT.where(mask_BT > 0, torch.tensor(PAD)), mask_BT
