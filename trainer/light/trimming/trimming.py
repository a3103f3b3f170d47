"""A model without the pieces that its texts never use: fewer rows of the embeddings, the same answers.

Shape suffixes: V vocabulary, B rows, T positions.
"""

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from schemas.manifest import file_digest
from trainer.checkpoint import CheckpointError
from trainer.config import ConfigError, TrainConfig
from trainer.data.corpus_error import CorpusError
from trainer.data.frequency import token_counts
from trainer.export.staging import check_empty, staged
from trainer.finetune.classifier import Classifier
from trainer.finetune.directory import TASK, ClassifierDirectory, Described, load_classifier, task_of
from trainer.finetune.labels import Labels
from trainer.finetune.note_finder import NoteFinder
from trainer.finetune.table import Columns, Row, TableError
from trainer.finetune.trial import write_tensors
from trainer.light.trimming.pieces import closure, without
from trainer.model.config import ModelConfig
from trainer.model.encoder import Encoder
from trainer.notes import set_notes
from trainer.run import MODEL_SCHEMA, RESULT_SCHEMA, RunDirectory, RunError, load_model, write_atomic
from trainer.sections.task import TaskConfig
from trainer.source import source_digest, versions
from trainer.tasks.build import build_task
from trainer.tasks.masked_lm import MaskedLM
from trainer.text_input import read_input
from trainer.tokenizer import Tokenizer
from trainer.word_finder import WordFinder

CHECKED = 64
"""Texts that both models answer before anything is written."""


@dataclass(frozen=True)
class Sources:
    """Texts that the model has to go on reading as before."""

    places: Sequence[Path]
    """Files of texts, or outputs of `siliang-pipeline prepare`."""
    columns: Columns | None = None
    """Of tables."""
    least: int = 1
    """Occurrences of a piece that stays."""
    words: bool = False
    """Whether the model reads the words of a text one by one (a classifier of words)."""


@dataclass(frozen=True)
class Trimmed:
    kept_V: NDArray[np.int64]
    """Ids that stay, rising: the new ids are their places."""
    config: ModelConfig
    tensors: dict[str, Tensor]
    vocabulary: bytes


def _is_shards(path: Path) -> bool:
    return (path / "manifest.json").is_file()


def _texts(sources: Sources, path: Path) -> Iterator[str]:
    """As the model's tokenizer is given them."""
    if str(path) == "-":
        raise ConfigError("--text -: texts are read twice; name a file")
    pair = sources.columns is not None and sources.columns.text_b is not None
    for row in read_input(str(path), sources.columns, None, pair):
        for part in _parts(row):
            yield from part.split() if sources.words else [part]


def _parts(row: Row) -> Iterator[str]:
    yield from [row.text] if isinstance(row.text, str) else row.text
    if row.text_b is not None:
        yield row.text_b


def count_pieces(sources: Sources, vocabulary: Path, tokenizer: Tokenizer) -> NDArray[np.int64]:
    """Occurrences of each id, [V]. Raises TableError, CorpusError, naming the file."""
    counts = np.zeros(len(tokenizer), dtype=np.int64)
    for path in sources.places:
        if _is_shards(path):
            own = path / "vocabulary" / "siliang.model"
            if not own.is_file() or file_digest(own) != file_digest(vocabulary):
                raise CorpusError(f"{path}: has another vocabulary than this model")
            counts += token_counts(path, len(tokenizer))
            continue
        found = 0
        for text in _texts(sources, path):
            ids = tokenizer.encode(text)
            np.add.at(counts, ids, 1)
            found += len(ids)
        if not found:
            raise TableError(f"{path}: holds no text")
    return counts


def trim_model(
    path: Path, output: Path, sources: Sources, drop_notes: bool, tell: Callable[[str], None]
) -> dict[str, Any]:
    """Writes OUTPUT, a classifier or a run like the one at `path`; result.json's content.

    Raises RunError, CheckpointError, ConfigError, CorpusError, TableError, TokenizerError, OSError.
    """
    check_empty(output)
    with staged(output) as place:
        return (_classifier if task_of(path) == TASK else _run)(path, place, sources, drop_notes, tell)


