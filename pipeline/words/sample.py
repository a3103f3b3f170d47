"""The text a vocabulary is learnt from: so many bytes of each (source, language), the documents of least hash first.

Bytes decide, not documents: a group's documents stand in the order of their hashes and are taken until the group's
quota is full; the last one gives its first bytes alone. What is compared are hashes and sizes, never positions.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.words.split import doc_id_hash

SALT = "vocabulary"
DOCUMENT_BYTES = 1 << 20
"""A document gives no more than its first MiB: one giant must not be the vocabulary."""

CANDIDATES = pa.schema(
    [
        pa.field("source", pa.string(), nullable=False),
        pa.field("language", pa.string(), nullable=False),
        pa.field("hash", pa.uint64(), nullable=False),
        pa.field("bytes", pa.uint32(), nullable=False),
    ]
)
"""Documents that may be in the sample; `bytes` is what the document would give."""

SAMPLE = pa.schema([pa.field("language", pa.string(), nullable=False), pa.field("text", pa.string(), nullable=False)])

Group = tuple[str, str]
"""(source, language)."""


@dataclass(frozen=True)
class Limit:
    """Where a group's sample ends: documents with a smaller hash are whole in it."""

    hash: int
    bytes: int
    """What the document with this very hash gives."""


def candidates(batch: pa.RecordBatch) -> pa.Table:
    """CANDIDATES of a batch of schemas.arrow.DOCUMENTS, in its order."""
    sizes = np.minimum(pc.binary_length(batch["text"]).to_numpy(zero_copy_only=False), DOCUMENT_BYTES)
    hashes = doc_id_hash(batch["doc_id"], SALT)
    columns = [batch["source"], batch["language"], pa.array(hashes), pa.array(sizes.astype(np.uint32))]
    return pa.table(columns, schema=CANDIDATES)


def group_bytes(table: pa.Table) -> dict[Group, int]:
    """Bytes of each group of CANDIDATES, by group."""
    sums = table.group_by(["source", "language"], use_threads=False).aggregate([("bytes", "sum")])
    rows = zip(sums["source"].to_pylist(), sums["language"].to_pylist(), sums["bytes_sum"].to_pylist(), strict=True)
    return dict(sorted(((source, language), int(size)) for source, language, size in rows))


def smallest(table: pa.Table, budget: int) -> pa.Table:
    """Of each group the documents of least hash until they hold `budget` bytes, sorted by group and hash.

    Associative and commutative: a document is left out only where those before it fill the budget already.
    """
    order = [(name, "ascending") for name in ("source", "language", "hash", "bytes")]
    ordered = table.combine_chunks().sort_by(order)
    return ordered.filter(pa.array(_before(ordered) < budget))


def _before(ordered: pa.Table) -> npt.NDArray[np.int64]:
    """Bytes of the group's rows before each row [rows]."""
    sizes = ordered["bytes"].to_numpy().astype(np.int64)
    before = np.cumsum(sizes) - sizes
    return before - np.repeat(before[_starts(ordered)], np.diff(np.append(_starts(ordered), len(sizes))))


def _starts(ordered: pa.Table) -> npt.NDArray[np.int64]:
    """First row of each group."""
    if not ordered.num_rows:
        return np.empty(0, np.int64)
    new = np.zeros(ordered.num_rows, np.bool_)
    new[0] = True
    for name in ("source", "language"):
        codes = ordered[name].combine_chunks().dictionary_encode().indices.to_numpy()
        new[1:] |= codes[1:] != codes[:-1]
    return np.flatnonzero(new)


