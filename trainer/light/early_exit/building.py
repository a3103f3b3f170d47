"""From a fine-tuned classifier to one that may answer early: texts, branches, calibration, directory."""

import copy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from schemas.manifest import file_digest
from trainer.config import ConfigError
from trainer.finetune.classifier import Classifier
from trainer.finetune.directory import Loaded, load_classifier
from trainer.finetune.examples import Example
from trainer.finetune.labels import Labels
from trainer.finetune.table import TableError, read_rows
from trainer.light.early_exit.branch import BranchConfig
from trainer.light.early_exit.calibration import AGREEMENT, TIMED_SPEEDS, Calibration, calibrate, points_of, time_speeds
from trainer.light.early_exit.directory import (
    Exits,
    LoadedEarlyExit,
    check_free,
    load_early_exit,
    rewrite_calibration,
    write_early_exit,
)
from trainer.light.early_exit.distilling import StoppedError, all_logits, distil
from trainer.light.early_exit.model import EarlyExitClassifier, ExitsConfig
from trainer.light.early_exit.texts import Texts, encoding_of, read_texts
from trainer.light.early_exit.wish import Wish
from trainer.loop import StopRequest
from trainer.precision import be_deterministic, resolve_device
from trainer.progress import ProgressLine
from trainer.run import RESULT_SCHEMA, RunError
from trainer.sections.early_exit import EarlyExitConfig
from trainer.source import source_digest, versions


def check_kind(loaded: Loaded, path: Path) -> None:
    """Raises RunError for what cannot leave early."""
    why = {
        "regression": "a value has no probabilities, hence no entropy that could tell when it is sure enough",
        "tokens": "its words would have to leave at different layers, while those that stay still read them",
    }.get(loaded.head.kind)
    if why:
        raise RunError(
            f"{path}: a classifier of kind '{loaded.head.kind}' cannot exit early: {why}; distil or prune it instead"
        )


def with_branches(
    classifier: Classifier, labels: Labels, config: EarlyExitConfig
) -> tuple[EarlyExitClassifier, ExitsConfig]:
    """The classifier's own weights, and fresh branches that `config.seed` draws. Raises ConfigError."""
    shape = classifier.encoder.config
    numbers = list(range(1, shape.layers)) if config.exits is None else config.exits
    if not numbers:
        raise ConfigError("a model of one layer has nothing to leave out; exits = [0] reads its embeddings")
    if numbers[-1] >= shape.layers:
        raise ConfigError(f"key 'exits': {numbers[-1]}: the last one of {shape.layers} layers is {shape.layers - 1}")
    branch = BranchConfig(pooling=config.pooling, width=config.branch_width(shape.width), heads=config.heads)
    exits = ExitsConfig(exits=numbers, branch=branch, top_classes=config.top(labels.outputs))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = EarlyExitClassifier(copy.deepcopy(classifier.encoder), labels, exits, config.dropout)
    model.load_state_dict(classifier.state_dict() | branches_of(model))
    for name, module in model.named_modules():
        if isinstance(module, nn.Dropout) and not name.startswith("branches."):
            module.p = 0.0
    return model.to(next(classifier.parameters()).device), exits


def branches_of(model: EarlyExitClassifier) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in model.state_dict().items() if name.startswith("branches.")}


def build_early_exit(
    classifier: Path, texts: Texts, output: Path, config: EarlyExitConfig, wish: Wish, line: ProgressLine
) -> dict[str, Any] | None:
    """Learns, calibrates, writes OUTPUT; result.json's content, or None where a signal ended it: nothing is kept then.

    Raises RunError, CheckpointError, ConfigError, TableError, LabelError, DistillingError, DeviceError, OSError.
    """
    device = resolve_device(config.device)
    check_free(output)
    wish.check(config.latency_batches, config.latency_seconds)
    loaded = load_classifier(classifier, device)
    check_kind(loaded, classifier)
    model, exits = with_branches(loaded.model, loaded.head.meaning(), config)
    read = read_texts(texts, loaded, config)
    for name, count in read.cut.items():
        if count:
            line.note(f"{name}: {count:,} texts cut to {loaded.head.max_length} pieces")
    if config.threads:
        torch.set_num_threads(config.threads)
    be_deterministic(device, False)
    longest = loaded.head.max_length
    with StopRequest() as stop, line:
        try:
            history = distil(
                model, read.train, read.valid, config, longest, loaded.finder, line.update, lambda: stop.requested
            )
        except StoppedError:
            line.note("stopped; nothing was written")
            return None
    found, speed, missed = _calibrated(model, exits, loaded, read.valid, texts, config, wish)
    if missed:
        line.note(f"{missed}; speed {speed:g} is stored")
    written = Exits(**exits.model_dump(), speed=speed, calibration=found)
    settled = LoadedEarlyExit(
        model=model, tokenizer=loaded.tokenizer, head=loaded.head, finder=loaded.finder, exits=written
    )
    result: dict[str, Any] = {
        "schema": RESULT_SCHEMA,
        "task": "early-exit",
        "exits": exits.exits,
        "speed": speed,
        "metric": found.metric,
        "full": found.full,
        "valid": found.at(speed).model_dump(mode="json"),
        "divergences": [history.divergences[e - 1][k] for k, e in enumerate(history.best_epochs)],
        "best_epochs": history.best_epochs,
        "examples": {"train": len(read.train), "valid": len(read.valid), "test": len(read.test)},
        "cut": read.cut,
        "files": {"valid": found.file, "train": file_digest(texts.train) if texts.train else None},
        "config": config.model_dump(mode="json"),
        "device": device.type,
        "source": source_digest(),
        "versions": versions(),
    }
    if read.test:
        result["test"] = _tested(model, exits, loaded, read.test, found, speed, config)
    write_early_exit(output, classifier, settled, result)
    return result


