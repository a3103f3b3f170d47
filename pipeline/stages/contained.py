"""Containment: documents that lie, almost whole, in a larger one (quoted, embedded, cut short).

    kept documents --sampled shingles (anchors) by hash--> pairs (larger, smaller) --> exact overlap --> greedy

MinHash bands cannot find these: a page quoted in a book has a Jaccard near 0. Anchors are the shingles whose hash is a
multiple of `containment_sample`, the same in every document (modulo sampling, Broder 1997): a document of 50 shingles,
45 of them in another, shares none of the 1-in-8 anchors with probability (7/8)^45 = 0.0025. A posting over the cap
pairs its members with the largest and the next larger ones only.

How this goes with the total order: near-duplicates are resolved first, in their order; then, among what is kept, a
document A goes if a kept, larger B holds `containment` of it (of equal size the earlier one in the total order is B;
largest first, greedily, so every B is kept). The larger one wins whatever the priority. The near-duplicates and exact
copies that had A as their twin need another: A goes only where B holds as much of each of those near-duplicates too,
and they then go as contained in B. Bytes exchanged: 28 for each anchor, about shingles / 8 of a document.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.config import DeduplicateConfig
from pipeline.dedup.candidates import candidate_pairs, unique_pairs
from pipeline.dedup.decide import CONTAINED, Drops
from pipeline.dedup.refs import find, parts_of, refs_of_part
from pipeline.dedup.resolve import resolve
from pipeline.dedup.shingles import shingle_sets
from pipeline.stages.candidates import (
    PAIRS,
    WANTED,
    filled_rows,
    is_earlier,
    order_of,
    path_of,
    paths_of,
    read_parts,
)
from pipeline.stages.documents import document_batches, signature_table
from pipeline.stages.exchange import read_columns, read_cut, spread, write_cut
from pipeline.stages.parts import PartWriter
from pipeline.stages.verify import ShingleStore, overlaps
from schemas.arrow import numpy_name

ANCHORS = pa.schema([("anchor", pa.uint64()), ("order", pa.uint64()), ("ref", pa.uint64()), ("size", pa.uint32())])
NEAR = pa.schema([("twin", pa.uint64()), ("ref", pa.uint64())])
"""Near-duplicates that were dropped, by the document that justifies it."""
HELD = pa.schema(
    [
        pa.field("left", pa.uint64()),
        pa.field("right", pa.uint64()),
        pa.field("left_size", pa.uint32()),
        pa.field("right_size", pa.uint32()),
        pa.field("left_order", pa.uint64()),
        pa.field("right_order", pa.uint64()),
        pa.field("containment", pa.float64()),
        pa.field("jaccard", pa.float64()),
    ]
)
"""Pairs of which left holds at least `containment` of right."""


def larger_first(size: np.ndarray, order: np.ndarray, ref: np.ndarray) -> np.ndarray:
    """int64 [n]: rank by falling size, then the total order."""
    rank = np.empty(len(ref), np.int64)
    rank[np.lexsort((ref, order, -size.astype(np.int64)))] = np.arange(len(ref))
    return rank


@dataclass(frozen=True)
class MakeAnchors:
    """Anchors of a part's kept documents, cut by hash. spec: dropped (path of the refs that are gone)."""

    output: str
    config: DeduplicateConfig

    def __call__(self, spec: dict[str, Any], part: PartWriter) -> dict[str, Any]:
        (dropped,) = read_columns(self.output, spec["dropped"])
        order = order_of(signature_table(self.output, part.index), part.index)
        refs = refs_of_part(part.index, len(order))
        kept = np.zeros(len(refs), np.bool_)
        kept[filled_rows(self.output, part.index, len(refs))] = True
        kept &= find(dropped, refs) < 0
        columns: list[list[np.ndarray]] = [[np.empty(0, numpy_name(field.type))] for field in ANCHORS]
        start = 0
        for batch in document_batches(self.output, part.index):
            rows = start + np.flatnonzero(kept[start : start + batch.num_rows])
            sets = shingle_sets(batch["text"].take(pa.array(rows - start)), self.config)
            chosen = sets.values % np.uint64(self.config.containment_sample) == 0
            row = np.repeat(np.arange(len(rows)), sets.counts)[chosen]
            found = (sets.values[chosen], order[rows[row]], refs[rows[row]], sets.counts[row].astype(np.uint32))
            for column, values in zip(columns, found, strict=True):
                column.append(values)
            start += batch.num_rows
        joined = [np.concatenate(column) for column in columns]
        partitions = self.config.partitions
        # The sampled hashes are multiples of the sample; spread, for `partitions` may share a factor with it.
        write_cut(part, path_of("anchors", part.index), ANCHORS, joined, spread(joined[0], partitions), partitions)
        return {"anchors": len(joined[0])}


