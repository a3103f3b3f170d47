"""Pruning a fine-tuned classifier; what is left learns from labels and from what was there before."""

import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from trainer.config import ConfigError
from trainer.finetune.classifier import Classifier, loss_of, predict, scores_of
from trainer.finetune.data import Files
from trainer.finetune.directory import Loaded
from trainer.finetune.examples import Encoding, Example, ExampleBatch, collate, scoring_batches
from trainer.finetune.labels import Labels
from trainer.finetune.table import Columns, Row, TableError, read_plain, read_rows
from trainer.finetune.taught import Taught
from trainer.finetune.teaching import teach
from trainer.finetune.trial import BEST_FILE, Job, run_trial
from trainer.light.pruning.importance import Importance, measure
from trainer.light.pruning.rounds import Weights
from trainer.model.config import ModelConfig
from trainer.model.encoder import Encoder
from trainer.precision import choose
from trainer.precision import measure as matmul_rates
from trainer.progress import ProgressLine
from trainer.sections.finetune import FinetuneConfig
from trainer.sections.pruning import PruneConfig


@dataclass(frozen=True)
class PrunedJob(Job):
    """A training that begins with weights that are there."""

    start: Weights | None = None

    def classifier(self, seed: int) -> Classifier:
        assert self.start is not None
        return built(self.start, self.labels, self.config.dropout).to(self.device)


def built(weights: Weights, labels: Labels, dropout: float = 0.0) -> Classifier:
    """With dropout inside the encoder as well."""
    config = weights.config.model_copy(update={"dropout": dropout})
    model = Classifier(Encoder(config), labels, dropout)
    model.load_state_dict(weights.tensors)
    return model


def _answered(model: nn.Module, batch: ExampleBatch) -> Tensor:
    return model(batch)[0].cpu()


@dataclass(frozen=True)
class Texts:
    """As pieces."""

    train: list[Example]
    valid: list[Example]
    test: list[Example]
    rows: list[Row]
    """Of `train`."""
    cut: dict[str, int]


def read_texts(files: Files, loaded: Loaded) -> Texts:
    """All of it, before anything is written. Raises TableError, LabelError, ConfigError, naming file and line."""
    head = loaded.head
    if (files.columns.text_b is not None) != head.pair:
        raise ConfigError(f"this classifier reads {'pairs: add --text-b COL' if head.pair else 'single texts'}")
    if files.columns.label is None:
        raise TableError("pruning a classifier needs a label column")
    encoding = Encoding(loaded.tokenizer, head.kind, head.max_length, head.pair, refuse_long=False)
    labels = head.meaning()
    plain = Columns(files.columns.text, files.columns.text_b)
    rows = {name: list(read_rows(path, files.columns)) for name, path in files.named().items()}
    for name, path in files.named().items():
        if not rows[name]:
            raise TableError(f"{path}: holds no example")
    more = [row for path in files.unlabelled for row in read_plain(path, plain)]
    found = {name: [encoding.encode(row, labels) for row in part] for name, part in rows.items()}
    found["train"] += [encoding.encode(row) for row in more]
    cut = {name: sum(example.cut for example in part) for name, part in found.items()}
    return Texts(found["train"], found["valid"], found.get("test", []), [*rows["train"], *more], cut)


