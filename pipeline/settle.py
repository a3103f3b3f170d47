"""The single-node steps between jobs: what the driver decides from ids, hashes and counts. No text passes here."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.config import WordsConfig
from pipeline.dedup.candidates import unique_pairs
from pipeline.dedup.decide import Candidates, Drops, join_exact, near_drops, parts_of, rows_of
from pipeline.dedup.shingles import Shingles
from pipeline.io import filesystem
from pipeline.io.sink import ArrowSink
from pipeline.stages import count, deduplicate, encode
from pipeline.stages.clean import signatures_path
from pipeline.stages.parts import digest_of
from pipeline.stages.tables import read_partitions
from pipeline.stages.vocabulary import load_tokenizer
from pipeline.words.frequency import token_table, word_table
from pipeline.words.rare import rare_range, select_rare
from schemas.arrow import TOKEN_FREQUENCY, WORD_FREQUENCY
from schemas.manifest import FileEntry

WANTED = pa.schema([pa.field("ref", pa.uint64(), nullable=False)])


@dataclass(frozen=True)
class Found:
    """What the candidates job found; all refs are uint64."""

    copies: np.ndarray
    survivors: np.ndarray
    left: np.ndarray
    right: np.ndarray


def _write(output: str, path: str, table: pa.Table, schema: pa.Schema) -> FileEntry:
    sink = ArrowSink(filesystem.join(output, path), schema)
    sink.write(table)
    sink.close()
    return sink.entry(path)


def read_candidates(output: str) -> Found:
    """Exact copies and the distinct candidate pairs of all partitions."""
    copies = read_partitions(output, f"stages/{deduplicate.STAGE}/copies", deduplicate.COPIES)
    pairs = read_partitions(output, f"stages/{deduplicate.STAGE}/pairs", deduplicate.PAIRS)
    left, right = unique_pairs(pairs["left"].to_numpy(), pairs["right"].to_numpy())
    return Found(copies["ref"].to_numpy(), copies["survivor"].to_numpy(), left, right)


def bucket_report(output: str) -> dict[str, int]:
    """What the buckets of all partitions looked like: their number, those over the cap, the largest."""
    base = filesystem.join(output, f"stages/{deduplicate.STAGE}/pairs")
    total = {"buckets": 0, "capped": 0, "largest": 0}
    for name in filesystem.listing(base):
        metadata = filesystem.open_arrow(filesystem.join(base, name)).schema.metadata
        for key in ("buckets", "capped"):
            total[key] += int(metadata[key.encode()])
        total["largest"] = max(total["largest"], int(metadata[b"largest"]))
    return total


def write_wanted(output: str, found: Found) -> list[tuple[int, str, str]]:
    """Stores, per part, the refs whose shingle sets are needed; returns (part, path, digest) of each such part."""
    refs = np.unique(np.concatenate([found.left, found.right]))
    asked = []
    for part in np.unique(parts_of(refs)).tolist():
        mine = refs[parts_of(refs) == part]
        path = f"stages/{deduplicate.STAGE}/wanted/{part:05d}.arrow"
        entry = _write(output, path, pa.table([mine], schema=WANTED), WANTED)
        asked.append((part, path, digest_of(entry.sha256)))
    return asked


class _Signed:
    """Columns of the signature parts, opened once each."""

    def __init__(self, output: str) -> None:
        self._output = output
        self._parts: dict[int, pa.Table] = {}

    def take(self, refs: np.ndarray, column: str) -> pa.Array:
        """The column's values for refs, in their order."""
        chunks, order = [], []
        part, row = parts_of(refs), rows_of(refs)
        for number in np.unique(part).tolist():
            if number not in self._parts:
                path = filesystem.join(self._output, signatures_path(number))
                names = ["doc_id", "record", "priority"]
                self._parts[number] = filesystem.open_arrow(path).read_all().select(names)
            here = np.flatnonzero(part == number)
            chunks.append(self._parts[number][column].combine_chunks().take(pa.array(row[here])))
            order.append(here)
        if not chunks:
            return pa.array([], pa.string())
        place = np.empty(len(refs), np.int64)
        place[np.concatenate(order)] = np.arange(len(refs))
        return pa.concat_arrays(chunks).take(pa.array(place))


def _load_shingles(output: str, parts: list[int]) -> tuple[np.ndarray, Shingles]:
    refs, values, counts = [np.empty(0, np.uint64)], [np.empty(0, np.uint64)], [np.empty(0, np.int64)]
    for part in parts:
        reader = filesystem.open_arrow(filesystem.join(output, deduplicate.shingles_path(part)))
        for number in range(reader.num_record_batches):
            batch = reader.get_batch(number)
            refs.append(batch["ref"].to_numpy())
            values.append(batch["values"].flatten().to_numpy())
            counts.append(np.diff(batch["values"].offsets.to_numpy()).astype(np.int64))
    offsets = np.concatenate([[0], np.cumsum(np.concatenate(counts))]).astype(np.int64)
    return np.concatenate(refs), Shingles(np.concatenate(values), offsets)


def decide(output: str, found: Found, parts: list[int], threshold: float) -> Drops:
    """Exact Jaccard of every candidate pair, greedy resolution, exact copies joined."""
    refs, shingles = _load_shingles(output, parts)
    signed = _Signed(output)
    if len(refs):
        priority = signed.take(refs, "priority").to_numpy()
        candidates = Candidates(refs, priority, signed.take(refs, "doc_id"), shingles, found.left, found.right)
        near = near_drops(candidates, threshold)
    else:
        none = np.empty(0, np.uint64)
        near = Drops(none, none, np.empty(0), np.empty(0, np.bool_))
    return join_exact(found.copies, found.survivors, near)


def write_decisions(output: str, drops: Drops, parts: int) -> None:
    """One file per part: the rows that go, and the kept document that justifies each."""
    signed = _Signed(output)
    doc_id, record = signed.take(drops.twin, "doc_id"), signed.take(drops.twin, "record")
    part = parts_of(drops.ref)
    table = pa.table(
        [
            rows_of(drops.ref).astype(np.uint32),
            pa.array(np.where(drops.near, "near", "exact").tolist(), pa.string()),
            doc_id,
            record,
            drops.jaccard,
        ],
        schema=deduplicate.DECISIONS,
    )
    for number in range(parts):
        low, high = np.searchsorted(part, [number, number + 1])
        _write(output, deduplicate.decisions_path(number), table.slice(low, high - low), deduplicate.DECISIONS)


def write_frequencies(output: str, model: str, parts: int) -> tuple[tuple[FileEntry, ...], int]:
    """frequency/tokens.arrow and frequency/words.arrow; returns their entries and the number of running words."""
    tokenizer = load_tokenizer(model)
    totals = count.token_totals(output, parts, tokenizer.size)
    tokens = token_table(tokenizer, totals.count, totals.documents)
    words = word_table(read_partitions(output, count.WORDS, WORD_FREQUENCY))
    entries = (
        _write(output, "frequency/tokens.arrow", tokens, TOKEN_FREQUENCY),
        _write(output, "frequency/words.arrow", words, WORD_FREQUENCY),
    )
    return entries, int(pc.sum(words["count"]).as_py() or 0)


def write_rare(output: str, config: WordsConfig, total_words: int) -> tuple[int, int, int]:
    """Chooses the rare words; returns (low, high, how many)."""
    low, high = rare_range(config, total_words)
    words = filesystem.open_arrow(filesystem.join(output, "frequency/words.arrow")).read_all()
    rare = select_rare(words, low, high)
    _write(output, encode.RARE, rare, rare.schema)
    return low, high, rare.num_rows
