"""Counting words of which there are too many to hold: only those that are frequent enough, but these exactly.

parts' counts --hash into cells--combine--> cells --driver: threshold--> heavy cells
parts' counts --rows of heavy cells--combine--> counts of the corpus

See pipeline.words.sketch for why the counts are exact.
"""

from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa

from pipeline.io import filesystem
from pipeline.stages.count import PARTITIONS, STAGE, CountsPath, combine_counts, part_counts
from pipeline.stages.parts import MakeParts, PartWriter, ReadTasks
from pipeline.stages.tables import CombineTables, read_partitions
from pipeline.words.frequency import WORD_COUNTS
from pipeline.words.sketch import CELLS, ROWS, dense, heavy_cells, merge_cells, sketch, survivors, threshold


def cells_of_parts(kind: str) -> CountsPath:
    return CountsPath(kind, "_cells_of_parts")


def cells(kind: str) -> CountsPath:
    return CountsPath(kind, "_cells")


def cells_directory(kind: str) -> str:
    return f"stages/{STAGE}/{kind}_cells"


def left_of_parts(kind: str) -> CountsPath:
    return CountsPath(kind, "_left_of_parts")


def heavy_path(kind: str) -> str:
    return f"stages/{STAGE}/{kind}_heavy/cells.bits"


def _counts(output: str, kind: str, part: int) -> pa.Table:
    return filesystem.open_arrow(filesystem.join(output, part_counts(kind)(part))).read_all()


@dataclass(frozen=True)
class MakeCells:
    """A part's counts as cells."""

    output: str
    kind: str
    width: int

    def __call__(self, spec: dict[str, Any], part: PartWriter) -> dict[str, Any]:
        with part.sink(cells_of_parts(self.kind)(part.index), CELLS) as sink:
            sink.write(sketch(_counts(self.output, self.kind, part.index), self.width))
        return {}


@dataclass(frozen=True)
class _CellPlace:
    width: int

    def __call__(self, table: pa.Table) -> np.ndarray:
        return table["cell"].to_numpy().astype(np.int64) * PARTITIONS // (ROWS * self.width)


def build_cells(pipeline: beam.Pipeline, output: str, tasks: str, kind: str, width: int) -> None:
    """The graph of the first pass."""
    (
        pipeline
        | ReadTasks(tasks)
        | "Cells" >> MakeParts(output, f"{STAGE}/{kind}_cells_made", MakeCells(output, kind, width))
        | "Combine cells"
        >> CombineTables(output, CELLS, merge_cells, _CellPlace(width), cells_of_parts(kind), cells(kind))
    )


def write_heavy(output: str, kind: str, width: int, max_distinct: int, least: int) -> int:
    """Chooses the threshold (not below `least`) and stores which cells reach it; returns it."""
    sums = dense(read_partitions(output, cells_directory(kind), CELLS), width)
    least = threshold(sums, max_distinct, least)
    bits = np.packbits(heavy_cells(sums, least))
    filesystem.write_atomic(filesystem.join(output, heavy_path(kind)), bits.tobytes())
    return least


class MakeLeft:
    """A part's counts without the words that cannot reach the threshold."""

    def __init__(self, output: str, kind: str, width: int) -> None:
        self._output = output
        self._kind = kind
        self._width = width

    def setup(self) -> None:
        bits = filesystem.read_bytes(filesystem.join(self._output, heavy_path(self._kind)))
        heavy = np.unpackbits(np.frombuffer(bits, np.uint8), count=ROWS * self._width)
        self._heavy = heavy.view(np.bool_).reshape(ROWS, self._width)

    def __call__(self, spec: dict[str, Any], part: PartWriter) -> dict[str, Any]:
        with part.sink(left_of_parts(self._kind)(part.index), WORD_COUNTS) as sink:
            sink.write(survivors(_counts(self._output, self._kind, part.index), self._heavy))
        return {}


def build_left(pipeline: beam.Pipeline, output: str, tasks: str, kind: str, width: int) -> None:
    """The graph of the second pass."""
    (
        pipeline
        | ReadTasks(tasks)
        | "Left" >> MakeParts(output, f"{STAGE}/{kind}_left_made", MakeLeft(output, kind, width))
        | f"Combine {kind}" >> combine_counts(output, kind, left_of_parts(kind))
    )
