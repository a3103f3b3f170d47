"""The kept documents of a part: less the rows that deduplication dropped, and those that were cut to nothing."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.io import filesystem
from pipeline.stages.deduplicate import decisions_path
from pipeline.stages.documents import CUTTING, document_batches, emptied_rows
from pipeline.stages.layout import documents_path
from pipeline.stages.parts import PartRecord, digest_of, sidecar_path


def kept_documents(output: str, part: int) -> Iterator[pa.RecordBatch]:
    """Batches of schemas.arrow.DOCUMENTS, in order; empty ones are left out."""
    dropped = filesystem.open_arrow(filesystem.join(output, decisions_path(part))).read_all()["row"].to_numpy()
    dropped = np.union1d(dropped, emptied_rows(output, part, CUTTING))
    start = 0
    for batch in document_batches(output, part, CUTTING):
        low, high = np.searchsorted(dropped, [start, start + batch.num_rows])
        start += batch.num_rows
        if low < high:
            keep = np.ones(batch.num_rows, np.bool_)
            keep[dropped[low:high] - (start - batch.num_rows)] = False
            batch = batch.filter(pa.array(keep))
        if batch.num_rows:
            yield batch


def kept_digests(output: str, cleaned: Sequence[PartRecord], decisions: Sequence[Sequence[Any]]) -> dict[int, str]:
    """Part -> digest of its kept documents, from the digests of the files that they are read from.

    decisions: per part [bytes and sha256 of the file, sha256 of the dropped rows].
    """
    found = {}
    for record, (_, _, rows) in zip(cleaned, decisions, strict=True):
        texts = [entry.sha256 for entry in record.files if entry.path == documents_path(record.index)]
        for stage in CUTTING:
            path = sidecar_path(output, f"{stage}/cut", record.index)
            cut = PartRecord.parse(filesystem.read_bytes(path)).files if filesystem.exists(path) else ()
            texts.append(digest_of([entry.sha256 for entry in cut]))
        found[record.index] = digest_of(texts, rows)
    return found
