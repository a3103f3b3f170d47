"""The last job of `boilerplate`: the documents that hold boilerplate lines, without them."""

from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.config import PipelineConfig
from pipeline.dedup.boilerplate import cut, once_per_document
from pipeline.io import filesystem
from pipeline.stages.boilerplate import STAGE, Sources, line_set, occurrences_in, place_of
from pipeline.stages.clean import BATCH_BYTES, signature_rows, signature_schema
from pipeline.stages.documents import (
    CUT_AUDIT,
    CUT_TEXTS,
    cut_audit_path,
    cut_signatures_path,
    cut_texts_path,
    document_batches,
    signature_table,
)
from pipeline.stages.parts import MakeParts, PartRecord, PartWriter, ReadTasks
from pipeline.stages.tables import CombineTables

EXAMPLE = 200
"""Code points of a line that the table of lines shows."""

LINES = pa.schema(
    [
        pa.field("high", pa.uint64()),
        pa.field("low", pa.uint64()),
        pa.field("source", pa.string()),
        pa.field("line", pa.string()),
        pa.field("documents", pa.uint64()),
        pa.field("characters", pa.uint64()),
    ]
)
"""Boilerplate lines: an original of each, the documents it was cut from (copies too), the code points cut."""


def part_lines_path(part: int) -> str:
    return f"stages/{STAGE}/cut/{part:05d}.arrow"


def lines_path(partition: int) -> str:
    return f"stages/{STAGE}/lines/{partition:05d}.arrow"


def cut_paths(part: int) -> list[str]:
    """All files that the job may leave for a part."""
    overlays = [kind(STAGE, part) for kind in (cut_texts_path, cut_signatures_path, cut_audit_path)]
    return [*overlays, part_lines_path(part)]


def forget_cut(output: str, part: int) -> None:
    """Removes what an earlier run cut from the part."""
    for path in cut_paths(part):
        filesystem.remove(filesystem.join(output, path))


def add_lines(rows: pa.Table) -> pa.Table:
    """Documents and characters of each line added up; the shortest of its originals stands for it."""
    sized = rows.append_column("length", pc.utf8_length(rows["line"]))
    ordered = sized.sort_by([(name, "ascending") for name in ("high", "low", "length", "line")])
    grouped = ordered.group_by(["high", "low"], use_threads=False).aggregate(
        [("source", "first"), ("line", "first"), ("documents", "sum"), ("characters", "sum")]
    )
    names = ["high", "low", "source_first", "line_first", "documents_sum", "characters_sum"]
    return grouped.select(names).rename_columns(LINES.names).cast(LINES)


@dataclass(frozen=True)
class Cut:
    """A part's documents that hold boilerplate, without it: texts, signatures, and what the audit will say."""

    output: str
    config: PipelineConfig
    sources: Sources

    def __call__(self, spec: dict[str, Any], part: PartWriter) -> dict[str, Any]:
        found = occurrences_in(self.output, part.index, line_set(self.output, spec["lines"]))
        paths = cut_paths(part.index)
        if not len(found["row"]):
            forget_cut(self.output, part.index)
            return {"documents": 0, "lines": 0, "characters": 0, "emptied": 0}
        sums = np.zeros(4, np.int64)
        quality = signature_table(self.output, part.index, ())["quality"].to_numpy()
        with (
            part.sink(paths[0], CUT_TEXTS, batch_bytes=BATCH_BYTES) as texts,
            part.sink(paths[1], signature_schema(self.config.deduplicate.signature_width)) as signed,
            part.sink(paths[2], CUT_AUDIT) as told,
            part.sink(paths[3], LINES) as lines,
        ):
            shown = [LINES.empty_table()]
            start = 0
            for batch in document_batches(self.output, part.index, ()):
                low, high = np.searchsorted(found["row"], [start, start + batch.num_rows])
                if low < high:
                    mine = {name: values[low:high] for name, values in found.items()}
                    rows, first = np.unique(mine["row"], return_index=True)
                    some = batch.take(pa.array(rows - start))
                    firsts = np.append(first, high - low).astype(np.int64)
                    after, audit = self._cut(some, rows, firsts, mine["start"].astype(np.int64))
                    texts.write(pa.table([pa.array(rows), after["text"]], schema=CUT_TEXTS))
                    signed.write(signature_rows(after, self.config, quality[rows]))
                    told.write(audit)
                    shown.append(self._lines(some, mine, firsts))
                    sums += [len(rows), high - low, pc.sum(audit["characters"]).as_py(), _empty(audit)]
                start += batch.num_rows
            lines.write(add_lines(pa.concat_tables(shown)))
        return dict(zip(("documents", "lines", "characters", "emptied"), sums.tolist(), strict=True))

    def _cut(
        self, some: pa.RecordBatch, rows: np.ndarray, firsts: np.ndarray, starts: np.ndarray
    ) -> tuple[pa.RecordBatch, pa.Table]:
        text = cut(some["text"], firsts, starts)
        # What is left may be rulers and bullets: as good as nothing.
        text = pc.if_else(pc.match_substring_regex(text, r"[\p{L}\p{N}]"), text, "")
        left = pc.utf8_length(text).to_numpy().astype(np.uint64)
        gone = pc.utf8_length(some["text"]).to_numpy().astype(np.uint64) - left
        after = some.set_column(some.schema.get_field_index("text"), some.schema.field("text"), text)
        lines = np.diff(firsts).astype(np.uint32)
        return after, pa.table([rows.astype(np.uint32), lines, gone, left], schema=CUT_AUDIT)

    def _lines(self, some: pa.RecordBatch, mine: dict[str, np.ndarray], firsts: np.ndarray) -> pa.Table:
        texts = [text.encode() for text in some["text"].to_pylist()]
        document = np.repeat(np.arange(len(texts)), np.diff(firsts))
        raw = []
        for row, start in zip(document.tolist(), mine["start"].tolist(), strict=True):
            stop = texts[row].find(b"\n", start)
            raw.append(texts[row][start : stop if stop >= 0 else None].decode())
        once = np.zeros(len(raw), np.uint64)
        once[once_per_document(mine["row"], mine["high"], mine["low"])] = 1
        line = pa.array(raw, pa.string())
        columns = [
            pa.array(mine["high"]),
            pa.array(mine["low"]),
            pa.array([self.sources.names[number] for number in mine["source"].tolist()], pa.string()),
            pc.utf8_slice_codeunits(pc.utf8_trim_whitespace(line), 0, EXAMPLE),
            pa.array(once),
            pc.cast(pc.utf8_length(line), pa.uint64()),
        ]
        return add_lines(pa.table(columns, schema=LINES))


def _empty(audit: pa.Table) -> int:
    return int((audit["chars_out"].to_numpy() == 0).sum())


def build_cut(pipeline: beam.Pipeline, output: str, tasks: str, config: PipelineConfig, sources: Sources) -> None:
    """The graph that cuts, and adds up what was cut."""
    made: beam.PCollection[PartRecord] = (
        pipeline | ReadTasks(tasks) | "Cut" >> MakeParts(output, f"{STAGE}/cut", Cut(output, config, sources))
    )
    made | "Add lines" >> CombineTables(output, LINES, add_lines, place_of, part_lines_path, lines_path)
