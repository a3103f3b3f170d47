"""Batches without packing: one document a row, documents of like length together. For fine-tuning and scoring."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trainer.data.batch import Batch, PlanRows, collate
from trainer.data.counter import Purpose, key
from trainer.data.masking import Masking
from trainer.data.order import keyed_order, make_order
from trainer.data.packing import Plan
from trainer.data.packing_kernels import WRAP
from trainer.data.shards import Corpus

MULTIPLE: Final = 8
"""Rows are padded to a multiple of this, so that few shapes occur and kernels stay aligned."""


@dataclass(frozen=True)
class Bucket:
    """Examples of one batch; a row of `width` positions holds each, [CLS] and [SEP] included."""

    examples: NDArray[np.int64]
    width: int


def buckets(
    lengths: NDArray[np.int64],
    batch_tokens: int,
    longest: int,
    seed: int,
    epoch: int,
    window: int = 4096,
    multiple: int = MULTIPLE,
    rows: int | None = None,
) -> list[Bucket]:
    """All examples of an epoch once, in batches of at most `batch_tokens` positions (a single row may exceed it) and,
    where told, at most `rows` rows.

    The shuffled epoch is cut in windows; within one the examples are sorted by length, cut in batches, and the batches
    shuffled. Lengths are without [CLS] and [SEP]; rows hold at most `longest` positions with them, and longer examples
    lose their end.
    """
    if longest <= WRAP:
        raise ValueError(f"longest {longest}: must be {WRAP + 1} or more ([CLS], a token, [SEP])")
    shuffled = make_order(seed, lengths)
    out = []
    for number, first in enumerate(range(0, len(lengths), window)):
        examples = shuffled(epoch, np.arange(first, min(first + window, len(lengths))))
        examples = examples[np.argsort(lengths[examples], kind="stable")]
        sizes = np.minimum(lengths[examples] + WRAP, longest)
        widths = np.minimum(-(-sizes // multiple) * multiple, longest)
        found, start = [], 0
        for k in range(1, len(examples) + 1):
            if k == len(examples) or widths[k] * (k + 1 - start) > batch_tokens or k - start == rows:
                found.append(Bucket(examples[start:k], int(widths[k - 1])))
                start = k
        places = np.arange(len(found), dtype=np.int64)
        out += [found[k] for k in keyed_order(key(Purpose.BUCKETS, seed, epoch, number), places, len(found))]
    return out


def unpadded(
    corpus: Corpus, batch_tokens: int, longest: int, seed: int, epoch: int, masking: Masking, first: int = 0
) -> Iterator[Batch]:
    """The documents of an epoch as bucketed batches, from batch `first` on; empty documents are left out.

    Each batch has a width of its own; a row holds the beginning of one document.
    """
    masking.check(corpus.marks)
    present = np.flatnonzero(corpus.lengths)
    for number, bucket in enumerate(buckets(corpus.lengths[present], batch_tokens, longest, seed, epoch)):
        if number < first:
            continue
        documents = present[bucket.examples]
        addresses, keep = corpus.locate(documents)
        plan = Plan(
            seed=seed,
            epoch=epoch,
            window=number,
            sequence_length=bucket.width,
            document=documents,
            offset=np.zeros(len(documents), dtype=np.int64),
            length=np.minimum(corpus.lengths[documents], bucket.width - WRAP),
            first_piece=np.arange(len(documents) + 1),
            address=addresses,
            keep=keep,
        )
        yield collate(corpus, [PlanRows(plan, 0, plan.rows)], masking)