@dataclass(frozen=True)
class MakeContainedPairs:
    """Pairs (larger, smaller) of one partition's postings, and (larger, X) for each near-duplicate X of the smaller."""

    output: str
    parts: str
    config: DeduplicateConfig

    def __call__(self, spec: dict[str, Any], part: PartWriter) -> dict[str, Any]:
        parts, partitions = read_parts(self.output, self.parts), self.config.partitions
        anchor, order, ref, size = read_cut(self.output, paths_of("anchors", parts), part.index, ANCHORS)
        rank = larger_first(size, order, ref)
        left, right, report, _ = candidate_pairs(anchor, rank.astype(np.uint64), ref, self.config.bucket_cap)
        table, first = np.unique(ref, return_index=True)
        long_enough = size[first][find(table, right)] >= self.config.containment_shingles
        long_enough &= ~is_earlier(right)
        left, right = left[long_enough], right[long_enough]
        twin, near = read_columns(self.output, spec["near"])
        low, high = np.searchsorted(twin, right), np.searchsorted(twin, right, side="right")
        counts = high - low
        shift = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        dependents = near[np.repeat(low, counts) + shift]
        left, right = unique_pairs(np.concatenate([left, np.repeat(left, counts)]), np.concatenate([right, dependents]))
        kind = "contained-pairs"
        write_cut(part, path_of(kind, part.index), PAIRS, [left, right], spread(left, partitions), partitions)
        wanted = np.unique(np.concatenate([left, right]))
        place = np.searchsorted(parts, parts_of(wanted))
        write_cut(part, path_of("contained-wanted", part.index), WANTED, [wanted], place, len(parts))
        return {"pairs": len(left), "overfull": report.capped_buckets}


@dataclass(frozen=True)
class MakeHeld:
    """Verifies the pairs of one place by exact overlap."""

    output: str
    parts: str
    config: DeduplicateConfig

    def __call__(self, spec: dict[str, Any], part: PartWriter) -> dict[str, Any]:
        makers = paths_of("contained-pairs", range(self.config.partitions))
        left, right = unique_pairs(*read_cut(self.output, makers, part.index, PAIRS))
        store = ShingleStore(self.output, read_parts(self.output, self.parts), "contained-shingles")
        i, j = store.find(left), store.find(right)
        common = overlaps(store, i, j).astype(np.int64)
        sizes = store.count[i].astype(np.int64), store.count[j].astype(np.int64)
        containment = common / np.maximum(sizes[1], 1)
        jaccard = common / np.maximum(sizes[0] + sizes[1] - common, 1)
        good = containment >= self.config.containment
        columns = [left, right, store.count[i], store.count[j], store.order[i], store.order[j], containment, jaccard]
        with part.sink(path_of("held", part.index), HELD, compressed=False) as sink:
            sink.write(pa.table([column[good] for column in columns], schema=HELD))
        return {"pairs": len(left), "held": int(good.sum())}


def contained_drops(held: list[np.ndarray], near: Drops) -> Drops:
    """Near drops and contained ones joined. held: columns of HELD; near: sorted by ref.

    An edge counts where every near-duplicate of its smaller end is held as well (see the module's text).
    """
    left, right, left_size, right_size, left_order, right_order, share, jaccard = held
    is_near = find(near.ref, right)
    main = np.flatnonzero(is_near < 0)
    # Of each (larger, twin of X), how many X are held, against how many there are.
    through = np.flatnonzero(is_near >= 0)
    pairs = np.stack([left[through], near.twin[is_near[through]]], axis=1)
    found, counts = np.unique(pairs, axis=0, return_counts=True) if len(pairs) else (pairs, np.empty(0, np.int64))
    held_of = dict(zip(map(tuple, found.tolist()), counts.tolist(), strict=True))
    twins, dependents = np.unique(near.twin, return_counts=True)
    place = find(twins, right[main])
    needed = np.where(place >= 0, dependents[np.maximum(place, 0)] if len(twins) else 0, 0)
    has = np.array([held_of.get(pair, 0) for pair in zip(left[main].tolist(), right[main].tolist(), strict=True)])
    main = main[has >= needed] if len(main) else main
    nodes = np.unique(np.concatenate([left[main], right[main]]))
    a, b = np.searchsorted(nodes, left[main]), np.searchsorted(nodes, right[main])
    size, order = np.empty(len(nodes), np.uint32), np.empty(len(nodes), np.uint64)
    size[a], size[b] = left_size[main], right_size[main]
    order[a], order[b] = left_order[main], right_order[main]
    rank = larger_first(size, order, nodes)
    at = np.empty(len(nodes), np.int64)
    at[rank] = np.arange(len(nodes))
    twin, _ = resolve(len(nodes), rank[a], rank[b], share[main], 0.0)
    gone = np.flatnonzero(twin[rank] >= 0)
    ref, larger = nodes[gone], nodes[at[twin[rank][gone]]]
    # The dropped ones and, after them, the near-duplicates that had them as twins.
    moved = find(ref, near.twin)
    follows = np.flatnonzero(moved >= 0)
    by_pair = np.lexsort((right, left))
    goes = np.concatenate([ref, near.ref[follows]])
    to = np.concatenate([larger, larger[moved[follows]]])
    edge = by_pair[_pair_places(left[by_pair], right[by_pair], to, goes)]
    stays = np.ones(len(near.ref), np.bool_)
    stays[follows] = False
    kinds = np.full(len(goes), CONTAINED, np.uint8)
    joined = np.concatenate([near.ref[stays], goes])
    by_ref = np.argsort(joined)
    columns = [
        np.concatenate([old[stays], new])[by_ref]
        for old, new in (
            (near.twin, to),
            (near.jaccard, jaccard[edge]),
            (near.kind, kinds),
            (near.containment, share[edge]),
        )
    ]
    return Drops(joined[by_ref], *columns)


def _pair_places(left: np.ndarray, right: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """int64 [n]: where each (a, b) stands among pairs sorted by (left, right); all are there."""
    nodes = np.unique(left)
    rights = np.unique(np.concatenate([right, b]))
    # One number for each pair, in the order of the pairs.
    packed = np.searchsorted(nodes, left) * len(rights) + np.searchsorted(rights, right)
    wanted = np.searchsorted(nodes, a) * len(rights) + np.searchsorted(rights, b)
    return np.searchsorted(packed, wanted)