def _classifier(
    path: Path, place: Path, sources: Sources, drop_notes: bool, tell: Callable[[str], None]
) -> dict[str, Any]:
    loaded = load_classifier(path)
    source, target = ClassifierDirectory(path), ClassifierDirectory(place)
    noted = {piece for word in loaded.finder.finder.known for piece in word} if loaded.finder else set()
    model, labels = loaded.model, loaded.head.meaning()
    sources = replace(sources, words=labels.kind == "tokens")
    held = {name: tensor.detach() for name, tensor in model.state_dict().items()}

    def build(config: ModelConfig) -> nn.Module:
        return Classifier(Encoder(config), labels)

    found = trimmed(source.vocabulary, sources, model.encoder.config, held, build, noted)
    _write_vocabulary(target, found)
    smaller = _classifier_of(found, labels)
    result = _checked(found, sources, source.vocabulary, target.vocabulary, model.encoder, smaller.encoder, tell)
    if loaded.finder is not None:
        write_atomic(target.notes, _renumbered(loaded.finder, found, Tokenizer(target.vocabulary)).to_json() + "\n")
    write_tensors(target.model, found.tensors)
    head = loaded.head.model_copy(update={"vocabulary": file_digest(target.vocabulary)})
    described = Described.model_validate(
        {"schema": MODEL_SCHEMA, "task": TASK, "config": found.config, "classification": head}
    )
    write_atomic(target.model_config, described.model_dump_json(by_alias=True, indent=1) + "\n")
    write_atomic(target.result, json.dumps(result, indent=1) + "\n")
    return result


def _classifier_of(found: Trimmed, labels: Labels) -> Classifier:
    model = Classifier(Encoder(found.config), labels)
    model.load_state_dict(found.tensors)
    return model.eval()


def _run(path: Path, place: Path, sources: Sources, drop_notes: bool, tell: Callable[[str], None]) -> dict[str, Any]:
    model = load_model(path)
    if not isinstance(model, MaskedLM):
        raise RunError(f"{path}: was trained on {model.kind}; fine-tune it and trim the classifier")
    if model.encoder.notes is not None:
        if not drop_notes:
            raise RunError(
                f"{path}: has notes of rare words, which are found by pieces of its shards' vocabulary; --drop-notes "
                "trims the model without them, as fine-tuning uses it by default"
            )
        set_notes(model.encoder, "drop")
    source, target = RunDirectory(path), RunDirectory(place)
    held = {name: tensor.detach() for name, tensor in model.state_dict().items()}
    found = trimmed(
        source.vocabulary, sources, model.encoder.config, held, lambda config: build_task(TrainConfig(), config), set()
    )
    _write_vocabulary(target, found)
    smaller = MaskedLM(found.config)
    smaller.load_state_dict(found.tensors)
    smaller.eval()
    result = _checked(found, sources, source.vocabulary, target.vocabulary, model.encoder, smaller.encoder, tell)
    for name in ("config", "data"):
        if getattr(source, name).is_file():
            shutil.copyfile(getattr(source, name), getattr(target, name))
    result = {"steps": (source.read_result() or {}).get("steps", 0)} | result
    target.finish(found.tensors, found.config, TaskConfig(), result)
    return result


