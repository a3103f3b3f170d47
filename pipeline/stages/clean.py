"""Stage 1, clean: input files -> documents, audit rows, signatures. Text moves once, file by file.

read -> main text -> repair -> language -> statistics -> judge -> cut lines -> protect -> mask personal data -> write
"""

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.config import PipelineConfig, PrivacyConfig
from pipeline.dedup.minhash import signatures
from pipeline.dedup.normalize import digests, normalise_batch
from pipeline.dedup.protect import RULE, load_index, protect
from pipeline.dedup.protect_index import ProtectIndex
from pipeline.dedup.quality import broken_rules
from pipeline.dedup.shingles import shingle_sets
from pipeline.io import filesystem
from pipeline.io.databases import check_databases
from pipeline.io.decompress import ReadError, unreadable
from pipeline.io.filesystem import is_url
from pipeline.io.inputs import InputFile, Span
from pipeline.io.read import read_files
from pipeline.io.split import split_file
from pipeline.records import with_columns
from pipeline.stages.layout import audit_path, documents_path, signatures_path
from pipeline.stages.parts import MakeParts, PartRecord, PartWriter, ReadTasks, Task, digest_of
from pipeline.stages.tally import AuditTally
from pipeline.text.html import main_text
from pipeline.text.judge import cut_lines, judge
from pipeline.text.language import identify
from pipeline.text.privacy import mask, mask_text
from pipeline.text.repair import repair
from pipeline.text.statistics import measure
from schemas.arrow import AUDIT, DOCUMENTS

STAGE = "clean"
VERSION = 4
"""Raised when this stage's output changes for the same input and config."""

EXCERPT = 240
"""Code points of the text that an audit row shows."""

BATCH_BYTES = 8 << 20
"""Text bytes that close an Arrow batch of documents early."""


def signature_schema(permutations: int) -> pa.Schema:
    """One row per document, in the order of the documents part: all that deduplication needs to know."""
    return pa.schema(
        [
            pa.field("doc_id", pa.string(), nullable=False),
            pa.field("record", pa.string(), nullable=False),
            pa.field("priority", pa.uint16(), nullable=False),
            pa.field("quality", pa.uint16(), nullable=False),
            pa.field("digest", pa.binary(16), nullable=False),
            pa.field("shingles", pa.uint32(), nullable=False),
            pa.field("signature", pa.binary(4 * permutations), nullable=False),
        ]
    )


def stage_config(config: PipelineConfig) -> dict[str, Any]:
    """What of the config decides this stage's bytes: `max_quarantined` decides only whether the run fails."""
    included = {"input", "html", "repair", "rules", "language", "privacy", "deduplicate"}
    if config.protect.files:
        included.add("protect")
    sections = config.model_dump(mode="json", include=included)
    sections["input"].pop("max_quarantined")
    return sections


def plan_units(files: list[InputFile], config: PipelineConfig, first: int = 0) -> list[Task]:
    """Groups files, in path order, into units of about `unit_bytes`; one unit makes one part. Big files of JSON lines
    are split into several units. `first`: number of the first part.

    A unit's key holds each file's size and time, so that a changed file is read again.
    """
    groups: list[list[InputFile]] = [[]]
    filled = 0
    check_databases(files, config.input)
    for file in itertools.chain.from_iterable(split_file(file, config.input) for file in files):
        if groups[-1] and filled + file.size > config.input.unit_bytes:
            groups.append([])
            filled = 0
        groups[-1].append(file)
        filled += max(file.size, 0)
    shared = digest_of(STAGE, VERSION, stage_config(config))
    tasks = []
    for index, group in enumerate(groups, first):
        spec = {"part": index, "files": [_packed(f) for f in group]}
        stamps = [None if f.problem else filesystem.stamp(f.path) for f in group]
        tasks.append(Task(index, spec, digest_of(shared, spec, stamps), sum(max(f.size, 0) for f in group)))
    return tasks


def fingerprint_of(config: PipelineConfig, records: Iterable[PartRecord]) -> str:
    """Of the finished stage: what was read is known by its finished parts alone."""
    digests = sorted(item for record in records for item in record.facts["input_digests"].items())
    return digest_of(STAGE, VERSION, stage_config(config), digests)


def clean_batch(batch: pa.RecordBatch, config: PipelineConfig, protected: ProtectIndex | None = None) -> pa.RecordBatch:
    """All that happens to a batch of records, in order. Rows are judged, never removed."""
    batch = main_text(batch, config.html)
    batch = repair(batch, config.repair)
    batch = identify(batch, config.language)
    batch = measure(batch)
    batch = judge(batch, config.rules)
    batch = cut_lines(batch, config.rules)
    batch = protect(batch, protected, config.protect)
    batch = mask(batch, config.privacy)
    return batch


def audit_rows(batch: pa.RecordBatch, privacy: PrivacyConfig) -> pa.RecordBatch:
    """The batch's audit rows, before deduplication. Excerpts of dropped texts are masked too: people read them."""
    rows = batch.num_rows
    quarantined = pc.is_valid(batch["quarantine"])
    text = batch["text"]
    missing = {
        "duplicate_of": pa.nulls(rows, pa.string()),
        "duplicate_record": pa.nulls(rows, pa.string()),
        "jaccard": pa.nulls(rows, pa.float64()),
        "kind": pc.if_else(pc.equal(batch["rule"], RULE), RULE, None),
        "chars_out": pc.cast(pc.utf8_length(text), pa.uint64()),
        "excerpt": pc.if_else(quarantined, None, _excerpts(batch, privacy)),
    }
    full = with_columns(batch, missing)
    arrays = [pc.cast(full[field.name], field.type) for field in AUDIT]
    return pa.RecordBatch.from_arrays(arrays, schema=AUDIT)


