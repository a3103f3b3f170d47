"""Combining Arrow tables per hash partition: part files -> (partition, table) -> one file per partition.

A combiner, so that runners merge before the shuffle; what travels are counts and hashes, never text.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import apache_beam as beam
import numpy as np
import pyarrow as pa

from pipeline.io import filesystem
from pipeline.io.coder import ArrowTableCoder, KeyedTable
from pipeline.io.sink import ArrowSink
from pipeline.stages.parts import PartRecord

Merge = Callable[[pa.Table], pa.Table]
"""Makes a table of many parts smaller. Associative and commutative; decides the order of rows."""

COMPACT_ROWS = 1 << 19
"""An accumulator is not merged below this many rows."""

_MERGED = b"merged_rows"


class _Merge(beam.CombineFn):
    """Accumulator: a table that is merged each time it has doubled; its metadata tell the rows it was merged to."""

    def __init__(self, schema: pa.Schema, merge: Merge) -> None:
        self._schema = schema
        self._merge = merge

    def create_accumulator(self) -> pa.Table:
        return self._schema.empty_table()

    def add_input(self, accumulator: pa.Table, element: pa.Table) -> pa.Table:
        return self.merge_accumulators([accumulator, element])

    def merge_accumulators(self, accumulators: Iterable[pa.Table]) -> pa.Table:
        tables = list(accumulators)
        merged = max((int((table.schema.metadata or {}).get(_MERGED, 0)) for table in tables), default=0)
        total = pa.concat_tables([table.cast(self._schema) for table in tables])
        if total.num_rows >= max(COMPACT_ROWS, 2 * merged):
            total = self._merge(total)
            merged = total.num_rows
        return total.replace_schema_metadata({_MERGED: str(merged)})

    def extract_output(self, accumulator: pa.Table) -> pa.Table:
        return self._merge(accumulator)

    def get_accumulator_coder(self) -> ArrowTableCoder:
        return ArrowTableCoder()


def split_by(table: pa.Table, place: np.ndarray) -> Iterator[tuple[int, pa.Table]]:
    """(partition, rows) for each partition that has rows; `place` int64 [rows]."""
    order = np.argsort(place, kind="stable")
    found, first = np.unique(place[order], return_index=True)
    ordered = table.take(pa.array(order))
    for partition, start, end in zip(found.tolist(), first, np.append(first[1:], len(order)), strict=True):
        yield partition, ordered.slice(start, end - start)


@dataclass
class CombineTables(beam.PTransform):
    """PCollection[PartRecord] -> nothing: merges one file of every part, and writes one file per partition.

    `path_of_part` and `path_of_partition` give paths relative to the output; `place` gives each row its partition.
    """

    output: str
    schema: pa.Schema
    merge: Merge
    place: Callable[[pa.Table], np.ndarray]
    path_of_part: Callable[[int], str]
    path_of_partition: Callable[[int], str]

    def __post_init__(self) -> None:
        super().__init__()

    def _read(self, record: PartRecord) -> Iterator[tuple[int, pa.Table]]:
        path = filesystem.join(self.output, self.path_of_part(record.index))
        if any(entry.path == self.path_of_part(record.index) for entry in record.files):
            table = filesystem.open_arrow(path).read_all()
            if table.num_rows:
                yield from split_by(table, self.place(table))

    def _write(self, keyed: tuple[int, pa.Table]) -> None:
        partition, table = keyed
        sink = ArrowSink(filesystem.join(self.output, self.path_of_partition(partition)), self.schema)
        sink.write(table)
        sink.close()

    def expand(self, records: beam.PCollection[PartRecord]) -> beam.PCollection[None]:
        return (
            records
            | "Read parts" >> beam.FlatMap(self._read).with_output_types(KeyedTable)
            | "Merge" >> beam.CombinePerKey(_Merge(self.schema, self.merge)).with_output_types(KeyedTable)
            | "Write partitions" >> beam.Map(self._write)
        )


def read_partitions(output: str, directory: str, schema: pa.Schema) -> pa.Table:
    """All partition files of a directory (relative to the output), in partition order."""
    base = filesystem.join(output, directory)
    names = [name for name in filesystem.listing(base) if name.endswith(".arrow")]
    tables = [filesystem.open_arrow(filesystem.join(base, name)).read_all() for name in names]
    return pa.concat_tables(tables) if tables else schema.empty_table()
