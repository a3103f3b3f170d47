"""Stanford Rare Words (Luong, Socher and Manning, CoNLL 2013): do embeddings' cosines rank pairs as people do?

A word's vector is the mean over its pieces of one of:

- "averaged": the input embeddings, with no context;
- "contextual": the encoder's last states, averaged over windows of the corpus around the word: those of its note,
  where it has one, else those that a scan of the training split finds; a word without any is read alone.
"""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, NamedTuple

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

import schemas.arrow
from schemas.shard import SchemaError, open_shard
from schemas.vocabulary import CLS, SEP
from trainer.data.order import order
from trainer.data.packing_kernels import WRAP
from trainer.data.shards import Corpus, CorpusError
from trainer.evaluate.bands import SCAN_TOKENS, Occurrence
from trainer.evaluate.scoring import BATCH_TOKENS
from trainer.evaluate.words import WordCounts, WordFinder, normalise_word
from trainer.metrics import spearman
from trainer.model.encoder import Encoder
from trainer.tokenizer import Tokenizer

Kind = Literal["averaged", "contextual"]
CONTEXTS: Final = 8
"""Windows of one word."""


class RareWordsError(ValueError):
    """A file of word pairs that cannot be read. The message names file and line."""


class WordPair(NamedTuple):
    left: str
    right: str
    similarity: float


@dataclass(frozen=True)
class RareWordsScore:
    """Spearman's correlation of cosines with people's judgements, over all pairs and over those in the corpus."""

    pairs: int
    averaged: float
    contextual: float
    pairs_in_corpus: int
    """Pairs whose two words frequency/words.arrow lists."""
    averaged_in_corpus: float | None
    contextual_in_corpus: float | None
    words: int
    words_with_context: int


def read_word_pairs(path: str | Path) -> list[WordPair]:
    """A CSV with the columns word1, word2, similarity. Raises RareWordsError naming the line."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            pairs = []
            for row in reader:
                try:
                    pair = WordPair(row["word1"], row["word2"], float(row["similarity"]))
                    if not (pair.left.strip() and pair.right.strip() and np.isfinite(pair.similarity)):
                        raise ValueError("an empty word or a similarity that is no number")
                except (KeyError, TypeError, ValueError, AttributeError) as error:
                    raise RareWordsError(
                        f"{path}: line {reader.line_num:,}: not word1, word2, similarity ({error})"
                    ) from error
                pairs.append(pair)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise RareWordsError(f"{path}: cannot be read ({error})") from error
    if len(pairs) < 3:
        raise RareWordsError(f"{path}: {len(pairs)} pairs; a correlation needs three")
    return pairs


def contexts(
    words: Sequence[str], corpus: Corpus, finder: WordFinder, longest: int, scan: int = SCAN_TOKENS
) -> dict[str, list[Occurrence]]:
    """Windows around the words: from the notes table, then from documents in a fixed keyed order."""
    wanted = {normalise_word(word) for word in words} - {""}
    found: dict[str, list[Occurrence]] = {word: [] for word in wanted}
    width = longest - WRAP
    for word, ids, start, end in _notes(corpus, wanted):
        if len(found[word]) < CONTEXTS and end - start <= width:
            found[word].append(_cut(ids, start, end, width))
    missing = {word for word in wanted if not found[word]}
    seen = 0
    for position in range(corpus.documents):
        if seen >= scan or not missing:
            break
        ids = corpus.tokens(order(0, 0, position, corpus.documents)).tolist()
        seen += len(ids)
        for unit in finder.units(ids):
            if unit.word in missing and unit.end - unit.start <= width:
                found[unit.word].append(_cut(ids, unit.start, unit.end, width))
                if len(found[unit.word]) == CONTEXTS:
                    missing.discard(unit.word)
    return {word: windows for word, windows in found.items() if windows}


def _cut(ids: list[int], start: int, end: int, width: int) -> Occurrence:
    first = max(0, min((start + end - width) // 2, len(ids) - width))
    return Occurrence(ids[first : first + width], start - first, end - first)


def _notes(corpus: Corpus, wanted: set[str]) -> Iterator[tuple[str, list[int], int, int]]:
    for path in sorted((corpus.directory / "notes").glob("notes-*.arrow")):
        try:
            reader = open_shard(path, schemas.arrow.note(corpus.vocabulary_size))
            for k in range(reader.num_record_batches):
                batch = reader.get_batch(k)
                for row, word in enumerate(batch.column("word").to_pylist()):
                    if word in wanted:
                        for context in batch.column("contexts")[row].as_py():
                            yield word, context["tokens"], context["start"], context["end"]
        except (SchemaError, pa.ArrowInvalid) as error:
            raise CorpusError(f"{error}; run `siliang-pipeline prepare` again") from error


@torch.inference_mode()
def averaged_vectors(encoder: Encoder, tokenizer: Tokenizer, words: Sequence[str]) -> NDArray[np.float64]:
    """[words, width]: means of input embeddings."""
    table = encoder.token_embedding.weight.double()
    return np.stack([table[_ids(tokenizer, word)].mean(0).cpu().numpy() for word in words])


def _ids(tokenizer: Tokenizer, word: str) -> list[int]:
    ids = tokenizer.encode(word)
    if not ids:
        raise RareWordsError(f"'{word}' has no piece in the vocabulary")
    return ids


@torch.inference_mode()
def contextual_vectors(
    encoder: Encoder, tokenizer: Tokenizer, words: Sequence[str], found: dict[str, list[Occurrence]]
) -> NDArray[np.float64]:
    """[words, width]: means of last states over a word's pieces, then over its windows."""
    device = encoder.token_embedding.weight.device
    readings = []
    for k, word in enumerate(words):
        alone = _ids(tokenizer, word)[: encoder.config.max_length - WRAP]
        windows = found.get(normalise_word(word)) or [Occurrence(alone, 0, len(alone))]
        readings += [(k, window) for window in windows]
    readings.sort(key=lambda reading: len(reading[1].ids))
    vectors, counts = np.zeros((len(words), encoder.config.width)), np.zeros(len(words))
    first = 0
    while first < len(readings):
        length = len(readings[first][1].ids)
        last = first
        while (
            last < len(readings)
            and len(readings[last][1].ids) == length
            and (last - first) * (length + WRAP) < BATCH_TOKENS
        ):
            last += 1
        part = readings[first:last]
        tokens_BT = torch.tensor([[CLS, *window.ids, SEP] for _, window in part], device=device)
        positions_BT = torch.arange(tokens_BT.shape[1], device=device).expand_as(tokens_BT)
        h_BTD = encoder(tokens_BT, torch.ones_like(tokens_BT), positions_BT).double().cpu()
        for (k, window), h_TD in zip(part, h_BTD, strict=True):
            vectors[k] += h_TD[1 + window.start : 1 + window.end].mean(0).numpy()
            counts[k] += 1
        first = last
    return vectors / counts[:, None]


