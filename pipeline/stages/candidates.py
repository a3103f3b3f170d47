"""Exact copies, then candidate pairs of what is left: signatures -> digests -> copies -> bands -> pairs.

Hashes and refs alone are exchanged. Bytes per document: 32 for its digest; for a survivor 24 a band (480 with 20), so
10,000,000 documents are 320 MB and 4.8 GB of part files. A worker holds one of `partitions` of them at a time, about
three times over while it sorts: 1 GB at 10,000,000 documents and 16 partitions; raise `partitions` for more documents.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from pipeline.config import DeduplicateConfig
from pipeline.dedup.bands import band_keys
from pipeline.dedup.candidates import candidate_pairs
from pipeline.dedup.exact import digest_words, exact_copies
from pipeline.dedup.order import order_keys, ranks
from pipeline.dedup.refs import find, parts_of, refs_of_part, rows_of
from pipeline.io import filesystem
from pipeline.stages.documents import CUTTING, FIRST_EARLIER, emptied_rows, locate, signature_sources, signature_table
from pipeline.stages.exchange import read_cut, spread, write_cut
from pipeline.stages.parts import PartWriter

BASE = "stages/deduplicate"

DIGESTS = pa.schema([(name, pa.uint64()) for name in ("high", "low", "order", "ref")])
COPIES = pa.schema([("ref", pa.uint64()), ("survivor", pa.uint64())])
BANDS = pa.schema([(name, pa.uint64()) for name in ("key", "order", "ref")])
PAIRS = pa.schema([("left", pa.uint64()), ("right", pa.uint64())])
WANTED = pa.schema([("ref", pa.uint64())])
OVERFULL = pa.schema([("key", pa.uint64()), ("ref", pa.uint64())])


def path_of(kind: str, index: int) -> str:
    """Part file of one of the kinds that these steps exchange: digests, copies, bands, pairs, ..."""
    return f"{BASE}/{kind}/{index:05d}.arrow"


def paths_of(kind: str, indices: list[int] | range) -> list[str]:
    return [path_of(kind, index) for index in indices]


def read_parts(output: str, path: str) -> list[int]:
    """The numbers of all parts, ascending: a file of its own, so that no task has to carry them."""
    return list(orjson.loads(filesystem.read_bytes(filesystem.join(output, path))))


def _values(column: pa.FixedSizeBinaryArray) -> np.ndarray:
    """uint32 [rows, permutations], without a copy."""
    width = column.type.byte_width // 4
    if not len(column) or not width:
        return np.empty((len(column), width), np.uint32)
    values = np.frombuffer(column.buffers()[1], np.uint32, len(column) * width, column.offset * width * 4)
    return values.reshape(-1, width)


def signature_values(signed: pa.Table) -> np.ndarray:
    """uint32 [rows, permutations] of a signature table."""
    column = signed["signature"].combine_chunks()
    if isinstance(column, pa.ChunkedArray):
        column = column.chunk(0) if column.num_chunks else pa.array([], column.type)
    return _values(column)


def signature_rows(output: str, part: int, rows: np.ndarray) -> np.ndarray:
    """uint32 [len(rows), permutations] of a part's documents. No others are read: rounds over scattered documents ask
    for a few of every part, again and again."""
    table, take = signature_sources(output, part)
    wanted, column = take[rows], table["signature"]
    out = np.empty((len(rows), column.type.byte_width // 4), np.uint32)
    start = 0
    for chunk in column.chunks:
        inside = np.flatnonzero((wanted >= start) & (wanted < start + len(chunk)))
        out[inside] = _values(chunk)[wanted[inside] - start]
        start += len(chunk)
    return out


def order_of(signed: pa.Table, part: int) -> np.ndarray:
    """uint64 [rows]: see `order_keys`. Documents of earlier runs come before all others."""
    priority, quality = signed["priority"].to_numpy(), signed["quality"].to_numpy()
    keys = order_keys(priority, quality, signed["doc_id"].combine_chunks())
    return keys & np.uint64((1 << 40) - 1) if part >= FIRST_EARLIER else keys


def filled_rows(output: str, part: int, rows: int) -> np.ndarray:
    """int64: a part's documents but those that boilerplate was all of, which are no copies of one another; of a part of
    an earlier run those that it kept."""
    gone = emptied_rows(output, part, CUTTING if part >= FIRST_EARLIER else CUTTING[:1])
    if part >= FIRST_EARLIER:
        directory, number = locate(output, part)
        decisions = filesystem.open_arrow(filesystem.join(directory, path_of("decisions", number))).read_all()
        gone = np.union1d(gone, decisions["row"].to_numpy().astype(np.int64))
    return np.setdiff1d(np.arange(rows), gone)


def is_earlier(refs: np.ndarray) -> np.ndarray:
    """bool [n]: refs of documents of earlier runs, which stay whatever the new ones are."""
    return parts_of(refs) >= FIRST_EARLIER


@dataclass(frozen=True)
class MakeDigests:
    """A part's digests, cut by hash partition."""

    output: str
    partitions: int

    def __call__(self, spec: dict[str, Any], part: PartWriter) -> dict[str, Any]:
        signed = signature_table(self.output, part.index)
        high, low = digest_words(signed["digest"].combine_chunks())
        rows = filled_rows(self.output, part.index, signed.num_rows)
        columns = [
            high[rows],
            low[rows],
            order_of(signed, part.index)[rows],
            refs_of_part(part.index, signed.num_rows)[rows],
        ]
        place = (columns[0] % np.uint64(self.partitions)).astype(np.int64)
        write_cut(part, path_of("digests", part.index), DIGESTS, columns, place, self.partitions)
        return {}