def trimmed(
    vocabulary: Path, sources: Sources, config: ModelConfig, tensors: dict[str, Tensor],
    build: Callable[[ModelConfig], nn.Module], more: set[int],
) -> Trimmed:  # fmt: skip
    """The smaller model. Which dimensions of its tensors are the vocabulary's is seen from two models of other
    vocabularies, which take no memory. `more`: pieces that stay as well."""
    tokenizer = Tokenizer(vocabulary)
    if len(tokenizer) != config.vocabulary_size:
        raise CheckpointError(f"{vocabulary}: {len(tokenizer):,} pieces, the model has {config.vocabulary_size:,}")
    counts = count_pieces(sources, vocabulary, tokenizer)
    kept = closure(vocabulary, {*np.flatnonzero(counts >= sources.least).tolist(), *more})
    if len(kept) == len(tokenizer):
        raise ConfigError(f"all {len(kept):,} pieces of the vocabulary are used; there is nothing to trim")
    smaller = config.model_copy(update={"vocabulary_size": len(kept)})
    with torch.device("meta"):
        before, after = (build(shape).state_dict() for shape in (config, smaller))
    index_V, held = torch.tensor(kept), dict(tensors)
    for name, tensor in tensors.items():
        for dimension, (a, b) in enumerate(zip(before[name].shape, after[name].shape, strict=True)):
            if a != b:
                held[name] = held[name].index_select(dimension, index_V.to(tensor.device))
    return Trimmed(np.array(kept), smaller, held, without(vocabulary, kept))


def _write_vocabulary(target: RunDirectory, found: Trimmed) -> None:
    target.vocabulary.parent.mkdir(parents=True)
    target.vocabulary.write_bytes(found.vocabulary)


def _renumbered(finder: NoteFinder, found: Trimmed, tokenizer: Tokenizer) -> NoteFinder:
    new = {int(old): k for k, old in enumerate(found.kept_V)}
    known = {tuple(new[piece] for piece in word): number for word, number in finder.finder.known.items()}
    return NoteFinder(WordFinder(known, tokenizer), finder.half_window)


@torch.no_grad()
def _checked(
    found: Trimmed, sources: Sources, before: Path, after: Path, whole: Encoder, smaller: Encoder,
    tell: Callable[[str], None],
) -> dict[str, Any]:  # fmt: skip
    """Numbers for result.json. Raises CheckpointError where a text that uses kept pieces alone is cut otherwise, or
    states of the encoder are not the same bits."""
    old, new = Tokenizer(before), Tokenizer(after)
    place_V = np.full(len(old), -1)
    place_V[found.kept_V] = np.arange(len(found.kept_V))
    texts = lost = 0
    sample: list[list[int]] = []
    for path in sources.places:
        if _is_shards(path):
            continue
        for text in _texts(sources, path):
            ids = np.array(old.encode(text), dtype=np.int64)
            texts += 1
            if (place_V[ids] < 0).any():
                lost += 1
                continue
            if new.encode(text) != place_V[ids].tolist():
                raise CheckpointError(f"{path}: '{text[:80]}' is cut otherwise now (a bug; tell it)")
            if len(sample) < CHECKED and len(ids):
                sample.append(ids[: found.config.max_length].tolist())
    if not sample:
        sample = [found.kept_V[-found.config.max_length :].tolist()]
    for pieces in sample:
        tokens_1T = torch.tensor([pieces])
        places_1T = torch.arange(len(pieces))[None]
        ours = smaller(torch.from_numpy(place_V[tokens_1T.numpy()]), torch.ones_like(tokens_1T), places_1T)
        if not torch.equal(whole(tokens_1T, torch.ones_like(tokens_1T), places_1T), ours):
            raise CheckpointError("the trimmed model's states differ from the whole one's (a bug; tell it)")
    if lost:
        tell(f"{lost:,} of {texts:,} texts hold a piece that went (--least {sources.least}): they are cut otherwise")
    return {
        "schema": RESULT_SCHEMA,
        "task": "trimming",
        "pieces": {"before": len(old), "after": len(new)},
        "parameters": sum(tensor.numel() for tensor in found.tensors.values()),
        "bytes": sum(tensor.numel() * tensor.element_size() for tensor in found.tensors.values()),
        "texts": texts,
        "texts_cut_otherwise": lost,
        "source": source_digest(),
        "versions": versions(),
    }