class ClassifierSubject:
    """A classifier in rounds of pruning (`trainer.light.pruning.rounds.Subject`)."""

    def __init__(
        self, loaded: Loaded, texts: Texts, config: PruneConfig, device: torch.device, line: ProgressLine,
        stop: Callable[[], bool],
    ) -> None:  # fmt: skip
        self.loaded, self.texts, self.config, self.device = loaded, texts, config, device
        self.line, self.stop = line, stop
        self.precision = choose(config.precision, matmul_rates(device))
        self.labels, self.longest = loaded.head.meaning(), loaded.head.max_length
        metric = loaded.head.metric if config.metric == "auto" else config.metric
        self.settings = FinetuneConfig(
            kind=loaded.head.kind, metric=metric, epochs=1, batch_rows=config.batch_rows,
            batch_tokens=config.batch_tokens, warmup=config.warmup, weight_decay=config.weight_decay,
            clip_norm=config.clip_norm, dropout=config.dropout, teacher_weight=config.teacher_weight,
            teacher_temperature=config.teacher_temperature,
        )  # fmt: skip
        self.taught: Taught | None = None
        if config.teacher_weight and (config.epochs or config.final_epochs):
            self.taught = teach(loaded, texts.rows, self.labels, self.settings, device)
        # Spread over the file, which may be sorted.
        self.judged = texts.valid[:: -(-len(texts.valid) // config.examples)]

    @property
    def weights(self) -> Weights:
        """Of the whole model."""
        held = {name: tensor.detach().cpu() for name, tensor in self.loaded.model.state_dict().items()}
        return Weights(self.loaded.model.encoder.config, held)

    def build(self, config: ModelConfig) -> nn.Module:
        """Of a shape, with any weights."""
        return Classifier(Encoder(config), self.labels).eval()

    def passes(self, batch: int) -> list[Callable[[nn.Module], object]]:
        """Answers to a few batches of held-out texts, on the model's device and waited for."""
        count, finder = len(self.texts.valid), self.loaded.finder
        sets = [[k % count for k in range(first, first + batch)] for first in range(0, min(count, 4 * batch), batch)]
        held = [collate(self.texts.valid, numbers, self.longest, finder).to(self.device) for numbers in sets]
        return [partial(_answered, batch=one) for one in held]

    def importance(self, weights: Weights) -> Importance:
        model = built(weights, self.labels).to(self.device).eval().requires_grad_(False)

        def loss_sum(numbers: list[int]) -> Tensor:
            batch = collate(self.judged, numbers, self.longest, self.loaded.finder).to(self.device)
            logits_MK = model(batch)[0]
            return loss_of(logits_MK, batch.labels_M, self.labels.kind) * len(batch.labels_M)

        def batches() -> Iterable[tuple[int, Callable[[], Tensor]]]:
            for numbers in scoring_batches(self.judged, self.config.batch_tokens):
                yield len(numbers), partial(loss_sum, numbers)

        total = len(self.judged)
        return measure(
            model.encoder, batches(), model.out.weight, lambda done: self.line.update(done / total, "importance")
        )

    def recover(self, weights: Weights, number: int, last: bool) -> Weights:
        """The best of its epochs. Raises StoppedError."""
        config = self.config
        epochs = config.final_epochs if last else config.epochs
        if not epochs:
            return weights
        settings = self.settings.model_copy(update={"epochs": epochs, "patience": epochs})
        job = PrunedJob(
            encoder=lambda: Encoder(weights.config), labels=self.labels, train=self.texts.train,
            valid=self.texts.valid, config=settings, longest=self.longest, device=self.device, precision=self.precision,
            finder=self.loaded.finder, taught=self.taught, start=weights,
        )  # fmt: skip

        def tell(share: float, text: str) -> None:
            self.line.update((number + share) / config.rounds, f"round {number + 1}: {text}")

        rate, seed = config.rate(weights.config.width), config.seed + number
        with tempfile.TemporaryDirectory() as place:
            state = run_trial(job, rate, seed, Path(place), tell, self.stop)
            if not state.best_epoch:
                raise ConfigError(f"training diverged in round {number + 1}; lower learning_rate ({rate:g})")
            return replace(weights, tensors=load_file(Path(place) / BEST_FILE))

    def score(self, weights: Weights) -> dict[str, float]:
        return self.scores(weights, self.texts.valid)

    def scores(self, weights: Weights, examples: list[Example]) -> dict[str, float]:
        model = built(weights, self.labels).to(self.device).eval()
        logits = predict(model, examples, self.config.batch_tokens, self.device, self.loaded.finder)
        found: dict[str, Any] = scores_of(logits, examples, self.labels)
        return found