def _excerpts(batch: pa.RecordBatch, privacy: PrivacyConfig) -> pa.Array:
    # The text of kept rows is masked already. The cut comes first: a text of 10 MB is not searched for 240 characters.
    heads = pc.utf8_slice_codeunits(batch["text"], 0, EXCERPT).to_pylist()
    kept = pc.equal(batch["verdict"], "kept").to_pylist()
    masked = [head if good else mask_text(head, privacy)[0] for head, good in zip(heads, kept, strict=True)]
    return pa.array(masked, pa.string())


def signature_rows(
    documents: pa.RecordBatch, config: PipelineConfig, quality: np.ndarray | None = None
) -> pa.RecordBatch:
    """Digest of the normalised text and MinHash signature of each document. quality: uint16 [rows], broken rules; a
    later stage that signs cut texts anew need not know it: documents keep that of the whole text."""
    wanted = config.deduplicate
    permutations = wanted.signature_width
    normalised = normalise_batch(documents["text"])
    sets = shingle_sets(documents["text"], wanted, normalised)
    values = signatures(sets, permutations) if permutations else np.empty((documents.num_rows, 0), np.uint32)
    order = {name: place for place, name in enumerate(config.input.priority)}
    priority = [order.get(source, len(order)) for source in documents["source"].to_pylist()]
    schema = signature_schema(permutations)
    columns: list[Any] = [
        documents["doc_id"],
        documents["record"],
        pa.array(priority, pa.uint16()),
        pa.array(np.zeros(documents.num_rows, np.uint16) if quality is None else quality, pa.uint16()),
        digests(documents["text"], normalised),
        pa.array(sets.counts.astype(np.uint32)),
        pa.FixedSizeBinaryArray.from_buffers(
            pa.binary(4 * permutations), documents.num_rows, [None, pa.py_buffer(np.ascontiguousarray(values))]
        ),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _packed(file: InputFile) -> list[Any]:
    values = [_quoted(file.path), file.relative, file.source, file.size, file.problem]
    return values if file.span is None else [*values, list(file.span)]


def _unpacked(path: str, relative: str, source: str, size: int, problem: str | None, span: Any = None) -> InputFile:
    return InputFile(_unquoted(path), relative, source, size, problem, None if span is None else Span(*span))


def _quoted(path: str) -> str:
    """The path in ASCII: names that are not UTF-8 hold surrogates, which JSON cannot."""
    return quote(path, errors="surrogateescape")


def _unquoted(path: str) -> str:
    return unquote(path, errors="surrogateescape")


def _digest(file: InputFile) -> str:
    """sha256 of the stored bytes (of the span), or why there is none: that quarantines the file, and stops nothing."""
    try:
        return filesystem.digest(file.path, *(file.span[:2] if file.span else ()))
    except OSError as error:
        reason = unreadable(error, is_url(file.path))
        if isinstance(reason, ReadError):
            return reason.reason
        raise


def _digest_name(file: InputFile) -> str:
    """No file can be called like a span: names hold no "//"."""
    return file.relative if file.span is None else f"{file.relative}//{file.span.start}-{file.span.end}"


@dataclass(frozen=True)
class CleanUnit:
    """Makes one part: reads the unit's files and writes documents, audit and signatures side by side."""

    config: PipelineConfig

    def __call__(self, spec: dict[str, Any], part: PartWriter) -> dict[str, Any]:
        files = [_unpacked(*values) for values in spec["files"]]
        permutations = self.config.deduplicate.signature_width
        guard = self.config.protect
        protected = load_index(part.output, guard.model_dump_json()) if guard.files else None
        tally, text_bytes, records = AuditTally(), 0, 0
        with (
            part.sink(audit_path(part.index), AUDIT, batch_bytes=BATCH_BYTES) as audit,
            part.sink(documents_path(part.index), DOCUMENTS, batch_bytes=BATCH_BYTES) as documents,
            part.sink(signatures_path(part.index), signature_schema(permutations), compressed=False) as signed,
        ):
            for raw in read_files(files, self.config.input):
                records += raw.num_rows
                batch = clean_batch(raw, self.config, protected)
                rows = audit_rows(batch, self.config.privacy)
                audit.write(rows)
                kept = batch.filter(pc.equal(batch["verdict"], "kept"))
                passed = kept.select(DOCUMENTS.names)
                if passed.num_rows:
                    documents.write(passed)
                    quality = broken_rules(kept["scores"], self.config.rules)
                    signed.write(signature_rows(passed, self.config, quality))
                tally.add(rows)
                text_bytes += pc.sum(pc.binary_length(passed["text"])).as_py() or 0
        digests = {_digest_name(f): _digest(f) for f in files if f.problem is None}
        return {
            **tally.facts(),
            "records": records,
            "documents": documents.rows,
            "text_bytes": text_bytes,
            "input_digests": digests,
        }


def build(pipeline: beam.Pipeline, output: str, tasks: str, config: PipelineConfig) -> None:
    """The stage's graph."""
    pipeline | ReadTasks(tasks) | "Clean" >> MakeParts(output, STAGE, CleanUnit(config))
