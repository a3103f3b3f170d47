"""A fine-tuning from files to a classifier."""

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn

from schemas.manifest import file_digest
from trainer.config import ConfigError, build_config
from trainer.data.shards import Corpus, CorpusError
from trainer.finetune.data import Files, read_data
from trainer.finetune.directory import IDENTITY_SCHEMA, ClassifierDirectory, Head
from trainer.finetune.note_finder import NoteFinder
from trainer.finetune.search import Search
from trainer.finetune.teaching import load_teacher, teach
from trainer.finetune.trial import BEST_FILE, Job, StoppedError, TrialState, describe
from trainer.lineage import lineage
from trainer.loop import StopRequest
from trainer.metrics import spread
from trainer.model.encoder import Encoder
from trainer.notes import set_notes
from trainer.precision import Precision, be_deterministic, choose, measure, resolve_device
from trainer.progress import ProgressLine
from trainer.run import RESULT_SCHEMA, RunDirectory, RunError, load_encoder
from trainer.sections.finetune import FinetuneConfig
from trainer.source import source_digest, versions
from trainer.tokenizer import Tokenizer
from trainer.weights_digest import weights_digest
from trainer.word_finder import WordFinder


def _precision(config: FinetuneConfig, device: torch.device, directory: ClassifierDirectory) -> Precision:
    """A resumed fine-tuning keeps what 'auto' came to, or it would end with other bits."""
    if config.precision == "auto" and (begun := directory.begun_precision()):
        return begun
    return choose(config.precision, measure(device))


def _copier(encoder: Encoder, dropout: float) -> Callable[[], Encoder]:
    def fresh() -> Encoder:
        copied = copy.deepcopy(encoder)
        for module in copied.modules():
            if isinstance(module, nn.Dropout):
                module.p = dropout
        return copied.requires_grad_(True)

    return fresh


def finetune(
    run: str | Path,
    files: Files,
    output: str | Path,
    config: FinetuneConfig,
    line: ProgressLine,
    resume: bool = False,
    stop: StopRequest | None = None,
    teacher: str | Path | None = None,
) -> dict[str, Any] | None:
    """Trains and writes OUTPUT; result.json's content, or None where a signal ended it before its time. With a
    `teacher`, another classifier, it learns that one's answers as well (`trainer.finetune.teaching`).

    All input is read and checked before anything is written. Raises TableError, LabelError, RunInUseError,
    CheckpointError, RunError, CorpusError, TokenizerError, DeviceError, FinetuneError, OSError.
    """
    if files.unlabelled and teacher is None:
        raise ConfigError("--unlabelled: texts without labels tell nothing without a --teacher")
    device = resolve_device(config.device)
    encoder = load_encoder(run)
    directory_of_run = RunDirectory(run)
    if config.notes == "drop":
        set_notes(encoder, "drop")
    elif encoder.notes is None:
        raise RunError(f"{run}: was trained without notes; notes = 'drop' is all there is")
    vocabulary = directory_of_run.vocabulary
    tokenizer = Tokenizer(vocabulary)
    if len(tokenizer) != encoder.config.vocabulary_size:
        raise CorpusError(
            f"{vocabulary}: {len(tokenizer):,} pieces, the model has {encoder.config.vocabulary_size:,}: it is not the "
            "vocabulary that the run was trained with"
        )
    longest = min(config.max_length or encoder.config.max_length, encoder.config.max_length)
    data = read_data(files, config, tokenizer, longest)
    told = None
    if teacher is not None:
        told = load_teacher(teacher, data.labels, files.columns.text_b is not None, device)
    finder = None
    if encoder.notes is not None:
        known = WordFinder.read(Corpus(directory_of_run.shards(), "train"), tokenizer)
        finder = NoteFinder(known, build_config(directory_of_run.config).notes.half_window)
    directory = ClassifierDirectory(output)
    identity = {
        "schema": IDENTITY_SCHEMA,
        "encoder": weights_digest(encoder),
        "vocabulary": file_digest(vocabulary),
        "files": {name: file_digest(path) for name, path in files.every().items()},
        "teacher": None if told is None else weights_digest(told.model),
        "columns": [files.columns.text, files.columns.text_b, files.columns.label],
        "config": config.model_dump(mode="json", exclude={"device", "threads", "precision"}),
    }
    directory.check_usable(identity, resume)
    if resume and (finished := directory.read_result()):
        line.note(f"{output}: finished already")
        return finished
    if config.threads:
        torch.set_num_threads(config.threads)
    be_deterministic(device, False)
    precision = _precision(config, device, directory)
    for name, count in data.cut.items():
        if count:
            line.note(f"{files.named()[name]}: {count:,} of {len(data.examples[name]):,} texts cut to {longest} pieces")
    directory.begin_finetuning(identity | {"precision": precision}, vocabulary)
    fresh = _copier(encoder, config.dropout)
    taught = None if told is None else teach(told, data.rows, data.labels, config, device)
    job = Job(
        fresh, data.labels, data.examples["train"], data.examples["valid"], config, longest, device, precision, finder,
        taught,
    )  # fmt: skip
    with stop or StopRequest() as stop, line:
        try:
            search = Search(job, directory, line, lambda: stop.requested)
            rate, trials = search.run()
        except StoppedError:
            line.note("stopped; --resume goes on")
            return None
    chosen = _chosen(trials, config)
    weights = load_file(directory.trial(rate, chosen.seed) / BEST_FILE)
    metric = config.primary
    result: dict[str, Any] = {
        "schema": RESULT_SCHEMA,
        "task": "classification",
        "kind": config.kind,
        "metric": metric,
        "labels": list(data.labels.names),
        "learning_rate": rate,
        "valid": _spreads([trial.scores[trial.best_epoch - 1] for trial in trials]),
        "chosen": describe(chosen, metric),
        "search": [describe(trial, metric) for trial in search.tried],
        "trials": [describe(trial, metric) for trial in trials],
        "examples": {name: len(part) for name, part in data.examples.items()},
        "cut": data.cut,
        "config": config.model_dump(mode="json"),
        "precision": precision,
        "device": device.type,
        "source": source_digest(),
        "versions": versions(),
        "pretrained": lineage(run),
        "teacher": identity["teacher"],
    }
    if "test" in data.examples:
        result["test"] = _spreads([search.score(trial, data.examples["test"]) for trial in trials])
    head = Head(
        kind=config.kind,
        labels=list(data.labels.names),
        mean=data.labels.mean,
        scale=data.labels.scale,
        pair=files.columns.text_b is not None,
        max_length=longest,
        vocabulary=file_digest(directory.vocabulary),
        settings={"learning_rate": rate, "seed": chosen.seed, "epoch": chosen.best_epoch, metric: chosen.best(metric)},
    )
    directory.finish_finetuning(weights, encoder.config, head, result, finder)
    return result


def _spreads(scores: Sequence[dict[str, float]]) -> dict[str, Any]:
    return {name: spread([score[name] for score in scores]) for name in scores[0]}


def _chosen(trials: Sequence[TrialState], config: FinetuneConfig) -> TrialState:
    """The best trial, or the one in the middle (of an even number, the lower); ties go to the lower seed."""
    ranked = sorted(trials, key=lambda trial: (-trial.best(config.primary), trial.seed))
    return ranked[0] if config.keep == "best" else ranked[len(ranked) // 2]