def quotas(
    sizes: Mapping[Group, int], budget: int, language_temperature: float = 1.0, source_temperature: float = 1.0
) -> dict[Group, int]:
    """Bytes each group gives: all where everything fits, else `budget` shared out.

    A language's share goes as p^language_temperature (p: its share of the bytes; Lample and Conneau 2019, section
    3.1), a source's share of its language as q^source_temperature: 1 leaves the shares as they are, 0 makes them
    equal. A group with less than its share gives everything, and the others share what it leaves.
    """
    if sum(sizes.values()) <= budget:
        return dict(sizes)
    weights = _weights(sizes, language_temperature, source_temperature)
    given = dict.fromkeys(sizes, 0)
    left, open_groups = budget, sorted(group for group in sizes if sizes[group])
    while open_groups:
        scale = left / sum(weights[group] for group in open_groups)
        small = [group for group in open_groups if sizes[group] <= weights[group] * scale]
        if not small:
            given.update({group: int(weights[group] * scale) for group in open_groups})
            break
        for group in small:
            given[group] = sizes[group]
            left -= sizes[group]
        open_groups = [group for group in open_groups if group not in small]
    return given


def _weights(sizes: Mapping[Group, int], by_language: float, by_source: float) -> dict[Group, float]:
    total = sum(sizes.values())
    languages: dict[str, int] = {}
    for (_, language), size in sorted(sizes.items()):
        languages[language] = languages.get(language, 0) + size
    shares = {
        (source, language): (size / languages[language]) ** by_source if size else 0.0
        for (source, language), size in sorted(sizes.items())
    }
    inside: dict[str, float] = {}
    for (_, language), share in shares.items():
        inside[language] = inside.get(language, 0.0) + share
    return {
        group: share / inside[group[1]] * (languages[group[1]] / total) ** by_language if share else 0.0
        for group, share in shares.items()
    }


def limits(merged: pa.Table, given: Mapping[Group, int]) -> dict[Group, Limit]:
    """Where each group's sample ends, from `smallest` of all documents; groups that give nothing are left out."""
    ordered = smallest(merged, 1 << 62)
    before = _before(ordered)
    starts = _starts(ordered)
    ends = np.append(starts, ordered.num_rows)[1:]
    hashes, sizes = ordered["hash"].to_numpy(), ordered["bytes"].to_numpy().astype(np.int64)
    found = {}
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        group = (ordered["source"][start].as_py(), ordered["language"][start].as_py())
        last = start + int(np.searchsorted(before[start:end], given.get(group, 0))) - 1
        if last >= start:
            found[group] = Limit(int(hashes[last]), min(int(sizes[last]), given[group] - int(before[last])))
    return found


def sampled(batch: pa.RecordBatch, ends: Mapping[Group, Limit] | None) -> tuple[pa.Table, dict[Group, int]]:
    """SAMPLE rows of a batch of DOCUMENTS, and the bytes of each group; no `ends`: every document gives its share."""
    none, everything = Limit(-1, 0), Limit(1 << 64, 0)
    hashes = doc_id_hash(batch["doc_id"], SALT).tolist()
    groups = zip(batch["source"].to_pylist(), batch["language"].to_pylist(), strict=True)
    rows: list[tuple[str, str]] = []
    given: dict[Group, int] = {}
    for row, (group, value) in enumerate(zip(groups, hashes, strict=True)):
        limit = everything if ends is None else ends.get(group, none)
        if value <= limit.hash:
            text = _head(batch["text"][row].as_py(), DOCUMENT_BYTES if value < limit.hash else limit.bytes)
            rows.append((group[1], text))
            given[group] = given.get(group, 0) + len(text.encode())
    return pa.table([[row[0] for row in rows], [row[1] for row in rows]], schema=SAMPLE), given


def _head(text: str, size: int) -> str:
    """The first `size` bytes of UTF-8, less a character that is cut."""
    if len(text) * 4 <= size:
        return text
    return text[:size].encode()[:size].decode("utf-8", "ignore")


def to_json(ends: Mapping[Group, Limit]) -> list[list[Any]]:
    return [[*group, limit.hash, limit.bytes] for group, limit in sorted(ends.items())]


def from_json(rows: Iterable[list[Any]]) -> dict[Group, Limit]:
    return {(source, language): Limit(value, size) for source, language, value, size in rows}
