"""The survey of `boilerplate`: in one pass how many documents hold a line, by hash, and which documents are copies.

documents --hashed lines--> one sketch per bundle --> added up
          --keys by hash partition--> documents whose lines are another's --> by part
"""

from collections.abc import Iterable, Iterator

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam import coders
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.windowed_value import WindowedValue

from pipeline.config import BoilerplateConfig
from pipeline.dedup.boilerplate import Sketch, document_keys
from pipeline.dedup.lines import hash_lines
from pipeline.dedup.refs import parts_of, refs_of_part, rows_of
from pipeline.io import filesystem
from pipeline.io.coder import KeyedTable
from pipeline.io.sink import ArrowSink
from pipeline.stages.boilerplate import COPIES, PARTITIONS, SKETCH, Sources, copies_path
from pipeline.stages.documents import document_batches
from pipeline.stages.parts import ReadTasks, Task
from pipeline.stages.tables import split_by


class _ArrayCoder(coders.Coder):
    """uint32 arrays, compressed: a sketch is mostly zeros and small counts."""

    def encode(self, value: np.ndarray) -> bytes:
        packed = pa.compress(value.astype("<u4").tobytes(), "zstd", asbytes=True)
        return len(value).to_bytes(8, "little") + packed

    def decode(self, encoded: bytes) -> np.ndarray:
        size = int.from_bytes(encoded[:8], "little")
        return np.frombuffer(pa.decompress(encoded[8:], 4 * size, "zstd"), "<u4").copy()

    def is_deterministic(self) -> bool:
        return True


class AddArrays(beam.CombineFn):
    """Sum of equally long uint32 arrays; the accumulator is one of them, added to in place."""

    def create_accumulator(self) -> np.ndarray:
        return np.empty(0, np.uint32)

    def add_input(self, accumulator: np.ndarray, element: np.ndarray) -> np.ndarray:
        if not len(accumulator):
            return element.copy()
        accumulator += element
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[np.ndarray]) -> np.ndarray:
        total = self.create_accumulator()
        for accumulator in accumulators:
            if len(accumulator):
                total = self.add_input(total, accumulator)
        return total

    def extract_output(self, accumulator: np.ndarray) -> np.ndarray:
        return accumulator

    def get_accumulator_coder(self) -> _ArrayCoder:
        return _ArrayCoder()


class _SketchArray(np.ndarray):
    """Names the coder of the sketches that travel."""


coders.registry.register_coder(_SketchArray, _ArrayCoder)


class _Survey(beam.DoFn):
    """Parts -> keys of their documents by hash partition, and one sketch per bundle."""

    def __init__(self, output: str, sources: Sources, buckets: int, least: int) -> None:
        self._output = output
        self._sources = sources
        self._buckets = buckets
        self._least = least
        self._sketch: Sketch | None = None

    def start_bundle(self) -> None:
        self._sketch = None

    def process(self, encoded: bytes) -> Iterator[tuple[int, pa.Table]]:
        part = Task.parse(encoded).index
        if self._sketch is None:
            self._sketch = Sketch(self._buckets)
        start = 0
        found = []
        for batch in document_batches(self._output, part, ()):
            number, seeds = self._sources.numbers(batch["source"])
            lines = hash_lines(batch["text"], seeds)
            self._sketch.add(lines, number >= 0, self._least)
            high, low = document_keys(lines)
            mine = np.flatnonzero(number >= 0)
            refs = refs_of_part(part, start + batch.num_rows)[start:]
            found.append([high[mine], low[mine], number[mine].astype(np.uint32), refs[mine]])
            start += batch.num_rows
        if not found:
            return
        columns = [np.concatenate(some) for some in zip(*found, strict=True)]
        table = pa.table(columns, names=["high", "low", "source", "ref"])
        yield from split_by(table, (columns[0] % np.uint64(PARTITIONS)).astype(np.int64))

    def finish_bundle(self) -> Iterator[beam.pvalue.TaggedOutput]:
        if self._sketch is not None:
            window = GlobalWindow()
            value = WindowedValue(self._sketch.counts, window.max_timestamp(), (window,))
            yield beam.pvalue.TaggedOutput("sketch", value)
            self._sketch = None


def _copies(keyed: tuple[int, Iterable[pa.Table]]) -> Iterator[tuple[int, pa.Table]]:
    """Of each document that comes up again, all refs but the least, by part."""
    rows = pa.concat_tables(keyed[1])
    high, low, source, ref = (rows[name].to_numpy() for name in ("high", "low", "source", "ref"))
    order = np.lexsort((ref, low, high, source))
    again = np.zeros(len(order), np.bool_)
    again[1:] = True
    for column in (high, low, source):
        again[1:] &= column[order][1:] == column[order][:-1]
    copies = order[again]
    if len(copies):
        table = pa.table([rows_of(ref[copies]).astype(np.uint32), source[copies]], schema=COPIES)
        yield from split_by(table, parts_of(ref[copies]))


def _write(output: str, path: str, schema: pa.Schema, table: pa.Table) -> None:
    sink = ArrowSink(filesystem.join(output, path), schema)
    sink.write(table)
    sink.close()


def _write_copies(keyed: tuple[int, Iterable[pa.Table]], output: str) -> None:
    part, tables = keyed
    _write(output, copies_path(part), COPIES, pa.concat_tables(tables).sort_by("row"))


def _write_sketch(sketch: np.ndarray, output: str) -> None:
    filesystem.write_atomic(filesystem.join(output, SKETCH), sketch.astype("<u4").tobytes())


def build_survey(
    pipeline: beam.Pipeline, output: str, tasks: str, config: BoilerplateConfig, sources: Sources, buckets: int
) -> None:
    """The graph that makes the sketch and finds the documents that are copies."""
    surveyed = (
        pipeline
        | ReadTasks(tasks)
        | "Spread" >> beam.Reshuffle()
        | "Survey"
        >> beam.ParDo(_Survey(output, sources, buckets, config.min_characters)).with_outputs("sketch", main="keys")
    )
    (
        surveyed.sketch
        | "Sketches" >> beam.Map(lambda sketch: sketch).with_output_types(_SketchArray)
        | "Add sketches" >> beam.CombineGlobally(AddArrays()).without_defaults().with_output_types(_SketchArray)
        | "Write sketch" >> beam.Map(_write_sketch, output)
    )
    (
        surveyed.keys
        | "Keyed" >> beam.Map(lambda keyed: keyed).with_output_types(KeyedTable)
        | "Group keys" >> beam.GroupByKey()
        | "Copies" >> beam.FlatMap(_copies).with_output_types(KeyedTable)
        | "Copies by part" >> beam.GroupByKey()
        | "Write copies" >> beam.Map(_write_copies, output)
    )
