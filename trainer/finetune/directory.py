"""A fine-tuned classifier's directory, and the classifier in it.

OUTPUT/finetune.json  vocabulary/siliang.model  trials/RATE-SEED/...
    and at the end  model.safetensors  model.json  result.json
"""

import json
import os
import shutil
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from schemas.manifest import file_digest
from trainer.checkpoint import CheckpointError
from trainer.finetune.classifier import Classifier
from trainer.finetune.labels import Labels
from trainer.finetune.note_finder import NoteFinder, read_note_finder
from trainer.finetune.trial import write_tensors
from trainer.model.config import ModelConfig
from trainer.model.encoder import Encoder
from trainer.precision import DTYPES, Precision
from trainer.run import MODEL_SCHEMA, RunDirectory, RunError, RunInUseError, check_shapes, load_weights, write_atomic
from trainer.sections.finetune import METRICS, Kind, Metric
from trainer.tokenizer import Tokenizer

TASK = "classification"
IDENTITY_SCHEMA = "siliang-finetune/1"


class Head(BaseModel):
    """What model.json says of a classifier beside its encoder's config."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    kind: Kind
    labels: list[str] = []
    mean: float = 0.0
    scale: float = Field(default=1.0, gt=0)
    pair: bool = False
    """Whether it reads two texts."""
    max_length: int = Field(ge=3)
    """Pieces that it was trained with; longer texts are cut."""
    vocabulary: str
    """sha256 of the vocabulary."""
    settings: dict[str, Any] = {}
    """Rate, seed, epoch and score of the trial whose weights these are."""

    @property
    def metric(self) -> Metric:
        """What the trial was chosen by."""
        names = METRICS[self.kind]
        return next((name for name in names if name in self.settings), names[0])

    def meaning(self) -> Labels:
        return Labels(self.kind, tuple(self.labels), self.mean, self.scale)


class Described(BaseModel):
    """model.json."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    schema_: Literal["siliang-model/1"] = Field(alias="schema")
    task: Literal["classification"]
    config: ModelConfig
    classification: Head


class ClassifierDirectory(RunDirectory):
    """Paths and small files of a fine-tuning."""

    def __init__(self, path: str | Path) -> None:
        super().__init__(path)
        self.identity = self.path / "finetune.json"
        self.trials = self.path / "trials"
        self.notes = self.path / "notes.json"

    def check_usable(self, identity: dict[str, Any], resume: bool) -> None:
        """Raises RunInUseError where OUTPUT holds something else, or an unfinished fine-tuning that is not this one."""
        if self.path.exists() and not self.path.is_dir():
            raise RunInUseError(f"{self.path}: is a file; name another --output")
        if not self.path.exists() or not any(self.path.iterdir()):
            return
        if not self.identity.is_file():
            raise RunInUseError(f"{self.path}: is not empty; name another --output")
        if not resume:
            raise RunInUseError(f"{self.path}: holds a fine-tuning; add --resume to go on, or name another --output")
        try:
            before = json.loads(self.identity.read_bytes())
            if before["schema"] != IDENTITY_SCHEMA:
                raise ValueError(f"schema {before['schema']!r}")
            changed = sorted(key for key in identity if identity[key] != before.get(key))
            if changed == ["config"]:
                old, new = before["config"], identity["config"]
                changed = [f"{key} ({old.get(key)} -> {new[key]})" for key in new if old.get(key) != new[key]]
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise CheckpointError(f"{self.identity}: damaged ({error}); name another --output") from error
        if changed:
            raise RunInUseError(
                f"{self.path}: was begun with other {', '.join(changed)}; go on as before, or name another --output"
            )

    def begun_precision(self) -> Precision | None:
        """What 'auto' came to when the fine-tuning in here was begun; None where there is none."""
        if not self.identity.is_file():
            return None
        told = json.loads(self.identity.read_bytes()).get("precision")
        return told if told in DTYPES else None

    def begin_finetuning(self, identity: dict[str, Any], vocabulary: Path) -> None:
        """The first thing that is written."""
        self.vocabulary.parent.mkdir(parents=True, exist_ok=True)
        self.forget_result()
        temporary = self.vocabulary.with_name(".siliang.model.tmp")
        shutil.copyfile(vocabulary, temporary)
        os.replace(temporary, self.vocabulary)
        write_atomic(self.identity, json.dumps(identity, indent=1) + "\n")

    def trial(self, rate: float, seed: int) -> Path:
        return self.trials / f"{rate:g}-{seed}"

    def finish_finetuning(
        self,
        weights: dict[str, Tensor],
        config: ModelConfig,
        head: Head,
        result: dict[str, Any],
        finder: NoteFinder | None = None,
    ) -> None:
        """Weights and numbers; result.json last. Then the trials' weights are removed."""
        write_tensors(self.model, weights)
        if finder is not None:
            write_atomic(self.notes, finder.to_json() + "\n")
        described = Described.model_validate(
            {"schema": MODEL_SCHEMA, "task": TASK, "config": config, "classification": head}
        )
        write_atomic(self.model_config, described.model_dump_json(by_alias=True, indent=1) + "\n")
        write_atomic(self.result, json.dumps(result, indent=1) + "\n")
        shutil.rmtree(self.trials, ignore_errors=True)


