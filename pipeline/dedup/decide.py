"""Which documents go, with the kept document that justifies each: exact copies and verified near-duplicates joined."""

from dataclasses import dataclass

import numpy as np

from pipeline.dedup.order import ranks
from pipeline.dedup.refs import find, parts_of, refs_of_part, rows_of
from pipeline.dedup.resolve import resolve

__all__ = ["Drops", "Edges", "join_exact", "near_drops", "near_twins", "parts_of", "refs_of_part", "rows_of"]

KINDS = ("exact", "near", "contained")
EXACT, NEAR, CONTAINED = range(3)


@dataclass(frozen=True, slots=True)
class Drops:
    """The dropped documents, sorted by ref; everything else is kept."""

    ref: np.ndarray
    """uint64 [n]"""
    twin: np.ndarray
    """uint64 [n]: ref of the kept document that justifies the drop."""
    jaccard: np.ndarray
    """float64 [n]: exact, 1.0 for exact copies."""
    kind: np.ndarray
    """uint8 [n]: index in KINDS."""
    containment: np.ndarray
    """float64 [n]: the share of the dropped document's shingles that lie in its twin; NaN but for contained ones."""


@dataclass(frozen=True, slots=True)
class Edges:
    """Verified pairs at or above the threshold; left is earlier in the total order (order, ref)."""

    left: np.ndarray
    """uint64 [edges]: refs"""
    right: np.ndarray
    left_order: np.ndarray
    """uint64 [edges]: see `order_keys`"""
    right_order: np.ndarray
    jaccard: np.ndarray
    """float64 [edges]"""


def near_twins(edges: Edges) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(ref, twin, jaccard) of the documents that go by greedy resolution in the total order, sorted by ref.

    uint64, uint64, float64 [drops]. About 80 bytes an edge while it works.
    """
    nodes = np.unique(np.concatenate([edges.left, edges.right]))
    left, right = np.searchsorted(nodes, edges.left), np.searchsorted(nodes, edges.right)
    order = np.empty(len(nodes), np.uint64)
    order[left], order[right] = edges.left_order, edges.right_order
    rank = ranks(order, nodes)
    twin, best = resolve(len(nodes), rank[left], rank[right], edges.jaccard, 0.0)
    at = np.empty(len(nodes), np.int64)
    at[rank] = np.arange(len(nodes))
    # Back from ranks to nodes, which are sorted by ref.
    twin, best = twin[rank], best[rank]
    dropped = np.flatnonzero(twin >= 0)
    return nodes[dropped], nodes[at[twin[dropped]]], best[dropped]


def near_drops(ref: np.ndarray, twin: np.ndarray, jaccard: np.ndarray) -> Drops:
    """Near-duplicates, sorted by ref."""
    return Drops(ref, twin, jaccard, np.full(len(ref), NEAR, np.uint8), np.full(len(ref), np.nan))


def join_exact(copies: np.ndarray, survivors: np.ndarray, others: Drops) -> Drops:
    """Adds the exact copies (uint64 [n]: refs, and their survivors' refs) to the other drops.

    A copy whose survivor was itself dropped goes as the survivor went: equal digests mean equal shingle sets, so the
    Jaccard with that twin, and the containment in it, are the same.
    """
    place = find(others.ref, survivors)
    moved = place >= 0

    def joined(theirs: np.ndarray, own: np.ndarray) -> np.ndarray:
        own[moved] = theirs[place[moved]]
        return np.concatenate([theirs, own])

    ref = np.concatenate([others.ref, copies])
    by_ref = np.argsort(ref)
    return Drops(
        ref[by_ref],
        joined(others.twin, survivors.copy())[by_ref],
        joined(others.jaccard, np.ones(len(copies)))[by_ref],
        joined(others.kind, np.full(len(copies), EXACT, np.uint8))[by_ref],
        joined(others.containment, np.full(len(copies), np.nan))[by_ref],
    )
