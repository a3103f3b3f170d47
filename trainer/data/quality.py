"""How well an order shuffles, in numbers that a true permutation can be held against."""

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.data.order import Order


@dataclass(frozen=True)
class ShuffleQuality:
    """Of n documents at n positions. In brackets what a true permutation has, on average."""

    rank_correlation: float
    """Spearman's, of position and document [0, give or take 1 / sqrt(n)]."""
    lag_correlation: float
    """Of each document's number and that of the next position [0, likewise]."""
    neighbour_distance: float
    """Mean distance of the documents at neighbouring positions, over (n + 1) / 3 [1]."""
    neighbours_kept: float
    """Share of neighbouring positions with neighbouring documents [2 / n]."""
    same_shard: float
    """Share of neighbouring positions whose documents lie in one shard, over that of a true permutation [1]."""
    shards_read: float
    """Mean share of all shards that a window of documents touches: what has to be at hand at a time."""

    def to_json(self) -> dict[str, float]:
        return asdict(self)


def shuffle_quality(
    documents: NDArray[np.int64], shard_of_document: NDArray[np.int64], window_documents: int = 1024
) -> ShuffleQuality:
    """Of an epoch's documents in their order, int64 (n,), n >= 3; `shard_of_document` int64 (n,)."""
    n = len(documents)
    positions = np.arange(n)
    shard = shard_of_document[documents]
    sizes = np.bincount(shard_of_document)
    by_chance = float((sizes * (sizes - 1)).sum() / (n * (n - 1)))
    touched = [len(np.unique(shard[k : k + window_documents])) for k in range(0, n, window_documents)]
    distance = np.abs(np.diff(documents))
    return ShuffleQuality(
        rank_correlation=float(np.corrcoef(positions, documents)[0, 1]),
        lag_correlation=float(np.corrcoef(documents[1:], documents[:-1])[0, 1]),
        neighbour_distance=float(distance.mean() / ((n + 1) / 3)),
        neighbours_kept=float((distance == 1).mean()),
        same_shard=float((shard[1:] == shard[:-1]).mean() / by_chance) if by_chance else 1.0,
        shards_read=float(np.mean(touched) / np.count_nonzero(sizes)),
    )


def order_quality(
    order: Order, epoch: int, shard_of_document: NDArray[np.int64], window_documents: int = 1024
) -> ShuffleQuality:
    """Of one epoch of an order."""
    documents = order(epoch, np.arange(len(shard_of_document)))
    return shuffle_quality(documents, shard_of_document, window_documents)


def permutation_quality(
    seed: int, shard_of_document: NDArray[np.int64], window_documents: int = 1024
) -> ShuffleQuality:
    """Of a true random permutation of as many documents (numpy's generator)."""
    documents = np.random.default_rng(seed).permutation(len(shard_of_document))
    return shuffle_quality(documents, shard_of_document, window_documents)