class Loaded(BaseModel):
    """A classifier that is ready to predict."""

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    model: Classifier
    tokenizer: Tokenizer
    head: Head
    finder: NoteFinder | None = None
    """Of words with notes, where the classifier keeps them."""


DescribedType = TypeVar("DescribedType", bound=BaseModel)


def task_of(path: str | Path) -> str | None:
    """The task that model.json names; None where there is none to be read."""
    try:
        return json.loads(ClassifierDirectory(path).model_config.read_bytes())["task"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def read_described(
    path: str | Path, form: type[DescribedType], task: str, maker: str
) -> tuple[DescribedType, dict[str, Tensor], Tokenizer]:
    """(model.json, the weights by name, the tokenizer) of a directory with a classifier of some form, checked against
    one another but for the weights' shapes; `maker` is the command that makes such directories.

    `form` has `config: ModelConfig` and `classification: Head`. Raises RunError, CheckpointError.
    """
    directory = ClassifierDirectory(path)
    if not directory.model.is_file() or not directory.model_config.is_file():
        raise RunError(f"{path}: no classifier here; `siliang-trainer {maker} --output {path} ...` makes one")
    try:
        raw = json.loads(directory.model_config.read_bytes())
        if isinstance(raw, dict) and raw.get("schema") == MODEL_SCHEMA and raw.get("task") != task:
            raise RunError(
                f"{path}: holds a model of task '{raw.get('task')}', not a classifier of `{maker.split()[0]}`, "
                "which makes such ones"
            )
        described = form.model_validate(raw)
        config: ModelConfig = described.config  # type: ignore[attr-defined]
        head: Head = described.classification  # type: ignore[attr-defined]
        labels = head.meaning()
        if labels.kind != "regression" and len(set(labels.names)) < max(2, len(labels.names)):
            raise ValueError("fewer than two classes, or one twice")
        tensors = load_file(directory.model)
    except (ValidationError, SafetensorError, OSError, RecursionError) as error:
        raise CheckpointError(f"{path}: model is damaged ({str(error).splitlines()[0]})") from error
    except ValueError as error:
        if isinstance(error, RunError | CheckpointError):
            raise
        raise CheckpointError(f"{path}: model is damaged ({error})") from error
    if not directory.vocabulary.is_file() or file_digest(directory.vocabulary) != head.vocabulary:
        raise CheckpointError(f"{directory.vocabulary}: is not the vocabulary that this classifier was trained with")
    tokenizer = Tokenizer(directory.vocabulary)
    if len(tokenizer) != config.vocabulary_size or head.max_length > config.max_length:
        raise CheckpointError(f"{directory.model_config}: vocabulary_size or max_length do not fit")
    return described, tensors, tokenizer


def load_classifier(path: str | Path, device: torch.device | str = "cpu") -> Loaded:
    """In eval mode. Reads JSON and safetensors at fixed names alone: nothing in the files is run or followed.

    Raises RunError where there is no classifier, CheckpointError where it is damaged, does not fit its description or
    has another vocabulary.
    """
    described, tensors, tokenizer = read_described(path, Described, TASK, "finetune RUN")
    directory, head = ClassifierDirectory(path), described.classification
    check_shapes(
        tensors, described.config, lambda: Classifier(Encoder(described.config), head.meaning()), directory.model
    )
    model = Classifier(Encoder(described.config), head.meaning())
    load_weights(model, tensors, directory.model)
    return Loaded(
        model=model.to(device).eval(), tokenizer=tokenizer, head=head, finder=finder_of(model, path, tokenizer)
    )


def finder_of(model: Classifier, path: str | Path, tokenizer: Tokenizer) -> NoteFinder | None:
    """Of the words with notes, where the classifier keeps them. Raises CheckpointError."""
    if (notes := model.encoder.notes) is None:
        return None
    return read_note_finder(ClassifierDirectory(path).notes, tokenizer, notes.config.words)
