"""What was removed as a copy, with the kept document that justifies it, and the largest groups."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.config import DeduplicateConfig
from pipeline.dedup.bands import s_curve
from pipeline.report.audit import select, tables
from pipeline.report.examples import NAME_LIMIT, Nearest, Order, example, positions
from pipeline.report.model import Duplicates, Example, Group, Histogram, Pair
from pipeline.report.visible import cut
from schemas.manifest import FileEntry

JACCARD_BINS = 50
GROUP_BUCKETS = 1 << 20
"""Copies are counted by the first five hex digits of the kept doc_id; only the fullest buckets are counted by doc_id.
Exact for the groups shown unless over GROUP_CANDIDATES buckets are fuller than the largest group."""
GROUP_CANDIDATES = 4096
LARGEST_GROUPS = 10
NEAR_PAIRS = 6
EXACT_PAIRS = 3


@dataclass(frozen=True)
class _Removed:
    kind: str
    jaccard: float
    removed: Example
    kept_id: str
    kept_record: str


class DuplicateScan:
    """Adds up audit tables; memory does not grow with the number of duplicates."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.jaccard = np.zeros(JACCARD_BINS, np.int64)
        self.near = Nearest(NEAR_PAIRS)
        """Least Jaccard first: the removals that rest on the least resemblance."""
        self.exact = Nearest(EXACT_PAIRS)
        self.buckets = np.zeros(GROUP_BUCKETS, np.int64)

    def add(self, table: pa.Table, verdict: np.ndarray, order: Order) -> None:
        rows = np.flatnonzero(verdict == 2)
        kind = positions(table["rule"], ("exact", "near"))[rows]
        jaccard = table["jaccard"].to_numpy()[rows].astype(np.float64)
        near = np.flatnonzero((kind == 1) & np.isfinite(jaccard))
        exact = np.flatnonzero(kind == 0)
        self.counts["exact"] += len(exact)
        self.counts["near"] += int((kind == 1).sum())
        # 0.8 * 50 is 40.00000000000001 and 0.58 * 50 is 28.999999999999996: both belong to the bin they open.
        bins = np.clip((jaccard[near] * JACCARD_BINS + 1e-9).astype(np.int64), 0, JACCARD_BINS - 1)
        self.jaccard += np.bincount(bins, minlength=JACCARD_BINS)
        self.buckets += np.bincount(_buckets(table["duplicate_of"].take(rows)), minlength=GROUP_BUCKETS)
        for name, best, some in (("near", self.near, near), ("exact", self.exact, exact)):
            distance = jaccard[some] if name == "near" else np.zeros(len(some))
            for position in order.nearest(rows[some], distance, best.count).tolist():
                row = int(rows[some[position]])
                best.offer(table, row, distance[position], partial(_removed, table, row, name))

    def summary(self, directory: Path, files: Sequence[FileEntry], config: DeduplicateConfig) -> Duplicates:
        """Looks at the audit twice more: for the largest groups, and for the kept side of what is told."""
        groups = _largest(directory, files, self.buckets)
        pairs: list[_Removed] = [*self.near.values(), *self.exact.values()]
        kept = _kept(directory, files, {pair.kept_id for pair in pairs} | {doc_id for doc_id, _ in groups})
        return Duplicates(
            exact=self.counts["exact"],
            near=self.counts["near"],
            threshold=config.threshold,
            bands=config.bands,
            rows=config.rows,
            s_curve=tuple((float(x), float(y)) for x, y in s_curve(config.bands, config.rows)),
            jaccard=Histogram(
                edges=tuple(k / JACCARD_BINS for k in range(JACCARD_BINS + 1)), counts=tuple(self.jaccard.tolist())
            ),
            groups=tuple(
                Group(doc_id=doc_id, removed=size, record=found.record, excerpt=found.excerpt)
                for doc_id, size in groups
                for found in (kept.get(doc_id) or _unknown(doc_id),)
            ),
            pairs=tuple(
                Pair(
                    kind="near" if pair.kind == "near" else "exact",
                    jaccard=pair.jaccard,
                    removed=pair.removed,
                    kept=kept.get(pair.kept_id) or _unknown(pair.kept_id, pair.kept_record),
                )
                for pair in pairs
            ),
        )


def _removed(table: pa.Table, row: int, kind: str) -> _Removed:
    jaccard = table["jaccard"][row].as_py()
    return _Removed(
        kind=kind,
        jaccard=1.0 if jaccard is None else jaccard,
        removed=example(table, row),
        kept_id=table["duplicate_of"][row].as_py() or "",
        kept_record=table["duplicate_record"][row].as_py() or "",
    )


def _unknown(doc_id: str, record: str = "") -> Example:
    return Example(record=cut(record, NAME_LIMIT), doc_id=cut(doc_id, NAME_LIMIT), source="")


def _buckets(column: pa.ChunkedArray) -> np.ndarray:
    prefix = pc.utf8_slice_codeunits(column.drop_null(), 0, 5).combine_chunks().dictionary_encode()
    numbers = np.array([_hex(value) for value in prefix.dictionary.to_pylist()], np.int64)
    return numbers[prefix.indices.to_numpy()] if len(numbers) else np.zeros(0, np.int64)


def _hex(text: str) -> int:
    try:
        return int(text, 16)
    except ValueError:
        return 0


def _largest(directory: Path, files: Sequence[FileEntry], buckets: np.ndarray) -> list[tuple[str, int]]:
    filled = np.flatnonzero(buckets)
    if not len(filled):
        return []
    full = np.zeros(len(buckets), bool)
    full[filled[np.lexsort((filled, -buckets[filled]))[:GROUP_CANDIDATES]]] = True
    sizes: Counter[str] = Counter()
    for table in tables(directory, files, ("verdict", "duplicate_of")):
        copies = table["duplicate_of"].filter(pc.equal(table["verdict"], "duplicate")).drop_null()
        copies = copies.filter(pa.array(full[_buckets(copies)]))
        for item in pc.value_counts(copies.combine_chunks()).to_pylist():
            sizes[item["values"]] += item["counts"]
    return sorted(sizes.items(), key=lambda item: (-item[1], item[0]))[:LARGEST_GROUPS]


def _kept(directory: Path, files: Sequence[FileEntry], doc_ids: set[str]) -> dict[str, Example]:
    wanted = pa.array(sorted(doc_ids), pa.string())

    def condition(batch: pa.RecordBatch) -> pa.BooleanArray:
        return pc.and_(pc.equal(batch["verdict"], "kept"), pc.is_in(batch["doc_id"], value_set=wanted))

    found: dict[str, Example] = {}
    for table in select(directory, files, ("doc_id", "verdict"), condition) if doc_ids else ():
        for row in range(len(table)):
            shown = example(table, row)
            found[shown.doc_id] = shown
    return found
