"""Losses and ranks by how often the corpus holds a word: what a mean over all tokens hides.

Bands are decades of a word's count in frequency/words.arrow. Two measurements: the masked-LM loss of the held-out
targets by the band of the word they lie in, and the pseudo-perplexity of whole words in their document
(`scoring.masked_copies`). Words with notes, where the shards mark them, are a band of their own beside the others.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from schemas.vocabulary import SEP
from trainer.data.batch import Batch
from trainer.data.counter import Purpose, key
from trainer.data.held_out import HELD_OUT_SEED
from trainer.data.order import keyed_order, order
from trainer.data.packing_kernels import WRAP
from trainer.data.shards import Corpus
from trainer.evaluate.scoring import MaskedModel, masked_copies, piece_scores, score
from trainer.evaluate.words import Unit, WordCounts, WordFinder

EDGES: Final = (1, 10, 100, 1_000, 10_000)
"""Lowest counts of the bands but the first."""
BANDS: Final = ("unlisted", "1-9", "10-99", "100-999", "1,000-9,999", "10,000+")
RARE: Final = "rare"
"""The words that have notes; they are counted in their frequency band as well."""
NO_WORD: Final = "no word"
"""Punctuation, numbers, pieces of addresses: in the targets' table alone."""
SCAN_TOKENS: Final = 500_000
"""Tokens of the split, in a fixed keyed order, among which words are chosen."""


@dataclass(frozen=True)
class BandScore:
    """What a model makes of the words of one band. Losses in nats."""

    band: str
    words: int
    """Occurrences that were scored."""
    loss: float
    """Mean of -ln p of a whole word in its context."""
    perplexity: float
    """exp(loss): pseudo-perplexity a word."""
    pieces: float
    """Mean number of pieces of a word."""
    median_rank: float
    """Of the right first piece while all of the word is masked; 0 is the best guess."""
    reciprocal_rank: float
    """Mean of 1 / (rank + 1)."""


@dataclass(frozen=True)
class TargetScore:
    """Masked-LM loss of the held-out targets in words of one band."""

    band: str
    targets: int
    loss: float


class Occurrence(NamedTuple):
    """A word in its window: pieces [start, end) of `ids`."""

    ids: list[int]
    start: int
    end: int


def band_numbers(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Index into BANDS of words with these counts."""
    return np.searchsorted(np.array(EDGES), counts, side="right")


def occurrences(
    corpus: Corpus, finder: WordFinder, counts: WordCounts, limit: int, longest: int, scan: int = SCAN_TOKENS
) -> dict[str, list[Occurrence]]:
    """Band -> at most `limit` words of the split, each with as much of its document around it as `longest` positions
    hold. The same words whatever the model; RARE comes last, where any word is marked."""
    documents, units, is_rare, seen = [], [], [], 0
    for position in range(corpus.documents):
        if seen >= scan:
            break
        document = order(HELD_OUT_SEED, 0, position, corpus.documents)
        ids = corpus.tokens(document).tolist()
        seen += len(ids)
        rare = corpus.rare(document)
        marked = set(zip(rare.start.tolist(), rare.end.tolist(), strict=True))
        for unit in finder.units(ids):
            if unit.word and unit.end - unit.start <= longest - WRAP:
                documents.append(document)
                units.append(unit)
                is_rare.append((unit.start, unit.end) in marked)
    numbers = band_numbers(counts.of([unit.word for unit in units]))
    members = {name: np.flatnonzero(numbers == k) for k, name in enumerate(BANDS)}
    members[RARE] = np.flatnonzero(np.array(is_rare, dtype=np.bool_))
    chosen = {}
    for k, (name, rows) in enumerate(members.items()):
        if len(rows):
            places = np.arange(min(limit, len(rows)), dtype=np.int64)
            rows = np.sort(rows[keyed_order(key(Purpose.EVALUATE, k), places, len(rows))])
            chosen[name] = [_window(corpus, documents[row], units[row], longest - WRAP) for row in rows]
    return chosen


def _window(corpus: Corpus, document: int, unit: Unit, width: int) -> Occurrence:
    """The word in the middle of `width` pieces, moved to where the document has them."""
    ids = corpus.tokens(document)
    first = max(0, min((unit.start + unit.end - width) // 2, len(ids) - width))
    return Occurrence(ids[first : first + width].tolist(), unit.start - first, unit.end - first)


def score_words(model: MaskedModel, bands: dict[str, list[Occurrence]]) -> list[BandScore]:
    """In the order of `bands`, and all frequency bands together, as they were chosen, are left to the reader: bands are
    sampled to equal size."""
    found = []
    for name, words in bands.items():
        copies = [masked_copies(word.ids, [Unit(word.start, word.end, "")]) for word in words]
        scores = score(model, [query for queries in copies for query in queries])
        sizes = np.array([len(queries) for queries in copies])
        loss = float(-scores.sums(sizes).mean())
        ranks = scores.rank[np.cumsum(sizes) - sizes]
        found.append(
            BandScore(
                band=name,
                words=len(words),
                loss=loss,
                perplexity=math.exp(min(loss, 700.0)),
                pieces=float(sizes.mean()),
                median_rank=float(np.median(ranks)),
                reciprocal_rank=float((1 / (ranks + 1)).mean()),
            )
        )
    return found


@torch.inference_mode()
def score_targets(
    model: MaskedModel, batches: Iterable[Batch], finder: WordFinder, counts: WordCounts
) -> list[TargetScore]:
    """Mean loss of the batches' targets by the band of their word; bands without targets are left out."""
    device = next(model.parameters()).device  # type: ignore[attr-defined]
    losses: list[NDArray[np.float64]] = []
    words: list[str] = []
    for batch in batches:
        if not len(batch.target_M):
            continue
        words += target_words(batch, finder)
        here = batch.to(device)
        logits = model.logits(here.tokens_BT, here.segments_BT, here.positions_BT, here.target_index_M)
        losses.append(-piece_scores(logits, here.target_M)[0].cpu().numpy())
    loss = np.concatenate([np.zeros(0), *losses])
    numbers = np.where(np.array(words, dtype=object) == "", len(BANDS), band_numbers(counts.of(words)))
    names = (*BANDS, NO_WORD)
    present = [(names[k], loss[numbers == k]) for k in range(len(names))]
    return [TargetScore(name, len(values), float(values.mean())) for name, values in present if len(values)]


def target_words(batch: Batch, finder: WordFinder) -> Sequence[str]:
    """The normalised word that each target lies in, '' where it lies in none."""
    width = batch.tokens_BT.shape[1]
    flat = batch.tokens_BT.flatten().clone()
    flat[batch.target_index_M] = batch.target_M
    targets = set(batch.target_index_M.tolist())
    found: dict[int, str] = {}
    for row in range(len(batch.tokens_BT)):
        length = int((batch.segments_BT[row] > 0).sum())
        start = row * width
        ids = flat[start : start + length].tolist()
        assert not ids or ids[-1] == SEP
        for unit in finder.units(ids):
            for at in range(start + unit.start, start + unit.end):
                if at in targets:
                    found[at] = unit.word
    return [found[at] for at in batch.target_index_M.tolist()]
