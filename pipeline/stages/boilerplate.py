"""Stage 2, boilerplate: lines that many documents of a source share are cut from all its documents.

    documents --hashed lines--> sketch (documents per bucket, added up)          survey
              --keys----------> copies: documents whose lines are another's
    documents --lines that the sketch lets through--> occurrences --> exact counts, by hash partition
    occurrences of candidate lines --documents that vouch--> counts             vouch
    documents --occurrences of boilerplate lines--> cut texts, their signatures, what the audit says

Sketches, hashes and counts travel, never text. A part of which nothing was cut has no file here.
"""

from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa

from pipeline.config import BoilerplateConfig
from pipeline.dedup.boilerplate import LineSet, once_per_document, vouching
from pipeline.dedup.lines import hash_lines, seed_of
from pipeline.io import filesystem
from pipeline.stages.documents import document_batches
from pipeline.stages.parts import MakeParts, PartWriter, ReadTasks
from pipeline.stages.tables import CombineTables
from schemas.arrow import numpy_name

STAGE = "boilerplate"
VERSION = 1

PARTITIONS = 16
SKETCH = f"stages/{STAGE}/sketch.bin"
"""The added-up sketch: little-endian uint32, one per bucket."""

COPIES = pa.schema([pa.field("row", pa.uint32()), pa.field("source", pa.uint32())])
OCCURRENCES = pa.schema(
    [
        pa.field("row", pa.uint32(), nullable=False),
        pa.field("source", pa.uint32(), nullable=False),
        pa.field("start", pa.uint32(), nullable=False),
        pa.field("characters", pa.uint32(), nullable=False),
        pa.field("total", pa.uint32(), nullable=False),
        pa.field("high", pa.uint64(), nullable=False),
        pa.field("low", pa.uint64(), nullable=False),
    ]
)
"""Lines that may be boilerplate: first byte in the document's text, normalised characters of line and document."""
COUNTS = pa.schema(
    [
        pa.field("high", pa.uint64()),
        pa.field("low", pa.uint64()),
        pa.field("source", pa.uint32()),
        pa.field("documents", pa.uint64()),
    ]
)


def copies_path(part: int) -> str:
    return f"stages/{STAGE}/copies/{part:05d}.arrow"


def occurrences_path(part: int) -> str:
    return f"stages/{STAGE}/occurrences/{part:05d}.arrow"


def part_counts_path(part: int) -> str:
    return f"stages/{STAGE}/counts/{part:05d}.arrow"


def counts_path(partition: int) -> str:
    return f"stages/{STAGE}/counted/{partition:05d}.arrow"


def part_vouched_path(part: int) -> str:
    return f"stages/{STAGE}/vouching/{part:05d}.arrow"


def vouched_path(partition: int) -> str:
    return f"stages/{STAGE}/vouched/{partition:05d}.arrow"


@dataclass(frozen=True)
class Sources:
    """The sources that have documents enough, by name; others are not looked at."""

    names: tuple[str, ...]

    def numbers(self, column: pa.Array) -> tuple[np.ndarray, np.ndarray]:
        """Of each document: its source's number (int64, -1 for others) and seed (uint64)."""
        coded = column.dictionary_encode()
        known = {name: number for number, name in enumerate(self.names)}
        found = coded.dictionary.to_pylist()
        number = np.array([known.get(name, -1) for name in found], np.int64)
        seed = np.array([seed_of(name) for name in found], np.uint64)
        codes = coded.indices.to_numpy()
        return number[codes], seed[codes]


def read_sketch(output: str) -> np.ndarray:
    return np.frombuffer(filesystem.read_bytes(filesystem.join(output, SKETCH)), "<u4")


# ---- exact counts


def add_counts(rows: pa.Table) -> pa.Table:
    """Documents of each line added up."""
    grouped = rows.group_by(["high", "low", "source"], use_threads=False).aggregate([("documents", "sum")])
    ordered = grouped.select(["high", "low", "source", "documents_sum"]).rename_columns(COUNTS.names)
    return ordered.cast(COUNTS).sort_by([("high", "ascending"), ("low", "ascending")])


def place_of(rows: pa.Table) -> np.ndarray:
    """Hash partition of lines."""
    return (rows["high"].to_numpy() % np.uint64(PARTITIONS)).astype(np.int64)


def _ones(columns: dict[str, np.ndarray], places: np.ndarray) -> pa.Table:
    ones = np.ones(len(places), np.uint64)
    taken = [columns[name][places] for name in ("high", "low", "source")]
    return pa.table([*taken, ones], schema=COUNTS)


def _columns(table: pa.Table) -> dict[str, np.ndarray]:
    return {name: table[name].to_numpy() for name in table.column_names}


