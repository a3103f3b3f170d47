"""Examples as rows of pieces, and batches of rows of like length.

Shape suffixes: B examples, T positions, M predictions.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from schemas.vocabulary import CLS, PAD, SEP
from trainer.data.buckets import MULTIPLE, buckets
from trainer.data.packing_kernels import WRAP
from trainer.data.rare import RareWords
from trainer.finetune.labels import Labels, words_of
from trainer.finetune.note_finder import NoteFinder
from trainer.finetune.table import Row, TableError
from trainer.sections.finetune import Kind
from trainer.tokenizer import Tokenizer


@dataclass(frozen=True)
class Example:
    """[CLS] text [SEP], or [CLS] text [SEP] second text [SEP]."""

    ids: list[int]
    at: list[int]
    """Positions that are predicted: [CLS], or the first piece of each word that was not cut off."""
    labels: list[float]
    """One for each of `at`; empty where there is none to compare with."""
    words: int = 1
    """Predictions that were asked for, before anything was cut."""
    cut: bool = False


@dataclass(frozen=True)
class ExampleBatch:
    """Rows side by side, PAD to the right."""

    tokens_BT: Tensor
    segments_BT: Tensor
    """1, and 0 at padding."""
    positions_BT: Tensor
    index_M: Tensor
    """What is predicted, as indices into the flattened B * T."""
    labels_M: Tensor
    """fp32; NaN without labels."""
    examples: list[int]
    """Number of each row's example."""
    words: RareWords | None = None
    """Words with notes, where the encoder reads them."""

    @property
    def token_count(self) -> int:
        """Positions that are not padding."""
        return int(self.segments_BT.sum())

    def to(self, device: torch.device) -> "ExampleBatch":
        names = ("tokens_BT", "segments_BT", "positions_BT", "index_M", "labels_M")
        words = None if self.words is None else self.words.to(device)
        return replace(self, words=words, **{name: getattr(self, name).to(device) for name in names})


class Encoding:
    """From rows of a table to examples of one model and task."""

    def __init__(self, tokenizer: Tokenizer, kind: Kind, longest: int, pair: bool, refuse_long: bool) -> None:
        self.tokenizer, self.kind, self.longest, self.pair = tokenizer, kind, longest, pair
        self.refuse_long = refuse_long
        if kind == "tokens" and pair:
            raise TableError("kind 'tokens' labels the words of one text; leave out the second")

    def encode(self, row: Row, labels: Labels | None = None) -> Example:
        """Raises TableError for a text that is too long where that is refused, LabelError for a bad label."""
        targets = [] if labels is None else labels.encode(row)
        if self.kind == "tokens":
            return self._words(row, targets)
        if isinstance(row.text, list):
            raise TableError(f"{row.where}: the text is a list; words apart are for kind 'tokens'")
        first = self.tokenizer.encode(row.text)
        second = self.tokenizer.encode(row.text_b or "") if self.pair else []
        over = len(first) + len(second) + WRAP + self.pair - self.longest
        self._check(row, over)
        for _ in range(max(over, 0)):
            # The longer one gives way, so a short question keeps all of its words.
            (first if len(first) >= len(second) else second).pop()
        ids = [CLS, *first, SEP, *([*second, SEP] if self.pair else [])]
        return Example(ids, [0], targets, cut=over > 0)

    def _words(self, row: Row, targets: list[float]) -> Example:
        words = words_of(row)
        ids, at = [CLS], []
        for word in words:
            at.append(len(ids))
            ids += self.tokenizer.encode(word)
        over = len(ids) + 1 - self.longest
        self._check(row, over)
        ids = [*ids[: self.longest - 1], SEP]
        # A word of no piece (a lone control character) shares the next one's place.
        kept = [place for place in at if place < len(ids) - 1]
        return Example(ids, kept, targets[: len(kept)], words=len(words), cut=over > 0)

    def _check(self, row: Row, over: int) -> None:
        if over > 0 and self.refuse_long:
            raise TableError(
                f"{row.where}: {self.longest + over:,} pieces; this model reads {self.longest} (long = 'cut' cuts)"
            )


def collate(
    examples: Sequence[Example], numbers: Iterable[int], longest: int, finder: NoteFinder | None = None
) -> ExampleBatch:
    """Rows of the examples `numbers`, as wide as the longest needs, a multiple of MULTIPLE below `longest`."""
    numbers = list(numbers)
    rows = [examples[k] for k in numbers]
    width = max(len(row.ids) for row in rows)
    width = min(-(-width // MULTIPLE) * MULTIPLE, max(longest, width))
    tokens = np.full((len(rows), width), PAD, dtype=np.int64)
    lengths = np.array([len(row.ids) for row in rows])
    for k, row in enumerate(rows):
        tokens[k, : len(row.ids)] = row.ids
    places = np.arange(width)
    inside = places < lengths[:, None]
    index = [k * width + place for k, row in enumerate(rows) for place in row.at]
    labels = [label for row in rows for label in (row.labels or [np.nan] * len(row.at))]
    tokens_BT, segments_BT = torch.from_numpy(tokens), torch.from_numpy(inside.astype(np.int64))
    return ExampleBatch(
        tokens_BT=tokens_BT,
        segments_BT=segments_BT,
        positions_BT=torch.from_numpy(np.where(inside, places, 0)),
        index_M=torch.tensor(index, dtype=torch.int64),
        labels_M=torch.tensor(labels, dtype=torch.float32),
        examples=numbers,
        words=None if finder is None else finder.find(tokens_BT, segments_BT),
    )


def training_batches(
    examples: Sequence[Example], rows: int, tokens: int, longest: int, seed: int, epoch: int
) -> list[list[int]]:
    """Every example once, in an order that (seed, epoch) decides; like lengths share a batch."""
    lengths = np.array([len(example.ids) - WRAP for example in examples], dtype=np.int64)
    return [b.examples.tolist() for b in buckets(lengths, tokens, longest, seed, epoch, rows=rows)]


def scoring_batches(examples: Sequence[Example], tokens: int) -> Iterator[list[int]]:
    """Every example once, short ones first, in batches of at most `tokens` positions."""
    order = sorted(range(len(examples)), key=lambda k: len(examples[k].ids))
    first = 0
    while first < len(order):
        last = first + 1
        while last < len(order) and (last + 1 - first) * (len(examples[order[last]].ids) + MULTIPLE) <= tokens:
            last += 1
        yield order[first:last]
        first = last
