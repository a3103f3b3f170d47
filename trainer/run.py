"""A run's directory: what lies where, and the model in it.

RUN/config.toml  data.json  vocabulary/siliang.model  checkpoints/step-NNNNNNNN/
    log.jsonl  tensorboard/  and at the end  model.safetensors  model.json  result.json
"""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from trainer.checkpoint import MODEL_FILE, CheckpointError, checkpoints, load_newest, unshared
from trainer.config import TrainConfig
from trainer.data.corpus_facts import corpus_facts
from trainer.data.shards import Corpus, CorpusError
from trainer.model.config import ModelConfig
from trainer.model.encoder import Encoder
from trainer.sections.task import KINDS, TaskConfig
from trainer.tasks.build import build_task
from trainer.tasks.task import TRAINING_ONLY, Task
from trainer.tokenizer import Tokenizer

MODEL_SCHEMA = "siliang-model/1"
RESULT_SCHEMA = "siliang-result/1"


class RunError(ValueError):
    """A run's directory cannot be used. The message names it and what to do."""


class RunInUseError(RunError):
    """The directory holds something else, or a run that was not asked to go on."""


def write_atomic(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


class RunDirectory:
    """Paths of a run, and its small files."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.config = self.path / "config.toml"
        self.data = self.path / "data.json"
        self.vocabulary = self.path / "vocabulary" / "siliang.model"
        self.checkpoints = self.path / "checkpoints"
        self.model = self.path / MODEL_FILE
        self.model_config = self.path / "model.json"
        self.result = self.path / "result.json"
        self.tensorboard = self.path / "tensorboard"

    def check_free(self) -> None:
        """Raises RunInUseError where a run, or something that is no run, is already here."""
        if checkpoints(self.checkpoints):
            raise RunInUseError(f"{self.path}: holds a run already; add --resume to go on, or name another --output")
        if self.path.exists() and not self.path.is_dir():
            raise RunInUseError(f"{self.path}: is a file; name another --output")
        if (self.path / "manifest.json").exists():
            raise RunInUseError(f"{self.path}: is a prepared corpus; name another --output")

    def begin(self, corpus: Corpus, shards: Path) -> None:
        """Makes the directory and copies what the run needs of the corpus."""
        self.vocabulary.parent.mkdir(parents=True, exist_ok=True)
        source = shards / "vocabulary" / "siliang.model"
        if not source.is_file():
            raise CorpusError(f"{source}: no vocabulary here; run `siliang-pipeline prepare` again")
        tokenizer = Tokenizer(source)
        if len(tokenizer) != corpus.vocabulary_size:
            raise CorpusError(f"{source}: {len(tokenizer):,} pieces, the manifest says {corpus.vocabulary_size:,}")
        temporary = self.vocabulary.with_name(".siliang.model.tmp")
        shutil.copyfile(source, temporary)
        os.replace(temporary, self.vocabulary)
        known = {"shards": str(shards.resolve())} | corpus_facts(shards)
        write_atomic(self.data, json.dumps(known, indent=1) + "\n")

    def forget_result(self) -> None:
        """A run that goes on has no result yet."""
        for path in (self.result, self.model, self.model_config):
            path.unlink(missing_ok=True)

    def finish(self, weights: dict[str, Tensor], config: ModelConfig, task: TaskConfig, result: dict[str, Any]) -> None:
        """Final weights and numbers; result.json is written last."""
        temporary = self.path / f".{MODEL_FILE}.tmp"
        save_file(unshared({k: w for k, w in weights.items() if not k.startswith(TRAINING_ONLY)}), temporary)
        os.replace(temporary, self.model)
        described = {
            "schema": MODEL_SCHEMA,
            "task": task.kind,
            "task_config": task.model_dump(mode="json"),
            "step": result["steps"],
            "config": config.model_dump(mode="json"),
        }
        write_atomic(self.model_config, json.dumps(described, indent=1) + "\n")
        write_atomic(self.result, json.dumps(result, indent=1) + "\n")

    def read_result(self) -> dict[str, Any] | None:
        """result.json of a finished run."""
        try:
            return json.loads(self.result.read_bytes())
        except (OSError, json.JSONDecodeError):
            return None

    def shards(self) -> Path:
        """The corpus the run was trained on. Raises RunError where it is not known."""
        try:
            return Path(json.loads(self.data.read_bytes())["shards"])
        except (OSError, KeyError, json.JSONDecodeError) as error:
            raise RunError(f"{self.path}: does not say what it was trained on; pass --shards DIR") from error


def check_shapes(
    tensors: dict[str, Tensor], config: ModelConfig, build: Callable[[], nn.Module], name: str | Path
) -> None:
    """Before a model is built: a made-up config must not make this machine fill its memory. Raises CheckpointError."""
    layers = {key.split(".")[2] for key in tensors if key.startswith("encoder.layers.")}
    if len(layers) != config.layers:
        raise CheckpointError(f"{name}: {len(layers)} layers, its config tells {config.layers}")
    try:
        with torch.device("meta"):
            wanted = build().state_dict()
    except RuntimeError as error:
        raise CheckpointError(f"{name}: its config tells of a model beyond all memory ({error})") from error
    for key, tensor in wanted.items():
        if key in tensors and tensors[key].shape != tensor.shape:
            raise CheckpointError(
                f"{name}: {key} has shape {list(tensors[key].shape)}, its config tells {list(tensor.shape)}"
            )


def load_weights(model: nn.Module, tensors: dict[str, Tensor], name: str | Path) -> None:
    """Copies tensors by name; tied names may be left out.

    Raises CheckpointError where names or shapes do not fit, or a value is not finite.
    """
    for key, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise CheckpointError(f"{name}: {key} holds values that are not finite")
    wanted = unshared(model.state_dict())
    if missing := sorted(wanted.keys() - tensors.keys()):
        raise CheckpointError(f"{name}: lacks {', '.join(missing[:5])}")
    try:
        result = model.load_state_dict(tensors, strict=False)
    except RuntimeError as error:
        raise CheckpointError(f"{name}: does not fit the model ({str(error).splitlines()[-1].strip()})") from error
    if result.unexpected_keys:
        raise CheckpointError(f"{name}: holds unknown {', '.join(result.unexpected_keys[:5])}")


def load_encoder(run: str | Path, device: torch.device | str = "cpu") -> Encoder:
    """The encoder of a run of any task, in eval mode; see `load_model`."""
    return load_model(run, device).encoder


def load_model(run: str | Path, device: torch.device | str = "cpu") -> Task:
    """The task's module in eval mode: a run's final weights, or those of the newest checkpoint of an unfinished run.

    Raises RunError where there is none, CheckpointError where it is damaged.
    """
    directory = RunDirectory(run)
    if directory.model.is_file() and directory.model_config.is_file():
        try:
            described = json.loads(directory.model_config.read_bytes())
            if described.get("schema") != MODEL_SCHEMA:
                raise CheckpointError(
                    f"{directory.model_config}: schema {described.get('schema')!r}, not {MODEL_SCHEMA}"
                )
            if described.get("task") == "classification":
                raise RunError(f"{run}: holds a fine-tuned classifier, which `predict` uses; name the run it came from")
            if described.get("task", "masked-lm") not in KINDS:
                raise RunError(f"{run}: holds a model of task '{described['task']}', no run; name the run it came from")
            config = ModelConfig.model_validate(described["config"])
            # Runs from before there were several tasks name none but masked LM.
            task = TaskConfig.model_validate(described.get("task_config", {}))
            tensors = load_file(directory.model)
        except (
            KeyError, AttributeError, RecursionError, UnicodeDecodeError, json.JSONDecodeError, ValidationError,
            SafetensorError,
        ) as error:  # fmt: skip
            raise CheckpointError(f"{run}: model is damaged ({str(error).splitlines()[0]})") from error
        name = directory.model
    else:
        checkpoint = load_newest(directory.checkpoints, warn=lambda text: None)
        if checkpoint is None:
            raise RunError(f"{run}: no trained model here; `siliang-trainer train SHARDS --output {run}` makes one")
        config = ModelConfig.model_validate(checkpoint.state.model)
        task = TaskConfig.model_validate(checkpoint.state.config.get("task", {}))
        # The averages are of parameters alone; notes are buffers.
        held = checkpoint.model | checkpoint.averages
        tensors = {name: tensor for name, tensor in held.items() if not name.startswith(TRAINING_ONLY)}
        name = checkpoint.path
    whole = TrainConfig(task=task.fixed())
    check_shapes(tensors, config, lambda: build_task(whole, config), name)
    model = build_task(whole, config)
    load_weights(model, tensors, name)
    return model.to(device).eval()