@dataclass
class Count:
    """Finds a part's occurrences of lines that the sketch lets through, and counts their documents, copies aside."""

    output: str
    config: BoilerplateConfig
    sources: Sources
    limits: tuple[int, ...]

    def setup(self) -> None:
        self._sketch = read_sketch(self.output)

    def _occurrences(self, batch: pa.RecordBatch, start: int) -> pa.Table:
        number, seeds = self.sources.numbers(batch["source"])
        lines = hash_lines(batch["text"], seeds)
        document = np.repeat(np.arange(batch.num_rows), np.diff(lines.offsets))
        limit = np.append(np.array(self.limits, np.int64), np.iinfo(np.int64).max)[number]
        reach = self._sketch[(lines.low & np.uint64(len(self._sketch) - 1)).astype(np.int64)]
        wanted = np.flatnonzero((lines.characters >= self.config.min_characters) & (reach >= limit[document]))
        where = document[wanted]
        first = _text_starts(batch["text"])
        total = np.bincount(document, weights=lines.characters, minlength=batch.num_rows)
        columns = [start + where, number[where], lines.starts[wanted] - first[where], lines.characters[wanted]]
        columns += [total[where], lines.high[wanted], lines.low[wanted]]
        arrays = [pa.array(c.astype(numpy_name(f.type))) for c, f in zip(columns, OCCURRENCES, strict=True)]
        return pa.table(arrays, schema=OCCURRENCES)

    def __call__(self, spec: dict[str, Any], part: PartWriter) -> dict[str, Any]:
        tables = [OCCURRENCES.empty_table()]
        start = 0
        for batch in document_batches(self.output, part.index, ()):
            tables.append(self._occurrences(batch, start))
            start += batch.num_rows
        found = pa.concat_tables(tables).combine_chunks()
        columns = _columns(found)
        places = once_per_document(columns["row"], columns["high"], columns["low"])
        places = places[~np.isin(columns["row"][places], _copied(self.output, part.index))]
        with part.sink(occurrences_path(part.index), OCCURRENCES) as sink:
            sink.write(found)
        with part.sink(part_counts_path(part.index), COUNTS) as sink:
            sink.write(add_counts(_ones(columns, places)))
        return {"occurrences": found.num_rows}


def _text_starts(texts: pa.Array) -> np.ndarray:
    """int64 [n]: the texts' first bytes in their buffer."""
    return np.frombuffer(texts.buffers()[1], np.int32, len(texts), texts.offset * 4).astype(np.int64)


def _copied(output: str, part: int) -> np.ndarray:
    path = filesystem.join(output, copies_path(part))
    return (
        filesystem.open_arrow(path).read_all()["row"].to_numpy() if filesystem.exists(path) else np.empty(0, np.uint32)
    )


def build_count(
    pipeline: beam.Pipeline,
    output: str,
    tasks: str,
    config: BoilerplateConfig,
    sources: Sources,
    limits: tuple[int, ...],
) -> None:
    """The graph that counts exactly the lines that the sketch lets through."""
    made = (
        pipeline
        | ReadTasks(tasks)
        | "Count" >> MakeParts(output, f"{STAGE}/count", Count(output, config, sources, limits))
    )
    made | "Add counts" >> CombineTables(output, COUNTS, add_counts, place_of, part_counts_path, counts_path)


# ---- vouch


def line_set(output: str, path: str) -> LineSet:
    table = filesystem.open_arrow(filesystem.join(output, path)).read_all()
    return LineSet.of(table["high"].to_numpy(), table["low"].to_numpy())


def occurrences_in(output: str, part: int, wanted: LineSet) -> dict[str, np.ndarray]:
    columns = _columns(filesystem.open_arrow(filesystem.join(output, occurrences_path(part))).read_all())
    chosen = wanted.contains(columns["high"], columns["low"])
    return {name: values[chosen] for name, values in columns.items()}


@dataclass(frozen=True)
class Vouch:
    """Counts, for each candidate line, the documents of a part that vouch for it, copies aside."""

    output: str
    config: BoilerplateConfig

    def __call__(self, spec: dict[str, Any], part: PartWriter) -> dict[str, Any]:
        found = occurrences_in(self.output, part.index, line_set(self.output, spec["candidates"]))
        vouches = vouching(found["row"], found["characters"], found["total"], self.config.max_shared)
        vouches &= ~np.isin(found["row"], _copied(self.output, part.index))
        kept = {name: values[vouches] for name, values in found.items()}
        with part.sink(part_vouched_path(part.index), COUNTS) as sink:
            sink.write(add_counts(_ones(kept, once_per_document(kept["row"], kept["high"], kept["low"]))))
        return {}


def build_vouch(pipeline: beam.Pipeline, output: str, tasks: str, config: BoilerplateConfig) -> None:
    """The graph that counts the documents that vouch for the candidates."""
    made = pipeline | ReadTasks(tasks) | "Vouch" >> MakeParts(output, f"{STAGE}/vouch", Vouch(output, config))
    made | "Add counts" >> CombineTables(output, COUNTS, add_counts, place_of, part_vouched_path, vouched_path)
