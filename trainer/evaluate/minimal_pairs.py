"""Minimal pairs: does a model find the acceptable sentence of two likelier? BLiMP's and Zorro's files.

A sentence's score is its pseudo log likelihood by words, left to right (`scoring.masked_copies`), summed in fp64 from
fp32 logits. Scorers that took the first of two equal scores gave up to 100 % to constant models
(babylm/evaluation-pipeline-2025, issue 34): here equal scores count one half.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from schemas.vocabulary import CLS, SEP
from trainer.evaluate.scoring import MaskedModel, masked_copies, score
from trainer.evaluate.words import WordFinder
from trainer.tokenizer import Tokenizer

TIE: Final = 1e-5
"""Nats: closer sums are equal. Rounding in fp32 moves a sum of twenty log probabilities by about a tenth of it."""
CHUNK: Final = 500
"""Pairs whose masked copies are held at once."""

Scorer = Callable[[Sequence[str]], Sequence[float]]
"""Sentences to scores, higher is better."""


class PairsError(ValueError):
    """Minimal pairs that cannot be read or scored. The message names file and line."""


class Pair(NamedTuple):
    good: str
    bad: str


@dataclass(frozen=True)
class Paradigm:
    name: str
    pairs: list[Pair]


@dataclass(frozen=True)
class ParadigmScore:
    name: str
    pairs: int
    correct: int
    ties: int

    @property
    def accuracy(self) -> float:
        """Share of the pairs whose good sentence won, ties one half."""
        return (self.correct + self.ties / 2) / self.pairs


def detokenise(sentence: str) -> str:
    """Zorro separates punctuation by spaces; ordinary text, which the shards hold, does not."""
    return re.sub(r" (?=[.,?!;:](?:\s|$)|'(?:s|re|ve|ll|d|m)\b|n't\b)", "", sentence).strip()


def read_pairs(path: str | Path) -> list[Paradigm]:
    """Every *.txt (Zorro: odd lines bad, even lines good) and *.jsonl (BLiMP: sentence_good, sentence_bad) of a
    directory, or one such file; by name. Raises PairsError, naming file and line."""
    path = Path(path)
    files = sorted(p for p in path.glob("*") if p.suffix in (".txt", ".jsonl")) if path.is_dir() else [path]
    if not files:
        raise PairsError(f"{path}: holds no .txt or .jsonl of minimal pairs")
    found: dict[str, list[Pair]] = {}
    for file in files:
        try:
            lines = file.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise PairsError(f"{file}: cannot be read ({error})") from error
        while lines and not lines[-1].strip():
            lines.pop()
        if not lines:
            raise PairsError(f"{file}: holds no pair")
        for name, pair in _blimp(file, lines) if file.suffix == ".jsonl" else _zorro(file, lines):
            found.setdefault(name, []).append(pair)
    return [Paradigm(name, pairs) for name, pairs in sorted(found.items())]


def _zorro(file: Path, lines: list[str]) -> Iterable[tuple[str, Pair]]:
    if len(lines) % 2:
        raise PairsError(f"{file}: {len(lines):,} lines; bad and good sentences must take turns")
    for number, line in enumerate(lines, 1):
        if not line.strip():
            raise PairsError(f"{file}: line {number:,} is empty")
    for bad, good in zip(lines[::2], lines[1::2], strict=True):
        yield file.stem, Pair(detokenise(good), detokenise(bad))


def _blimp(file: Path, lines: list[str]) -> Iterable[tuple[str, Pair]]:
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
            pair, name = Pair(row["sentence_good"], row["sentence_bad"]), row.get("UID", file.stem)
            if not all(isinstance(part, str) and part.strip() for part in (*pair, name)):
                raise TypeError("a sentence or UID is no text")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise PairsError(f"{file}: line {number:,}: no pair of sentence_good and sentence_bad ({error})") from error
        yield name, pair


def choose(pairs: Sequence[Pair], limit: int | None) -> list[Pair]:
    """At most `limit` pairs, those of the least hashes, in their order: the same ones wherever they stand."""
    if limit is None or limit >= len(pairs):
        return list(pairs)

    def rank(k: int) -> bytes:
        return hashlib.blake2b("\0".join(pairs[k]).encode(), digest_size=16).digest()

    return [pairs[k] for k in sorted(sorted(range(len(pairs)), key=rank)[:limit])]


class SentenceScorer:
    """PLL-word-l2r of sentences under a masked language model."""

    def __init__(self, model: MaskedModel, tokenizer: Tokenizer) -> None:
        self.model, self.tokenizer = model, tokenizer
        self._finder = WordFinder(tokenizer)

    def __call__(self, sentences: Sequence[str]) -> list[float]:
        """Raises PairsError for a sentence that the model is too short for."""
        queries, sizes = [], []
        for sentence in sentences:
            ids = self.tokenizer.encode(sentence)
            if len([CLS, *ids, SEP]) > self.model.config.max_length:
                raise PairsError(
                    f"{len(ids):,} pieces and [CLS], [SEP] do not fit the model's {self.model.config.max_length}: "
                    f"'{sentence[:60]}'"
                )
            copies = masked_copies(ids, self._finder.units(ids))
            queries += copies
            sizes.append(len(copies))
        return score(self.model, queries).sums(sizes).tolist()


def score_paradigm(
    paradigm: Paradigm, scorer: Scorer, limit: int | None = None, progress: Callable[[int], None] | None = None
) -> ParadigmScore:
    """How many pairs the scorer gets right; `progress` is told the pairs done. Raises PairsError with the paradigm."""
    pairs = choose(paradigm.pairs, limit)
    correct = ties = 0
    for first in range(0, len(pairs), CHUNK):
        part = pairs[first : first + CHUNK]
        try:
            scores = scorer([sentence for pair in part for sentence in pair])
        except PairsError as error:
            raise PairsError(f"{paradigm.name}: {error}") from error
        differences = [good - bad for good, bad in zip(scores[::2], scores[1::2], strict=True)]
        ties += sum(abs(difference) <= TIE for difference in differences)
        correct += sum(difference > TIE for difference in differences)
        if progress:
            progress(len(part))
    return ParadigmScore(paradigm.name, len(pairs), correct, ties)


def mean_accuracy(scores: Sequence[ParadigmScore]) -> float:
    """Every paradigm weighs the same."""
    return sum(found.accuracy for found in scores) / len(scores)
