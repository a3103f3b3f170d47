"""Stage 2, deduplicate: signatures -> kept or dropped, with the kept twin that justifies each drop.

    signatures --digests by hash partition--> exact copies
               --bands by hash partition----> candidate pairs
    candidates --> shingle sets, read back from the documents --> exact Jaccard --> greedy resolution (this process)
    clean's audit + decisions --> audit shards

Only hashes and refs go through the shuffle.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa

from pipeline.config import DeduplicateConfig
from pipeline.dedup.bands import band_keys
from pipeline.dedup.candidates import candidate_pairs
from pipeline.dedup.decide import refs_of_part, rows_of
from pipeline.dedup.exact import digest_words, exact_copies
from pipeline.dedup.shingles import shingle_sets
from pipeline.doc_id import doc_id_words
from pipeline.io import filesystem
from pipeline.io.coder import KeyedTable
from pipeline.io.sink import ArrowSink
from pipeline.stages.clean import audit_path, documents_path, signatures_path
from pipeline.stages.parts import MakeParts, PartWriter, ReadTasks, Task
from pipeline.stages.tally import AuditTally
from schemas.arrow import AUDIT

STAGE = "deduplicate"
VERSION = 1

COPIES = pa.schema([pa.field("ref", pa.uint64()), pa.field("survivor", pa.uint64())])
PAIRS = pa.schema([pa.field("left", pa.uint64()), pa.field("right", pa.uint64())])
SHINGLES = pa.schema(
    [
        pa.field("ref", pa.uint64(), nullable=False),
        pa.field("values", pa.list_(pa.field("item", pa.uint64(), nullable=False)), nullable=False),
    ]
)
DECISIONS = pa.schema(
    [
        pa.field("row", pa.uint32(), nullable=False),
        pa.field("rule", pa.string(), nullable=False),
        pa.field("duplicate_of", pa.string(), nullable=False),
        pa.field("duplicate_record", pa.string(), nullable=False),
        pa.field("jaccard", pa.float64(), nullable=False),
    ]
)
"""One row per dropped document of a part, by row."""


def copies_path(partition: int) -> str:
    return f"stages/{STAGE}/copies/{partition:05d}.arrow"


def pairs_path(partition: int) -> str:
    return f"stages/{STAGE}/pairs/{partition:05d}.arrow"


def shingles_path(part: int) -> str:
    return f"stages/{STAGE}/shingles/{part:05d}.arrow"


def decisions_path(part: int) -> str:
    return f"stages/{STAGE}/decisions/{part:05d}.arrow"


def order_columns(signed: pa.Table, refs: np.ndarray) -> dict[str, np.ndarray]:
    """The total order of a part's documents as four sortable columns."""
    high, low = doc_id_words(signed["doc_id"].combine_chunks())
    return {"priority": signed["priority"].to_numpy(), "high": high, "low": low, "ref": refs}


def _partitioned(columns: dict[str, np.ndarray], by: np.ndarray, partitions: int) -> Iterator[tuple[int, pa.Table]]:
    place = (by % np.uint64(partitions)).astype(np.int64)
    order = np.argsort(place, kind="stable")
    bounds = np.searchsorted(place[order], np.arange(partitions + 1))
    table = pa.table({name: values[order] for name, values in columns.items()})
    for partition in range(partitions):
        if bounds[partition] < bounds[partition + 1]:
            yield partition, table.slice(bounds[partition], bounds[partition + 1] - bounds[partition])


class _SplitSignatures(beam.DoFn):
    """A part's signatures -> its digests and band keys, cut by hash partition."""

    def __init__(self, output: str, config: DeduplicateConfig) -> None:
        self._output = output
        self._config = config

    def process(self, encoded: bytes) -> Iterable[Any]:
        part = Task.parse(encoded).index
        signed = filesystem.open_arrow(filesystem.join(self._output, signatures_path(part))).read_all()
        if not signed.num_rows:
            return
        columns = order_columns(signed, refs_of_part(part, signed.num_rows))
        columns["digest_high"], columns["digest_low"] = digest_words(signed["digest"].combine_chunks())
        for keyed in _partitioned(columns, columns["digest_high"], self._config.partitions):
            yield beam.pvalue.TaggedOutput("digests", keyed)
        if self._config.near:
            yield from self._bands(signed, columns)

    def _bands(self, signed: pa.Table, columns: dict[str, np.ndarray]) -> Iterator[tuple[int, pa.Table]]:
        width = self._config.bands * self._config.rows
        signature = signed["signature"].combine_chunks()
        values = np.frombuffer(signature.buffers()[1], np.uint32, len(signature) * width, signature.offset * width * 4)
        long_enough = signed["shingles"].to_numpy() >= self._config.min_shingles
        keys = band_keys(values.reshape(-1, width)[long_enough], self._config.bands, self._config.rows)
        repeated = {name: np.repeat(column[long_enough], self._config.bands) for name, column in columns.items()}
        yield from _partitioned({"key": keys.ravel(), **repeated}, keys.ravel(), self._config.partitions)


def _order(rows: pa.Table) -> list[np.ndarray]:
    return [rows[name].to_numpy() for name in ("priority", "high", "low", "ref")]


