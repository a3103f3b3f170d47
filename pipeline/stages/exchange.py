"""Hash-partitioned exchange by part files: each maker cuts its rows, each reader takes its cut of all files.

    maker 0 --[place 0 | place 1 | ...]--> file 0 --.
    maker 1 --[place 0 | place 1 | ...]--> file 1 --+--> reader of place 0, of place 1, ...

What a runner's shuffle does, with part files in place of memory: any runner can do it, the local one does not hold it
in RAM (its grouping takes 4 to 7 times the data), and a killed run goes on with the makers and readers that are left.
"""

from collections.abc import Iterable

import numpy as np
import pyarrow as pa

from pipeline.dedup.mixing import fmix64
from pipeline.io import filesystem
from pipeline.stages.parts import PartWriter
from schemas.arrow import BATCH_ROWS, numpy_name

_BOUNDS = b"bounds"


def spread(refs: np.ndarray, places: int) -> np.ndarray:
    """int64 [n]: the place of each ref, evenly among `places` whatever the parts' sizes."""
    mixed: np.ndarray = fmix64(refs)  # type: ignore[arg-type,assignment]
    return (mixed % np.uint64(places)).astype(np.int64)


def write_cut(part: PartWriter, path: str, schema: pa.Schema, columns: list, place: np.ndarray, places: int) -> None:
    """Writes rows ordered by place (int64 [rows], 0 .. places - 1); rows of one place keep their order."""
    order = np.argsort(place, kind="stable")
    bounds = np.searchsorted(place[order], np.arange(places + 1))
    cut = schema.with_metadata({_BOUNDS: " ".join(map(str, bounds.tolist()))})
    with part.sink(path, cut, compressed=False) as sink:
        sink.write(pa.table([column[order] for column in columns], schema=cut))


def read_rows(reader: pa.ipc.RecordBatchFileReader, low: int, high: int) -> list[pa.RecordBatch]:
    """Rows low .. high - 1 of a part file whose batches are full."""
    batches = []
    for number in range(low // BATCH_ROWS, -(-high // BATCH_ROWS)):
        start = number * BATCH_ROWS
        batch = reader.get_batch(number)
        batches.append(batch.slice(max(low - start, 0), min(high - start, BATCH_ROWS) - max(low - start, 0)))
    return batches


def read_cut(output: str, paths: Iterable[str], place: int, schema: pa.Schema) -> list[np.ndarray]:
    """The columns of all rows of one place, file by file; schema: as written, fixed-width fields."""
    batches: list[pa.RecordBatch] = []
    readers = []
    for path in paths:
        reader = filesystem.open_arrow(filesystem.join(output, path))
        readers.append(reader)
        bounds = reader.schema.metadata[_BOUNDS].split()
        low, high = int(bounds[place]), int(bounds[place + 1])
        if low < high:
            batches += read_rows(reader, low, high)
    if not batches:
        return [np.empty(0, numpy_name(field.type)) for field in schema]
    return [np.concatenate([batch.column(i).to_numpy() for batch in batches]) for i in range(len(schema))]


def read_columns(output: str, path: str) -> list[np.ndarray]:
    """All rows of a file of fixed-width fields."""
    table = filesystem.open_arrow(filesystem.join(output, path)).read_all()
    return [column.to_numpy() for column in table.columns]
