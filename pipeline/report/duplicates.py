"""What was removed as a copy, with the kept document that justifies it, and the largest groups."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import ValidationError

from pipeline.config import DeduplicateConfig
from pipeline.dedup.banding import s_curve
from pipeline.report.audit import select, tables
from pipeline.report.examples import NAME_LIMIT, Nearest, Order, example, positions
from pipeline.report.model import Duplicates, Example, Group, Histogram, Kind, Pair, Search
from pipeline.report.visible import cut
from schemas.manifest import FileEntry

JACCARD_BINS = 50
GROUP_BUCKETS = 1 << 20
"""Copies are counted by the first five hex digits of the kept doc_id; only the fullest buckets are counted by doc_id.
Exact for the groups shown unless over GROUP_CANDIDATES buckets are fuller than the largest group."""
GROUP_CANDIDATES = 4096
LARGEST_GROUPS = 10
KINDS: tuple[Kind, ...] = ("near", "contained", "exact", "protected")
SHOWN_PAIRS: dict[Kind, int] = {"near": 6, "contained": 3, "exact": 3, "protected": 3}
GROUPED = ("exact", "near", "contained")
"""Kinds of duplicates of a kept document."""
FACTS = "stages/deduplicate/done.json"


@dataclass(frozen=True)
class _Removed:
    kind: Kind
    jaccard: float | None
    removed: Example
    kept_id: str
    kept_record: str


class DuplicateScan:
    """Adds up audit tables; memory does not grow with the number of duplicates."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.jaccard = np.zeros(JACCARD_BINS, np.int64)
        self.shown = {kind: Nearest(SHOWN_PAIRS[kind]) for kind in KINDS}
        """Of near-duplicates those of the least Jaccard first: the removals that rest on the least resemblance."""
        self.buckets = np.zeros(GROUP_BUCKETS, np.int64)

    def add(self, table: pa.Table, order: Order) -> None:
        kind = positions(table["kind"], KINDS)
        rows = np.flatnonzero(kind >= 0)
        kind = kind[rows]
        jaccard = table["jaccard"].to_numpy()[rows].astype(np.float64)
        near = np.flatnonzero((kind == KINDS.index("near")) & np.isfinite(jaccard))
        self.counts.update({name: int((kind == number).sum()) for number, name in enumerate(KINDS)})
        # 0.8 * 50 is 40.00000000000001 and 0.58 * 50 is 28.999999999999996: both belong to the bin they open.
        bins = np.clip((jaccard[near] * JACCARD_BINS + 1e-9).astype(np.int64), 0, JACCARD_BINS - 1)
        self.jaccard += np.bincount(bins, minlength=JACCARD_BINS)
        grouped = table["duplicate_of"].take(rows[kind != KINDS.index("protected")])
        self.buckets += np.bincount(_buckets(grouped), minlength=GROUP_BUCKETS)
        for number, (name, best) in enumerate(self.shown.items()):
            some = near if name == "near" else np.flatnonzero(kind == number)
            distance = jaccard[some] if name == "near" else np.zeros(len(some))
            for position in order.nearest(rows[some], distance, best.count).tolist():
                row = int(rows[some[position]])
                best.offer(table, row, distance[position], partial(_removed, table, row, name))

    def summary(
        self, directory: Path, files: Sequence[FileEntry], config: DeduplicateConfig, records: int
    ) -> Duplicates:
        """Looks at the audit twice more: for the largest groups, and for the kept side of what is told.

        `records`: of the whole input.
        """
        groups = _largest(directory, files, self.buckets)
        bands, rows = config.banding
        pairs: list[_Removed] = [pair for best in self.shown.values() for pair in best.values()]
        kept = _kept(directory, files, {pair.kept_id for pair in pairs} | {doc_id for doc_id, _ in groups})
        return Duplicates(
            **{name: self.counts[name] for name in KINDS},
            threshold=config.threshold,
            bands=bands,
            rows=rows,
            s_curve=tuple((float(x), float(y)) for x, y in s_curve(bands, rows)),
            jaccard=Histogram(
                edges=tuple(k / JACCARD_BINS for k in range(JACCARD_BINS + 1)), counts=tuple(self.jaccard.tolist())
            ),
            groups=tuple(
                Group(
                    doc_id=doc_id,
                    removed=size,
                    share=(size + 1) / max(records, 1),
                    record=found.record,
                    excerpt=found.excerpt,
                )
                for doc_id, size in groups
                for found in (kept.get(doc_id) or _unknown(doc_id),)
            ),
            pairs=tuple(
                Pair(
                    kind=pair.kind,
                    jaccard=pair.jaccard,
                    removed=pair.removed,
                    kept=(kept.get(pair.kept_id) or _unknown(pair.kept_id, pair.kept_record)) if pair.kept_id else None,
                )
                for pair in pairs
            ),
            search=_search(directory),
        )


def _search(directory: Path) -> Search | None:
    """The stage's own counts describe the way, not the corpus: where they cannot be read they are left out."""
    try:
        return Search.model_validate(orjson.loads((directory / FACTS).read_bytes())["facts"]["duplicates"])
    except (OSError, ValueError, KeyError, TypeError, ValidationError):
        return None


_TWIN = ("duplicate_of", "duplicate_record")


def _removed(table: pa.Table, row: int, kind: Kind) -> _Removed:
    jaccard = table["jaccard"][row].as_py()
    return _Removed(
        kind=kind,
        jaccard=jaccard,
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
    grouped = pa.array(GROUPED)
    for table in tables(directory, files, ("kind", "duplicate_of")):
        copies = table["duplicate_of"].filter(pc.is_in(table["kind"], value_set=grouped)).drop_null()
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
    elsewhere = pa.array(sorted(doc_ids - found.keys()), pa.string())
    if len(elsewhere):
        # Kept documents of earlier runs: their records are named by the duplicates alone.
        for table in select(
            directory, files, ("duplicate_of",), lambda batch: pc.is_in(batch["duplicate_of"], value_set=elsewhere)
        ):
            for doc_id, record in zip(*(table[name].to_pylist() for name in _TWIN), strict=True):
                found.setdefault(doc_id, _unknown(doc_id, record or ""))
    return found
