"""Exact overlap of candidate pairs: pairs -> shingle sets, read back from the documents -> verified pairs (edges).

A worker holds the sets of a chunk of pairs, `CHUNK` shingles (128 MB), or those of one pair where that is more, and 20
bytes for every candidate document.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.config import DeduplicateConfig
from pipeline.dedup.candidates import unique_pairs
from pipeline.dedup.jaccard import overlap_of_pairs
from pipeline.dedup.refs import find, rows_of, runs
from pipeline.dedup.shingle_rows import copy_rows
from pipeline.dedup.shingles import Shingles, shingle_sets
from pipeline.io import filesystem
from pipeline.stages.candidates import PAIRS, WANTED, order_of, path_of, paths_of, read_parts
from pipeline.stages.documents import document_batches, signature_table
from pipeline.stages.exchange import read_cut
from pipeline.stages.parts import PartWriter
from schemas.arrow import BATCH_ROWS

CHUNK = 1 << 24
"""Shingles of the pairs that are compared at a time."""

SHINGLES = pa.schema(
    [
        pa.field("ref", pa.uint64(), nullable=False),
        pa.field("order", pa.uint64(), nullable=False),
        pa.field("count", pa.uint32(), nullable=False),
        pa.field("values", pa.list_(pa.field("item", pa.uint64(), nullable=False)), nullable=False),
    ]
)
EDGES = pa.schema(
    [
        pa.field("left", pa.uint64(), nullable=False),
        pa.field("right", pa.uint64(), nullable=False),
        pa.field("left_order", pa.uint64(), nullable=False),
        pa.field("right_order", pa.uint64(), nullable=False),
        pa.field("jaccard", pa.float64(), nullable=False),
    ]
)
"""Pairs at or above the threshold; left is earlier in the total order (order, ref)."""


@dataclass(frozen=True)
class MakeShingles:
    """Shingle sets of a part's candidate documents, read back from its documents by row."""

    output: str
    config: DeduplicateConfig
    wanted: str = "wanted"
    """Kind of the files that name the refs."""
    kind: str = "shingles"

    def __call__(self, spec: dict[str, Any], part: PartWriter) -> dict[str, Any]:
        (wanted,) = read_cut(self.output, paths_of(self.wanted, range(self.config.partitions)), spec["place"], WANTED)
        wanted = np.unique(wanted)
        rows = rows_of(wanted)
        order = self._order(part.index)[rows] if len(rows) else np.empty(0, np.uint64)
        start = 0
        with part.sink(path_of(self.kind, part.index), SHINGLES, compressed=False) as sink:
            for batch in document_batches(self.output, part.index) if len(rows) else ():
                low, high = np.searchsorted(rows, [start, start + batch.num_rows])
                if low < high:
                    sets = shingle_sets(batch["text"].take(pa.array(rows[low:high] - start)), self.config)
                    values = pa.ListArray.from_arrays(pa.array(sets.offsets.astype(np.int32)), pa.array(sets.values))
                    columns = [wanted[low:high], order[low:high], sets.counts.astype(np.uint32)]
                    columns.append(values.cast(SHINGLES.field("values").type))
                    sink.write(pa.table(columns, schema=SHINGLES))
                start += batch.num_rows
        return {}

    def _order(self, part: int) -> np.ndarray:
        return order_of(signature_table(self.output, part), part)


class ShingleStore:
    """The shingle parts of all candidate documents: an index in memory, the sets where they lie."""

    def __init__(self, output: str, parts: list[int], kind: str = "shingles") -> None:
        self._readers = [filesystem.open_arrow(filesystem.join(output, path)) for path in paths_of(kind, parts)]
        columns: list[list[np.ndarray]] = [[], [], []]
        first = [0]
        for reader in self._readers:
            rows = 0
            for number in range(reader.num_record_batches):
                batch = reader.get_batch(number)
                for place, name in enumerate(("ref", "order", "count")):
                    columns[place].append(batch[name].to_numpy().copy())
                rows += batch.num_rows
            first.append(first[-1] + rows)
        self._first = np.array(first)
        kinds = (np.uint64, np.uint64, np.uint32)
        self.ref, self.order, self.count = (
            np.concatenate([np.empty(0, kind), *some]) for kind, some in zip(kinds, columns, strict=True)
        )
        """uint64, uint64, uint32 [documents], sorted by ref."""

    def find(self, refs: np.ndarray) -> np.ndarray:
        """int64 [n]: index of each ref. Raises LookupError for one without a set."""
        place = find(self.ref, refs)
        if len(place) and place.min() < 0:
            raise LookupError(f"no shingle set of ref {int(refs[np.argmin(place)])}: a part of another run?")
        return place

    def sets(self, index: np.ndarray) -> Shingles:
        """The sets of documents, given by ascending index."""
        offsets = np.concatenate([[0], np.cumsum(self.count[index], dtype=np.int64)])
        out = np.empty(offsets[-1], np.uint64)
        at = 0
        reader = np.searchsorted(self._first, index, side="right") - 1
        row = index - self._first[reader]
        batch = row // BATCH_ROWS
        # One number for each batch of each part, ascending as the index is.
        blocks = reader * (int(batch.max(initial=0)) + 1) + batch
        for _, start, end in runs(blocks):
            lists = self._readers[reader[start]].get_batch(int(batch[start]))["values"]
            rows = row[start:end] % BATCH_ROWS
            at = copy_rows(lists.values.to_numpy(), lists.offsets.to_numpy(), rows, out, at)
        return Shingles(out, offsets)


def _chunks(left: np.ndarray, right: np.ndarray, count: np.ndarray) -> Iterator[slice]:
    """Pairs (indices, sorted by left) in runs whose sets hold about CHUNK shingles."""
    new = np.r_[True, left[1:] != left[:-1]] if len(left) else np.empty(0, np.bool_)
    filled = np.cumsum(count[right].astype(np.int64) + np.where(new, count[left], 0))
    start = 0
    while start < len(left):
        before = int(filled[start - 1]) if start else 0
        end = max(int(np.searchsorted(filled, before + CHUNK, side="right")), start + 1)
        yield slice(start, end)
        start = end


def overlaps(store: ShingleStore, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """uint32 [pairs]: shingles in common of pairs of indices, sorted by left."""
    out = np.empty(len(left), np.uint32)
    for some in _chunks(left, right, store.count):
        index = np.unique(np.concatenate([left[some], right[some]]))
        sets = store.sets(index)
        out[some] = overlap_of_pairs(sets, np.searchsorted(index, left[some]), np.searchsorted(index, right[some]))
    return out


@dataclass(frozen=True)
class MakeEdges:
    """Verifies the pairs of one place; keeps those at or above the threshold."""

    output: str
    parts: str
    config: DeduplicateConfig

    def __call__(self, spec: dict[str, Any], part: PartWriter) -> dict[str, Any]:
        makers = paths_of(spec["pairs"], range(self.config.partitions))
        left, right = unique_pairs(*read_cut(self.output, makers, part.index, PAIRS))
        store = ShingleStore(self.output, read_parts(self.output, self.parts))
        i, j = store.find(left), store.find(right)
        common = overlaps(store, i, j).astype(np.int64)
        union = store.count[i].astype(np.int64) + store.count[j] - common
        jaccard = common / np.maximum(union, 1)
        good = jaccard >= self.config.threshold
        columns = [left[good], right[good], store.order[i[good]], store.order[j[good]], jaccard[good]]
        with part.sink(path_of(spec["edges"], part.index), EDGES, compressed=False) as sink:
            sink.write(pa.table(columns, schema=EDGES))
        return {"pairs": len(left), "edges": int(good.sum())}
