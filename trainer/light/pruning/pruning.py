"""From a trained model to a smaller one in a directory of the same kind."""

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from schemas.manifest import file_digest
from trainer.config import ConfigError
from trainer.export.staging import check_empty, staged
from trainer.finetune.data import Files
from trainer.finetune.directory import TASK, ClassifierDirectory, Described, Loaded, load_classifier, task_of
from trainer.finetune.trial import StoppedError, write_tensors
from trainer.light.pruning.classifier import ClassifierSubject, read_texts
from trainer.light.pruning.rounds import History, Weights, prune
from trainer.light.pruning.run import RunSubject
from trainer.light.pruning.target import Wish, milliseconds, settle
from trainer.lineage import lineage
from trainer.loop import StopRequest
from trainer.precision import be_deterministic, resolve_device
from trainer.progress import ProgressLine
from trainer.run import MODEL_SCHEMA, RESULT_SCHEMA, RunDirectory, write_atomic
from trainer.sections.pruning import PruneConfig
from trainer.sections.task import TaskConfig
from trainer.source import source_digest, versions


def prune_model(
    path: Path, output: Path, wish: Wish, config: PruneConfig, line: ProgressLine, batch: int,
    files: Files | None = None, shards: Path | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Prunes a classifier (with `files`) or the model of a run (on `shards`, by default its own) and writes OUTPUT;
    result.json's content. A signal ends it (KeyboardInterrupt): nothing is kept then.

    Args:
        batch: texts of the batches that time is measured on.

    Raises ConfigError, RunError, CheckpointError, TableError, LabelError, CorpusError, DivergedError, OSError.
    """
    check_empty(output)
    device = resolve_device(config.device)
    if config.threads:
        torch.set_num_threads(config.threads)
    be_deterministic(device, False)
    is_classifier = task_of(path) == TASK
    if is_classifier and files is None:
        raise ConfigError(f"{path}: is a classifier; name its task's files: --train, --valid, --text, --label")
    if not is_classifier and files is not None:
        raise ConfigError(f"{path}: is no classifier; a run is pruned on shards, without --train and --valid")
    with StopRequest() as stop, line, staged(output) as place:
        try:
            if files is not None:
                result = _classifier(path, files, place, wish, config, device, line, batch, lambda: stop.requested)
            else:
                result = _run(path, shards, place, wish, config, device, line, batch, lambda: stop.requested)
        except StoppedError:
            raise KeyboardInterrupt from None
    return result


def _classifier(
    path: Path, files: Files, place: Path, wish: Wish, config: PruneConfig, device: torch.device, line: ProgressLine,
    batch: int, stop: Callable[[], bool],
) -> dict[str, Any]:  # fmt: skip
    loaded = load_classifier(path, device)
    wish.check(loaded.model.encoder.config.layers)
    texts = read_texts(files, loaded)
    for name, count in texts.cut.items():
        if count:
            line.note(f"{name}: {count:,} texts cut to {loaded.head.max_length} pieces")
    subject = ClassifierSubject(loaded, texts, config, device, line, stop)
    weights, result = _pruned(subject, loaded.model, path, wish, config, line, batch)
    if texts.test:
        result["test"] = {
            "before": subject.scores(subject.weights, texts.test),
            "after": subject.scores(weights, texts.test),
        }
    result |= {
        "kind": loaded.head.kind,
        "metric": subject.settings.primary,
        "examples": {name: len(getattr(texts, name)) for name in ("train", "valid", "test")},
        "files": {name: file_digest(file) for name, file in files.every().items()},
    }
    source, target = ClassifierDirectory(path), ClassifierDirectory(place)
    _copy(source.vocabulary, target.vocabulary)
    if loaded.finder is not None:
        _copy(source.notes, target.notes)
    write_tensors(target.model, weights.tensors)
    described = Described.model_validate(
        {"schema": MODEL_SCHEMA, "task": TASK, "config": weights.config, "classification": _head(loaded, result)}
    )
    write_atomic(target.model_config, described.model_dump_json(by_alias=True, indent=1) + "\n")
    write_atomic(target.result, json.dumps(result, indent=1) + "\n")
    return result


def _head(loaded: Loaded, result: dict[str, Any]) -> Any:
    told = loaded.head.settings | {"pruned": result["sizes"]}
    return loaded.head.model_copy(update={"settings": told})


def _run(
    path: Path, shards: Path | None, place: Path, wish: Wish, config: PruneConfig, device: torch.device,
    line: ProgressLine, batch: int, stop: Callable[[], bool],
) -> dict[str, Any]:  # fmt: skip
    subject = RunSubject(path, shards, config, device, line, stop)
    wish.check(subject.model.config.layers)
    weights, result = _pruned(subject, subject.model, path, wish, config, line, batch)
    source, target = RunDirectory(path), RunDirectory(place)
    for name in ("vocabulary", "config", "data"):
        if getattr(source, name).is_file():
            _copy(getattr(source, name), getattr(target, name))
    trained = source.read_result() or {}
    result = {"steps": trained.get("steps", 0)} | result | {"held_out_loss_end": result["valid"]["after"]["loss"]}
    target.finish(weights.tensors, weights.config, TaskConfig(), result)
    return result


def _pruned(
    subject: ClassifierSubject | RunSubject, whole: nn.Module, path: Path, wish: Wish, config: PruneConfig,
    line: ProgressLine, batch: int,
) -> tuple[Weights, dict[str, Any]]:  # fmt: skip
    """(what is left, numbers for result.json)."""
    before = subject.weights
    passes = subject.passes(batch)
    settled = partial(settle, wish, build=subject.build, whole=whole, passes=passes, least=config.least_share)
    first = subject.score(before)
    weights, sizes, history = prune(subject, before, settled, config, lambda number, text: line.note(text))
    pruned = subject.build(weights.config).to(subject.device)
    pruned.load_state_dict(weights.tensors)
    times = milliseconds([whole, pruned], passes)
    return weights, _numbers(before, weights, history) | {
        "sizes": {"heads": sizes.heads, "columns": sizes.columns, "layers": weights.config.layers},
        "valid": {"before": first, "after": history.recovered[-1]},
        "milliseconds": {"batch": batch, "before": times[0], "after": times[1]},
        "config": config.model_dump(mode="json"),
        "device": subject.device.type,
        "precision": subject.precision,
        "threads": torch.get_num_threads(),
        "pretrained": lineage(path),
    }


def _numbers(before: Weights, after: Weights, history: History) -> dict[str, Any]:
    def size(weights: Weights) -> dict[str, int]:
        return {
            "parameters": sum(tensor.numel() for tensor in weights.tensors.values()),
            "bytes": sum(tensor.numel() * tensor.element_size() for tensor in weights.tensors.values()),
            "layers": weights.config.layers,
        }

    return {
        "schema": RESULT_SCHEMA,
        "task": "pruning",
        "before": size(before),
        "after": size(after),
        "rounds": history.told(),
        "source": source_digest(),
        "versions": versions(),
    }


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