def _calibrated(
    model: EarlyExitClassifier, exits: ExitsConfig, loaded: Loaded, valid: list[Example], texts: Texts,
    config: EarlyExitConfig, wish: Wish,
) -> tuple[Calibration, float, str]:  # fmt: skip
    """(the calibration, the speed that was wished for, what it says where no speed is fast enough: the fastest is taken
    then, for what was learnt must not be lost)."""
    logits_NEK = all_logits(model, valid, config.batch_tokens, loaded.head.max_length, loaded.finder)
    metric: str = loaded.head.metric if config.metric == "auto" else config.metric
    if texts.columns.label is None:
        metric = AGREEMENT
    digest = file_digest(texts.valid)
    # A latency is looked up among the speeds that were timed; any other wish is decided first, so that it is timed too.
    first = calibrate(model, exits, logits_NEK, valid, metric, digest)
    more = [] if wish.latency is not None else [wish.choose(first)]
    found = calibrate(
        model, exits, logits_NEK, valid, metric, digest, loaded.finder, config.latency_batches, config.latency_seconds,
        more,
    )  # fmt: skip
    try:
        return found, wish.choose(found), ""
    except ConfigError as error:
        timed = [point for point in found.points if wish.batch in point.milliseconds]
        return found, min(timed, key=lambda point: point.milliseconds[wish.batch]).speed, str(error)


def _tested(
    model: EarlyExitClassifier, exits: ExitsConfig, loaded: Loaded, test: list[Example], found: Calibration,
    speed: float, config: EarlyExitConfig,
) -> dict[str, Any]:  # fmt: skip
    """Of other texts: what the whole model and the chosen speed score and take."""
    logits_NEK = all_logits(model, test, config.batch_tokens, loaded.head.max_length, loaded.finder)
    speeds = sorted({0.0, speed})
    _, points = points_of(model, exits, logits_NEK, test, found.metric, speeds)
    timed: dict[float, dict[int, float]] = {}
    if config.latency_seconds:
        timed = time_speeds(
            model, test, loaded.finder, speeds, config.latency_batches, config.latency_seconds / len(TIMED_SPEEDS)
        )
    told = [p.model_copy(update={"milliseconds": timed.get(p.speed, {})}).model_dump(mode="json") for p in points]
    return {"whole": told[0], "chosen": told[-1]}


def recalibrate(path: Path, texts: Texts, config: EarlyExitConfig, wish: Wish) -> Calibration:
    """Calibrates a finished directory anew: on other texts, another machine, with other threads; its branches stay.

    Raises as `build_early_exit`, and ConfigError where no speed is fast enough.
    """
    wish.check(config.latency_batches, config.latency_seconds)
    loaded = load_early_exit(path, resolve_device(config.device))
    if config.threads:
        torch.set_num_threads(config.threads)
    model = loaded.model
    assert isinstance(model, EarlyExitClassifier)
    if (texts.columns.text_b is not None) != loaded.head.pair:
        raise ConfigError(f"this classifier reads {'pairs: add --text-b COL' if loaded.head.pair else 'single texts'}")
    labels = loaded.head.meaning() if texts.columns.label is not None else None
    encoding = encoding_of(loaded, config)
    valid = [encoding.encode(row, labels) for row in read_rows(texts.valid, texts.columns)]
    if not valid:
        raise TableError(f"{texts.valid}: holds no text")
    exits = ExitsConfig(**{name: getattr(loaded.exits, name) for name in ExitsConfig.model_fields})
    found, speed, missed = _calibrated(model, exits, loaded, valid, texts, config, wish)
    if missed:
        raise ConfigError(missed)
    rewrite_calibration(path, loaded, Exits(**exits.model_dump(), speed=speed, calibration=found))
    return found