@dataclass(frozen=True)
class MakeCopies:
    """One partition's exact copies: all but the first of each digest, with that first; cut by their part."""

    output: str
    parts: str
    """Where the numbers of all parts stand; see `read_parts`."""

    def __call__(self, spec: dict[str, Any], part: PartWriter) -> dict[str, Any]:
        parts = read_parts(self.output, self.parts)
        high, low, order, ref = read_cut(self.output, paths_of("digests", parts), part.index, DIGESTS)
        survivor = exact_copies((high, low), ranks(order, ref))
        copies = np.flatnonzero(survivor != np.arange(len(ref)))
        copies = copies[np.argsort(ref[copies])]
        place = np.searchsorted(parts, parts_of(ref[copies]))
        columns = [ref[copies], ref[survivor[copies]]]
        write_cut(part, path_of("copies", part.index), COPIES, columns, place, len(parts))
        return {"copies": len(copies)}


@dataclass(frozen=True)
class MakeBands:
    """Band keys of a part's documents that are no copies and long enough, cut by hash partition."""

    output: str
    config: DeduplicateConfig

    def __call__(self, spec: dict[str, Any], part: PartWriter) -> dict[str, Any]:
        partitions = self.config.partitions
        copies, _ = read_cut(self.output, paths_of("copies", range(partitions)), spec["place"], COPIES)
        signed = signature_table(self.output, part.index)
        ref = refs_of_part(part.index, signed.num_rows)
        first = np.zeros(len(ref), np.bool_)
        first[filled_rows(self.output, part.index, len(ref))] = True
        first[rows_of(copies)] = False
        enough = signed["shingles"].to_numpy() >= self.config.min_shingles
        chosen = np.flatnonzero(first & enough)
        bands, rows = self.config.banding
        keys = band_keys(signature_values(signed)[chosen], bands, rows).ravel()
        columns = [keys, np.repeat(order_of(signed, part.index)[chosen], bands), np.repeat(ref[chosen], bands)]
        place = (keys % np.uint64(partitions)).astype(np.int64)
        write_cut(part, path_of("bands", part.index), BANDS, columns, place, partitions)
        return {"compared": len(chosen), "short": int((first & ~enough).sum())}


def _new_buckets(key: np.ndarray, order: np.ndarray, ref: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The rows less the buckets that hold documents of earlier runs alone."""
    old = is_earlier(ref)
    if not old.any():
        return key, order, ref
    wanted = ~old | (find(np.unique(key[~old]), key) >= 0)
    return key[wanted], order[wanted], ref[wanted]


@dataclass(frozen=True)
class MakePairs:
    """One partition's candidate pairs, cut by their left end; the refs in them, cut by part; the overfull buckets."""

    output: str
    parts: str
    config: DeduplicateConfig

    def __call__(self, spec: dict[str, Any], part: PartWriter) -> dict[str, Any]:
        parts = read_parts(self.output, self.parts)
        key, order, ref = _new_buckets(*read_cut(self.output, paths_of("bands", parts), part.index, BANDS))
        left, right, report, overfull = candidate_pairs(key, order, ref, self.config.bucket_cap)
        # Documents of earlier runs stay, whichever others they resemble.
        new = ~is_earlier(right)
        left, right = left[new], right[new]
        partitions = self.config.partitions
        write_cut(part, path_of("pairs", part.index), PAIRS, [left, right], spread(left, partitions), partitions)
        # Members of overfull buckets may be compared later; all but earlier runs' are in a pair already.
        wanted = np.unique(np.concatenate([left, right, overfull.ref]))
        place = np.searchsorted(parts, parts_of(wanted))
        write_cut(part, path_of("wanted", part.index), WANTED, [wanted], place, len(parts))
        with part.sink(path_of("overfull", part.index), OVERFULL) as sink:
            sink.write(pa.table([overfull.key, overfull.ref], schema=OVERFULL))
        facts = {"buckets": report.buckets, "overfull": report.capped_buckets, "largest": report.largest}
        return {**facts, "pairs": len(left), "bytes": 24 * len(key)}