def cosines(vectors: NDArray[np.float64], left: Sequence[int], right: Sequence[int]) -> NDArray[np.float64]:
    norms = np.linalg.norm(vectors, axis=1)
    products = (vectors[left] * vectors[right]).sum(1)
    return products / np.maximum(norms[left] * norms[right], 1e-300)


def score_rare_words(
    encoder: Encoder, tokenizer: Tokenizer, corpus: Corpus, pairs: Sequence[WordPair], scan: int = SCAN_TOKENS
) -> RareWordsScore:
    """Both kinds of vectors on the same pairs. `corpus` is a training split; its directory has words and notes."""
    words = sorted({word for pair in pairs for word in (pair.left, pair.right)})
    number = {word: k for k, word in enumerate(words)}
    left, right = [number[pair.left] for pair in pairs], [number[pair.right] for pair in pairs]
    truth = np.array([pair.similarity for pair in pairs])
    found = contexts(words, corpus, WordFinder(tokenizer), encoder.config.max_length, scan)
    known = WordCounts.read(corpus.directory).of([normalise_word(word) for word in words]) > 0
    inside = known[left] & known[right]
    scores: dict[str, float | None] = {}
    for kind, vectors in (
        ("averaged", averaged_vectors(encoder, tokenizer, words)),
        ("contextual", contextual_vectors(encoder, tokenizer, words, found)),
    ):
        guess = cosines(vectors, left, right)
        scores[kind] = spearman(guess, truth)
        scores[f"{kind}_in_corpus"] = spearman(guess[inside], truth[inside]) if inside.sum() > 2 else None
    return RareWordsScore(
        pairs=len(pairs),
        pairs_in_corpus=int(inside.sum()),
        words=len(words),
        words_with_context=sum(normalise_word(word) in found for word in words),
        **scores,  # type: ignore[arg-type]
    )
