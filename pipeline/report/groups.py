"""The largest groups of duplicates, and the kept documents that duplicates point at."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.report.examples import NAME_LIMIT, example
from pipeline.report.model import Example
from pipeline.report.rows import KEPT, Rows, add_rows, fetch, identities
from pipeline.report.visible import cut
from schemas.manifest import FileEntry

GROUP_BUCKETS = 1 << 20
"""Copies are counted by the first five hex digits of the kept doc_id; only the fullest buckets are counted by doc_id.
Exact for the groups shown unless over GROUP_CANDIDATES buckets are fuller than the largest group."""
GROUP_CANDIDATES = 4096
LARGEST_GROUPS = 10
GROUPED = ("exact", "near", "contained")
"""Kinds of duplicates of a kept document."""


def unknown(doc_id: str, record: str = "") -> Example:
    """A document of which nothing else is known."""
    return Example(record=cut(record, NAME_LIMIT), doc_id=cut(doc_id, NAME_LIMIT), source="")


def buckets(doc_ids: pa.Array) -> npt.NDArray[np.int64]:
    """Bucket of each id."""
    high, _ = identities(doc_ids)
    return (high >> np.uint64(44)).astype(np.int64)


class _Sizes:
    """Copies by the document that was kept, of the buckets that are looked at."""

    def __init__(self, full: npt.NDArray[np.bool_]) -> None:
        self.full = full
        self.sizes: Counter[str] = Counter()

    def add(self, rows: Rows) -> None:
        copies = rows.column("duplicate_of").filter(
            pc.is_in(rows.column("kind"), value_set=pa.array(GROUPED, pa.string()))
        )
        copies = copies.drop_null()
        copies = copies.filter(pa.array(self.full[buckets(copies)]))
        for item in pc.value_counts(copies).to_pylist():
            self.sizes[item["values"]] += item["counts"]

    def merge(self, other: "_Sizes") -> None:
        self.sizes.update(other.sizes)


def largest_groups(root: Path, files: Sequence[FileEntry], sizes: npt.NDArray[np.int64]) -> list[tuple[str, int]]:
    """(doc_id of the kept document, its copies), most copies first. sizes: copies in each bucket."""
    filled = np.flatnonzero(sizes)
    if not len(filled):
        return []
    full = np.zeros(len(sizes), bool)
    full[filled[np.lexsort((filled, -sizes[filled]))[:GROUP_CANDIDATES]]] = True
    found = add_rows(root, files, ("kind", "duplicate_of"), lambda: _Sizes(full), _Sizes.add, _Sizes.merge)
    return sorted(found.sizes.items(), key=lambda item: (-item[1], item[0]))[:LARGEST_GROUPS]


class _Places:
    """Where the kept documents stand, and a copy of each of them."""

    def __init__(self, wanted: pa.Array) -> None:
        self.wanted = wanted
        self.high = np.unique(identities(wanted)[0])
        self.kept: dict[str, int] = {}
        self.copies: dict[str, int] = {}

    def add(self, rows: Rows) -> None:
        self._find(rows, "doc_id", rows.verdict == KEPT, self.kept)
        copies = rows.column("duplicate_of").is_valid().to_numpy(zero_copy_only=False)
        self._find(rows, "duplicate_of", copies, self.copies)

    def _find(self, rows: Rows, name: str, mask: npt.NDArray[np.bool_], into: dict[str, int]) -> None:
        column = rows.column(name)
        high, _ = identities(column)
        near = np.flatnonzero(mask & np.isin(high, self.high))
        near = near[np.unique(high[near], return_index=True)[1]]  # a document may have millions of copies
        for row, doc_id in zip(near.tolist(), column.take(pa.array(near)).to_pylist(), strict=True):
            into[doc_id] = min(into.get(doc_id, rows.first + row), rows.first + row)

    def merge(self, other: "_Places") -> None:
        for mine, theirs in ((self.kept, other.kept), (self.copies, other.copies)):
            for doc_id, place in theirs.items():
                mine[doc_id] = min(mine.get(doc_id, place), place)


def kept_documents(root: Path, files: Sequence[FileEntry], doc_ids: set[str]) -> dict[str, Example]:
    """The kept documents of these ids; those of earlier runs are known from the records of their duplicates alone."""
    if not doc_ids:
        return {}
    wanted = pa.array(sorted(doc_ids), pa.string())
    found = add_rows(
        root, files, ("doc_id", "verdict", "duplicate_of"), lambda: _Places(wanted), _Places.add, _Places.merge
    )
    here = {doc_id: place for doc_id, place in found.kept.items() if doc_id in doc_ids}
    elsewhere = {doc_id: place for doc_id, place in found.copies.items() if doc_id in doc_ids - here.keys()}
    rows = fetch(
        root,
        files,
        (*here.values(), *elsewhere.values()),
        ("record", "doc_id", "source", "detail", "excerpt", "duplicate_record"),
    )
    kept = {doc_id: example(rows[place]) for doc_id, place in here.items()}
    return kept | {
        doc_id: unknown(doc_id, rows[place]["duplicate_record"] or "") for doc_id, place in elsewhere.items()
    }
