"""The deduplicate stage's verdicts: which rows of a part go, and the audit shards that say so.

    candidates   exact copies, then bands and candidate pairs of what is left
    verify       exact Jaccard of the pairs
    resolution   (or `pipeline.dedup.resolve`) which documents go
    overfull     rounds over the buckets that held more documents than the cap
    here         clean's audit + decisions -> audit shards

Only hashes and refs are exchanged. `pipeline.settle_duplicates` puts the steps in order.
"""

from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa

from pipeline.io import filesystem
from pipeline.stages.documents import CUTTING, audit_batches
from pipeline.stages.parts import MakeParts, PartWriter, ReadTasks
from pipeline.stages.tally import AuditTally
from schemas.arrow import AUDIT

STAGE = "deduplicate"
VERSION = 3

DECISIONS = pa.schema(
    [
        pa.field("row", pa.uint32(), nullable=False),
        pa.field("rule", pa.string(), nullable=False),
        pa.field("duplicate_of", pa.string(), nullable=False),
        pa.field("duplicate_record", pa.string(), nullable=False),
        pa.field("jaccard", pa.float64(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("detail", pa.string()),
    ]
)
"""One row per dropped document of a part, by row."""


def decisions_path(part: int) -> str:
    return f"stages/{STAGE}/decisions/{part:05d}.arrow"


@dataclass(frozen=True)
class MakeAudit:
    """Clean's audit rows with the verdicts of deduplication: the audit shard the user sees."""

    output: str

    def __call__(self, spec: dict[str, Any], part: PartWriter) -> dict[str, Any]:
        decisions = filesystem.open_arrow(filesystem.join(self.output, decisions_path(part.index))).read_all()
        dropped = decisions["row"].to_numpy()
        tally = AuditTally()
        start = 0
        with part.sink(spec["path"], AUDIT, batch_bytes=8 << 20) as sink:
            for batch, places in audit_batches(self.output, part.index, CUTTING):
                low, high = np.searchsorted(dropped, [start, start + len(places)])
                rows = _marked(batch, places[dropped[low:high] - start], decisions.slice(low, high - low))
                sink.write(rows)
                tally.add(rows)
                start += len(places)
        return tally.facts()


def _marked(batch: pa.RecordBatch, rows: np.ndarray, decisions: pa.Table) -> pa.RecordBatch:
    """Audit rows in which `rows` became duplicates as `decisions` (one each, in order) say."""
    if not len(rows):
        return batch
    told = ("rule", "duplicate_of", "duplicate_record", "jaccard", "kind")
    columns = {name: batch[name].to_pylist() for name in ("verdict", "detail", *told)}
    for row, decision in zip(rows.tolist(), decisions.to_pylist(), strict=True):
        columns["verdict"][row] = "duplicate"
        for name in told:
            columns[name][row] = decision[name]
        if decision["detail"] is not None:
            before = columns["detail"][row]
            columns["detail"][row] = decision["detail"] if before is None else f"{before}; {decision['detail']}"
    arrays = [
        pa.array(columns[field.name], field.type) if field.name in columns else batch[field.name] for field in AUDIT
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=AUDIT)


def build_audit(pipeline: beam.Pipeline, output: str, tasks: str) -> None:
    """The graph that writes the audit shards."""
    pipeline | ReadTasks(tasks) | "Audit" >> MakeParts(output, f"{STAGE}/audit", MakeAudit(output))