def _digest(rows: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    return rows["digest_high"].to_numpy(), rows["digest_low"].to_numpy()


def _write(path: str, schema: pa.Schema, columns: list[np.ndarray]) -> None:
    sink = ArrowSink(path, schema)
    sink.write(pa.table(columns, schema=schema))
    sink.close()


def write_copies(keyed: tuple[int, Iterable[pa.Table]], output: str) -> None:
    """One partition's exact copies: every document that is not the first of its digest, with that first."""
    partition, tables = keyed
    rows = pa.concat_tables(tables)
    order = _order(rows)
    rank = np.empty(rows.num_rows, np.int64)
    rank[np.lexsort(order[::-1])] = np.arange(rows.num_rows)
    survivor = exact_copies(_digest(rows), rank)
    copies = np.flatnonzero(survivor != np.arange(rows.num_rows))
    ref = order[-1]
    by_ref = copies[np.argsort(ref[copies])]
    _write(filesystem.join(output, copies_path(partition)), COPIES, [ref[by_ref], ref[survivor[by_ref]]])


def write_pairs(keyed: tuple[int, Iterable[pa.Table]], output: str, cap: int) -> None:
    """One partition's candidate pairs."""
    partition, tables = keyed
    rows = pa.concat_tables(tables)
    ref = rows["ref"].to_numpy()
    left, right, report = candidate_pairs(rows["key"].to_numpy(), _order(rows), ref, _digest(rows), cap)
    found = PAIRS.with_metadata(
        {"buckets": str(report.buckets), "capped": str(report.capped_buckets), "largest": str(report.largest)}
    )
    _write(filesystem.join(output, pairs_path(partition)), found, [left, right])


def build_candidates(pipeline: beam.Pipeline, output: str, tasks: str, config: DeduplicateConfig) -> None:
    """The graph that finds exact copies and candidate pairs."""
    split = (
        pipeline
        | ReadTasks(tasks)
        | "Spread" >> beam.Reshuffle()
        | "Split signatures" >> beam.ParDo(_SplitSignatures(output, config)).with_outputs("digests", main="bands")
    )
    (
        split.digests
        | "Keyed digests" >> beam.Map(lambda keyed: keyed).with_output_types(KeyedTable)
        | "Group digests" >> beam.GroupByKey()
        | "Exact copies" >> beam.Map(write_copies, output)
    )
    (
        split.bands
        | "Keyed bands" >> beam.Map(lambda keyed: keyed).with_output_types(KeyedTable)
        | "Group bands" >> beam.GroupByKey()
        | "Candidate pairs" >> beam.Map(write_pairs, output, config.bucket_cap)
    )


@dataclass(frozen=True)
class MakeShingles:
    """Shingle sets of a part's candidate documents, read back from its documents by row."""

    output: str
    config: DeduplicateConfig

    def __call__(self, spec: dict[str, Any], part: PartWriter) -> dict[str, Any]:
        wanted = filesystem.open_arrow(filesystem.join(self.output, spec["wanted"])).read_all()["ref"].to_numpy()
        rows = rows_of(wanted)
        reader = filesystem.open_arrow(filesystem.join(self.output, documents_path(part.index)))
        start = 0
        with part.sink(shingles_path(part.index), SHINGLES, compressed=False) as sink:
            for number in range(reader.num_record_batches):
                batch = reader.get_batch(number)
                low, high = np.searchsorted(rows, [start, start + batch.num_rows])
                if low < high:
                    sets = shingle_sets(batch["text"].take(pa.array(rows[low:high] - start)), self.config)
                    values = pa.ListArray.from_arrays(pa.array(sets.offsets.astype(np.int32)), pa.array(sets.values))
                    sink.write(
                        pa.table(
                            [pa.array(wanted[low:high]), values.cast(SHINGLES.field("values").type)], schema=SHINGLES
                        )
                    )
                start += batch.num_rows
        return {}


@dataclass(frozen=True)
class MakeAudit:
    """Clean's audit rows with the verdicts of deduplication: the audit shard the user sees."""

    output: str

    def __call__(self, spec: dict[str, Any], part: PartWriter) -> dict[str, Any]:
        decisions = filesystem.open_arrow(filesystem.join(self.output, decisions_path(part.index))).read_all()
        reader = filesystem.open_arrow(filesystem.join(self.output, audit_path(part.index)))
        dropped = decisions["row"].to_numpy()
        tally = AuditTally()
        start = 0
        with part.sink(spec["path"], AUDIT, batch_bytes=8 << 20) as sink:
            for number in range(reader.num_record_batches):
                batch = reader.get_batch(number)
                passed = np.flatnonzero(np.asarray(batch["verdict"].to_pylist()) == "kept")
                low, high = np.searchsorted(dropped, [start, start + len(passed)])
                rows = _marked(batch, passed[dropped[low:high] - start], decisions.slice(low, high - low))
                sink.write(rows)
                tally.add(rows)
                start += len(passed)
        return tally.facts()


def _marked(batch: pa.RecordBatch, rows: np.ndarray, decisions: pa.Table) -> pa.RecordBatch:
    """Audit rows in which `rows` became duplicates as `decisions` (one each, in order) say."""
    if not len(rows):
        return batch
    columns = {
        name: batch[name].to_pylist() for name in ("verdict", "rule", "duplicate_of", "duplicate_record", "jaccard")
    }
    for row, decision in zip(rows.tolist(), decisions.to_pylist(), strict=True):
        columns["verdict"][row] = "duplicate"
        for name in ("rule", "duplicate_of", "duplicate_record", "jaccard"):
            columns[name][row] = decision[name]
    arrays = [
        pa.array(columns[field.name], field.type) if field.name in columns else batch[field.name] for field in AUDIT
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=AUDIT)


def build_shingles(pipeline: beam.Pipeline, output: str, tasks: str, config: DeduplicateConfig) -> None:
    """The graph that reads the candidates' shingle sets back."""
    pipeline | ReadTasks(tasks) | "Shingles" >> MakeParts(output, f"{STAGE}/shingles", MakeShingles(output, config))


def build_audit(pipeline: beam.Pipeline, output: str, tasks: str) -> None:
    """The graph that writes the audit shards."""
    pipeline | ReadTasks(tasks) | "Audit" >> MakeParts(output, f"{STAGE}/audit", MakeAudit(output))
