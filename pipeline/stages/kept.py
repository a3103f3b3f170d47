"""The kept documents of a part: clean's documents less the rows that deduplication dropped."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from pipeline.io import filesystem
from pipeline.stages.clean import documents_path
from pipeline.stages.deduplicate import decisions_path


def kept_documents(output: str, part: int) -> Iterator[pa.RecordBatch]:
    """Batches of schemas.arrow.DOCUMENTS, in order; empty ones are left out."""
    dropped = filesystem.open_arrow(filesystem.join(output, decisions_path(part))).read_all()["row"].to_numpy()
    reader = filesystem.open_arrow(filesystem.join(output, documents_path(part)))
    start = 0
    for number in range(reader.num_record_batches):
        batch = reader.get_batch(number)
        low, high = np.searchsorted(dropped, [start, start + batch.num_rows])
        start += batch.num_rows
        if low < high:
            keep = np.ones(batch.num_rows, np.bool_)
            keep[dropped[low:high] - (start - batch.num_rows)] = False
            batch = batch.filter(pa.array(keep))
        if batch.num_rows:
            yield batch
