"""A directory with a classifier that may answer early. The whole of it appears at once, when it is finished.

OUTPUT/vocabulary/siliang.model  model.safetensors  model.json  result.json  and with notes  notes.json
"""

import json
import os
import shutil
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator

from trainer.checkpoint import CheckpointError
from trainer.finetune.directory import ClassifierDirectory, Head, Loaded, finder_of, read_described
from trainer.finetune.trial import write_tensors
from trainer.light.early_exit.calibration import Calibration
from trainer.light.early_exit.model import EarlyExitClassifier, ExitsConfig
from trainer.model.config import ModelConfig
from trainer.model.encoder import Encoder
from trainer.run import MODEL_SCHEMA, RunInUseError, check_shapes, load_weights, write_atomic

TASK = "early-exit"


class Exits(ExitsConfig):
    """What model.json says of the exits."""

    speed: float = Field(ge=0, le=1)
    """Taken where `predict` is told none."""
    calibration: Calibration

    @model_validator(mode="after")
    def _has_zero(self) -> "Exits":
        if not any(point.speed == 0 for point in self.calibration.points):
            raise ValueError("calibration: has no point of speed 0")
        return self


class Described(BaseModel):
    """model.json."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    schema_: Literal["siliang-model/1"] = Field(alias="schema")
    task: Literal["early-exit"]
    config: ModelConfig
    classification: Head
    early_exit: Exits

    @model_validator(mode="after")
    def _fits(self) -> "Described":
        if self.early_exit.exits[-1] >= self.config.layers or self.classification.kind != "classification":
            raise ValueError("early_exit does not fit the model")
        return self


class LoadedEarlyExit(Loaded):
    """Ready to predict; `model` is an EarlyExitClassifier."""

    exits: Exits


def load_early_exit(path: str | Path, device: torch.device | str = "cpu") -> LoadedEarlyExit:
    """In eval mode. Raises RunError and CheckpointError as `load_classifier`."""
    described, tensors, tokenizer = read_described(path, Described, TASK, "early-exit CLASSIFIER")
    directory, head, exits = ClassifierDirectory(path), described.classification, described.early_exit

    def build() -> EarlyExitClassifier:
        return EarlyExitClassifier(Encoder(described.config), head.meaning(), exits)

    branches = {name.split(".")[1] for name in tensors if name.startswith("branches.")}
    if len(branches) != len(exits.exits):
        raise CheckpointError(f"{directory.model}: {len(branches)} branches, its config tells {len(exits.exits)}")
    check_shapes(tensors, described.config, build, directory.model)
    model = build()
    load_weights(model, tensors, directory.model)
    finder = finder_of(model, path, tokenizer)
    return LoadedEarlyExit(model=model.to(device).eval(), tokenizer=tokenizer, head=head, finder=finder, exits=exits)


def check_free(path: str | Path) -> None:
    """Raises RunInUseError where something is there already."""
    path = Path(path)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise RunInUseError(f"{path}: is {'not empty' if path.is_dir() else 'a file'}; name another --output")


def describe(config: ModelConfig, head: Head, exits: Exits) -> str:
    described = Described.model_validate(
        {"schema": MODEL_SCHEMA, "task": TASK, "config": config, "classification": head, "early_exit": exits}
    )
    return described.model_dump_json(by_alias=True, indent=1) + "\n"


def write_early_exit(output: str | Path, source: str | Path, loaded: LoadedEarlyExit, result: dict[str, Any]) -> None:
    """Beside, then renamed: a killed writing leaves no OUTPUT. Raises OSError, RunInUseError."""
    output = Path(output)
    check_free(output)
    beside = ClassifierDirectory(output.with_name(f".{output.name}.tmp"))
    shutil.rmtree(beside.path, ignore_errors=True)
    try:
        beside.vocabulary.parent.mkdir(parents=True)
        shutil.copyfile(ClassifierDirectory(source).vocabulary, beside.vocabulary)
        tensors = {name: tensor.detach().cpu() for name, tensor in loaded.model.state_dict().items()}
        write_tensors(beside.model, tensors)
        if loaded.finder is not None:
            write_atomic(beside.notes, loaded.finder.to_json() + "\n")
        write_atomic(beside.model_config, describe(loaded.model.encoder.config, loaded.head, loaded.exits))
        write_atomic(beside.result, json.dumps(result, indent=1) + "\n")
        if output.is_dir():
            output.rmdir()
        os.replace(beside.path, output)
    except BaseException:
        shutil.rmtree(beside.path, ignore_errors=True)
        raise


def rewrite_calibration(path: str | Path, loaded: LoadedEarlyExit, exits: Exits) -> None:
    """Puts another calibration and speed into model.json, at once."""
    write_atomic(ClassifierDirectory(path).model_config, describe(loaded.model.encoder.config, loaded.head, exits))
