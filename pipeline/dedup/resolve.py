"""Which documents go: a document is dropped only where an earlier *kept* one resembles it. No transitive chains."""

import numpy as np
from numba import njit


@njit(nogil=True, cache=True)
def _resolve_kernel(left, right, jaccard, threshold, twin, best):  # type: ignore[no-untyped-def]
    """Edges sorted by (right, left): when an edge is read, the fate of its left end is settled."""
    for edge in range(len(left)):
        if jaccard[edge] < threshold or twin[left[edge]] >= 0:
            continue
        document = right[edge]
        if twin[document] < 0 or jaccard[edge] > best[document]:
            twin[document] = left[edge]
            best[document] = jaccard[edge]


def resolve(
    n: int, left: np.ndarray, right: np.ndarray, jaccard: np.ndarray, threshold: float
) -> tuple[np.ndarray, np.ndarray]:
    """(twin, jaccard): int64 [n], the kept document that each one duplicates, -1 where it is kept; float64 [n], their
    Jaccard, NaN where it is kept. Of several kept neighbours the most similar is named, of equals the earliest.

    Documents are numbered by the total order. left, right: int64 [edges], left < right. jaccard: float64 [edges].
    The kept set is the greedy maximal independent set in that order: every dropped document has a kept neighbour of
    Jaccard >= threshold, no two kept ones are such neighbours. Raises ValueError for edges out of order or range.
    """
    if len(left) and not (left.min() >= 0 and right.max() < n and (left < right).all()):
        raise ValueError(f"edges must be 0 <= left < right < {n}, numbered by the total order")
    order = np.lexsort((left, right))
    twin = np.full(n, -1, np.int64)
    best = np.full(n, np.nan)
    _resolve_kernel(left[order], right[order], jaccard[order], threshold, twin, best)
    return twin, best
