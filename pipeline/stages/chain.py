"""Several steps of tasks in one Beam job, each begun when the one before it has ended.

    tasks 0 -> MakeParts -> (all there) -> tasks 1 -> MakeParts -> (all there) -> ...

Starting a job costs some tenths of a second; steps that exchange part files need not pay for one each.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import apache_beam as beam

from pipeline.io import filesystem
from pipeline.stages.parts import MakePart, MakeParts, PartRecord, ReadTasks, Task


@dataclass(frozen=True)
class Step:
    """Tasks whose parts no other task of the step reads."""

    name: str
    """Directory of the step's sidecars below stages/."""
    tasks: tuple[Task, ...]
    make: MakePart


@dataclass
class _After(beam.PTransform):
    """PCollection[PartRecord], at least one -> the tasks at `path`, once all records are there."""

    path: str

    def __post_init__(self) -> None:
        super().__init__()

    @staticmethod
    def _tasks(grouped: tuple[int, Iterable[int]], path: str) -> list[bytes]:
        for _ in grouped[1]:
            pass
        return filesystem.read_bytes(path).splitlines()

    def expand(self, records: beam.PCollection[PartRecord]) -> beam.PCollection[bytes]:
        return (
            records
            | "Ended" >> beam.Map(lambda record: (0, record.index)).with_output_types(tuple[int, int])
            | "All" >> beam.GroupByKey()
            | "Tasks" >> beam.FlatMap(self._tasks, self.path).with_output_types(bytes)
        )


def build_chain(pipeline: beam.Pipeline, output: str, steps: list[tuple[str, str, MakePart]]) -> None:
    """steps: (name, path of its task file, what makes a part), in order."""
    made: beam.PCollection[PartRecord] | None = None
    for name, path, make in steps:
        label = name.rsplit("/", 1)[-1].capitalize()
        tasks = (
            pipeline | f"{label} tasks" >> ReadTasks(path) if made is None else made | f"{label} tasks" >> _After(path)
        )
        made = tasks | label >> MakeParts(output, name, make)
