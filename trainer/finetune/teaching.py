"""A classifier that another one learns from, beside the labels or without them (LightPAFF's second stage, Song et al.
2020, arXiv 2004.12817). What it says of the training texts is computed once, before training, in eval mode.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from trainer.config import ConfigError
from trainer.finetune.classifier import predict
from trainer.finetune.directory import Loaded, load_classifier
from trainer.finetune.examples import Encoding
from trainer.finetune.labels import Labels
from trainer.finetune.table import Row
from trainer.finetune.taught import Taught
from trainer.sections.finetune import FinetuneConfig


def load_teacher(path: str | Path, labels: Labels, pair: bool, device: torch.device) -> Loaded:
    """Raises RunError and CheckpointError; ConfigError where it was made for another kind of task or other classes."""
    teacher = load_classifier(path, device)
    head = teacher.head
    if head.kind != labels.kind:
        raise ConfigError(f"--teacher {path}: is of kind '{head.kind}', this fine-tuning of kind '{labels.kind}'")
    if head.pair != pair:
        raise ConfigError(f"--teacher {path}: reads {'pairs of texts' if head.pair else 'single texts'}")
    if sorted(head.labels) != sorted(labels.names):
        raise ConfigError(
            f"--teacher {path}: its classes are {', '.join(head.labels)[:200]}; those of the training file are "
            f"{', '.join(labels.names)[:200]}"
        )
    return teacher


def teach(teacher: Loaded, rows: Sequence[Row], labels: Labels, config: FinetuneConfig, device: torch.device) -> Taught:
    """What the teacher says of the training texts, each cut as it cuts them."""
    head = teacher.head
    encoding = Encoding(teacher.tokenizer, head.kind, head.max_length, head.pair, refuse_long=False)
    examples = [encoding.encode(row) for row in rows]
    found = predict(teacher.model, examples, config.batch_tokens, device, teacher.finder)
    if labels.kind == "regression":
        found = [(x * head.scale + head.mean - labels.mean) / labels.scale for x in found]
    else:
        order = [head.labels.index(name) for name in labels.names]
        found = [np.ascontiguousarray(x[:, order]) for x in found]
    return Taught(found, config.teacher_weight, config.teacher_temperature)
