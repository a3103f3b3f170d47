"""All that `siliang-trainer evaluate` measures of a run, as plain data for JSON and tables."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from schemas.manifest import file_digest
from trainer.config import TrainConfig, build_config
from trainer.data.batch import Batch
from trainer.data.frequency import token_counts
from trainer.data.held_out import held_out
from trainer.data.masking import Masking
from trainer.data.open import Shards
from trainer.data.shards import Corpus, CorpusError
from trainer.evaluate.bands import occurrences, score_targets, score_words
from trainer.evaluate.held_out import evaluate_run, held_out_loss, unigram_logs
from trainer.evaluate.minimal_pairs import (
    Paradigm,
    SentenceScorer,
    choose,
    mean_accuracy,
    read_pairs,
    score_paradigm,
)
from trainer.evaluate.probe import ProbeSettings, train_probe
from trainer.evaluate.rare_words import read_word_pairs, score_rare_words
from trainer.evaluate.words import WordCounts, WordFinder
from trainer.model.encoder import Encoder
from trainer.run import RunDirectory, RunError, load_model
from trainer.sections.data import DataConfig
from trainer.tasks.masked_lm import MaskedLM
from trainer.tokenizer import Tokenizer

Progress = Callable[[str, float], None]
"""Told what is done and the share of it."""


@dataclass(frozen=True)
class Wanted:
    """What to measure beside the held-out loss."""

    shards: Path | None = None
    """Other shards than the run's, of the same vocabulary."""
    pairs: Path | None = None
    limit: int | None = None
    """Minimal pairs of each paradigm."""
    bands: bool = False
    band_words: int = 200
    """Words of each frequency band."""
    rare_words: Path | None = None
    probe: ProbeSettings | None = None
    """Measure everything through a fresh masked-LM head on the frozen encoder."""


class Subject:
    """A run under evaluation: its model, tokenizer and held-out rows."""

    def __init__(self, run: str | Path, wanted: Wanted) -> None:
        """Raises RunError, CheckpointError, ManifestError, CorpusError, TokenizerError."""
        directory = RunDirectory(run)
        self.run, self.wanted = run, wanted
        self.module = load_model(run)
        self.config: TrainConfig = build_config(directory.config)
        self.tokenizer = Tokenizer(directory.vocabulary)
        if len(self.tokenizer) != self.module.config.vocabulary_size:
            raise CorpusError(
                f"{directory.vocabulary}: {len(self.tokenizer):,} pieces, the model has "
                f"{self.module.config.vocabulary_size:,}: it is not the vocabulary that the run was trained with"
            )
        self._directory = directory
        self._shards: Path | None = None

    @property
    def encoder(self) -> Encoder:
        return self.module.encoder

    @property
    def shards(self) -> Path:
        """Checked to have the run's vocabulary."""
        if self._shards is None:
            shards = Path(self.wanted.shards) if self.wanted.shards is not None else self._directory.shards()
            vocabulary = shards / "vocabulary" / "siliang.model"
            if not vocabulary.is_file() or file_digest(vocabulary) != file_digest(self._directory.vocabulary):
                raise CorpusError(f"{shards}: has another vocabulary than {self.run}; the losses would not compare")
            self._shards = shards
        return self._shards

    def batches(self) -> list[Batch]:
        """Held-out rows under the plain masks (15 %, 80/10/10), whatever the run was trained with: runs compare."""
        data = self.config.data
        corpus = Corpus(self.shards, "valid")
        return list(held_out(corpus, data.sequence_length, data.batch_rows, Masking(), self.config.evaluate.rows))

    def masked_lm(self, progress: Progress) -> tuple[MaskedLM, dict[str, Any] | None]:
        """The run's own head, or a probe's and what is to be told of it."""
        settings = self.wanted.probe
        if settings is None:
            if not isinstance(self.module, MaskedLM):
                raise RunError(
                    f"{self.run}: its task leaves no masked-LM head; add --probe to train one on its encoder"
                )
            return self.module, None
        progress("probe", 0.0)
        data = DataConfig(sequence_length=self.config.data.sequence_length, batch_rows=self.config.data.batch_rows)
        stream = Shards(self.shards, data).stream(seed=0, batch_rows=data.batch_rows)
        counts = token_counts(self.shards, self.encoder.config.vocabulary_size)
        probe = train_probe(self.encoder, stream, settings, unigram_logs(counts))
        loss, targets, rows = held_out_loss(probe.model, self.batches(), torch.device("cpu"), "fp32")
        progress("probe", 1.0)
        told = {"held_out_loss": loss, "targets": targets, "rows": rows, "steps": probe.steps, "seconds": probe.seconds}
        return probe.model, told


def _quiet(what: str, share: float) -> None:
    pass


def evaluate(run: str | Path, wanted: Wanted, progress: Progress = _quiet) -> dict[str, Any]:
    """Everything wanted of one run; see `measure`.

    Raises RunError, CheckpointError, ManifestError, CorpusError, TokenizerError, PairsError, RareWordsError.
    """
    # Files that cannot be read are told before a minute of work, not after.
    paradigms = read_pairs(wanted.pairs) if wanted.pairs is not None else []
    word_pairs = read_word_pairs(wanted.rare_words) if wanted.rare_words is not None else []
    found: dict[str, Any] = {} if wanted.probe else asdict(evaluate_run(run, wanted.shards))
    if not (wanted.probe or paradigms or wanted.bands or word_pairs):
        return found
    subject = Subject(run, wanted)
    if word_pairs:
        # Before a probe, which may move [MASK]'s embedding.
        progress("rare words", 0.0)
        corpus = Corpus(subject.shards, "train")
        found["rare_words"] = asdict(score_rare_words(subject.encoder, subject.tokenizer, corpus, word_pairs))
    if wanted.probe or paradigms or wanted.bands:
        model, told = subject.masked_lm(progress)
        if told is not None:
            found["probe"] = told
        if paradigms:
            found["minimal_pairs"] = measure_pairs(model, subject.tokenizer, paradigms, wanted.limit, progress)
        if wanted.bands:
            progress("bands", 0.0)
            found["bands"] = measure_bands(model, subject)
    return found


def measure_pairs(
    model: MaskedLM, tokenizer: Tokenizer, paradigms: Sequence[Paradigm], limit: int | None, progress: Progress = _quiet
) -> dict[str, Any]:
    """{mean, pairs, paradigms: [{name, pairs, correct, ties, accuracy}]}; accuracies are shares."""
    scorer = SentenceScorer(model, tokenizer)
    total, done, scores = sum(len(choose(p.pairs, limit)) for p in paradigms), 0, []

    def tell(pairs: int) -> None:
        nonlocal done
        done += pairs
        progress("minimal pairs", done / total)

    for paradigm in paradigms:
        scores.append(score_paradigm(paradigm, scorer, limit, tell))
    return {
        "mean": mean_accuracy(scores),
        "pairs": sum(score.pairs for score in scores),
        "paradigms": [asdict(score) | {"accuracy": score.accuracy} for score in scores],
    }


def measure_bands(model: MaskedLM, subject: Subject) -> dict[str, Any]:
    """{words: [BandScore], targets: [TargetScore]}"""
    corpus, counts = Corpus(subject.shards, "valid"), WordCounts.read(subject.shards)
    finder = WordFinder(subject.tokenizer)
    chosen = occurrences(corpus, finder, counts, subject.wanted.band_words, model.config.max_length)
    targets = score_targets(model, subject.batches(), finder, counts)
    return {
        "words": [asdict(score) for score in score_words(model, chosen)],
        "targets": [asdict(score) for score in targets],
    }
