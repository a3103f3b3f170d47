"""How a stage turns tasks into part files, on any runner, so that a killed run redoes only unfinished parts.

    tasks --Reshuffle--> [ finished before? yes: skip / no: make files, then a sidecar ] --> sidecars

A task names everything that decides its part's bytes and carries a digest of it, the key. The sidecar
(`parts/00012.json`) is written after the part's files and holds the key; a part is finished when its sidecar has the
task's key and its files are there. Text never leaves the worker that reads it: only tasks and sidecars travel.
"""

import hashlib
import posixpath
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import apache_beam as beam
import orjson
import pyarrow as pa

from pipeline.io import filesystem
from pipeline.io.sink import ArrowSink
from pipeline.meter import current_meter
from schemas.manifest import FileEntry


def digest_of(*values: Any) -> str:
    """sha256 of values that JSON can hold."""
    return hashlib.sha256(orjson.dumps(values, option=orjson.OPT_SORT_KEYS)).hexdigest()


@dataclass(frozen=True)
class Task:
    """One part to make."""

    index: int
    spec: dict[str, Any]
    key: str
    weight: int = 0
    """Size of the work, in any unit: large ones start first."""

    def to_bytes(self) -> bytes:
        return orjson.dumps([self.index, self.spec, self.key, self.weight])

    @staticmethod
    def parse(data: bytes) -> "Task":
        return Task(*orjson.loads(data))


@dataclass(frozen=True)
class PartRecord:
    """What a finished part says of itself (its sidecar)."""

    index: int
    key: str
    files: tuple[FileEntry, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)
    """Counts and the like, JSON values; the same for every run over the same input."""

    def to_bytes(self) -> bytes:
        files = [entry.model_dump() for entry in self.files]
        raw = {"index": self.index, "key": self.key, "files": files, "facts": self.facts}
        return orjson.dumps(raw, option=orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2)

    @staticmethod
    def parse(data: bytes) -> "PartRecord":
        raw = orjson.loads(data)
        files = tuple(FileEntry(**entry) for entry in raw["files"])
        return PartRecord(raw["index"], raw["key"], files, raw["facts"])


class PartWriter:
    """Gives a part its sinks. All files of the part are committed before its sidecar is."""

    def __init__(self, output: str, index: int) -> None:
        self.output = output
        self.index = index
        self._sinks: list[tuple[str, ArrowSink]] = []
        self._tokens: dict[str, int] = {}

    @contextmanager
    def sink(self, path: str, schema: pa.Schema, **options: Any) -> Iterator[ArrowSink]:
        """`path` is relative to the output directory. On an error nothing of the file stays."""
        sink = ArrowSink(filesystem.join(self.output, path), schema, **options)
        try:
            yield sink
            sink.close()
        except BaseException:
            sink.abandon()
            raise
        self._sinks.append((path, sink))

    def count_tokens(self, path: str, tokens: int) -> None:
        self._tokens[path] = tokens

    def entries(self) -> tuple[FileEntry, ...]:
        return tuple(sink.entry(path, self._tokens.get(path, 0)) for path, sink in self._sinks)


def sidecar_path(output: str, stage: str, index: int) -> str:
    return filesystem.join(output, "stages", stage, "parts", f"{index:05d}.json")


def finished_part(output: str, stage: str, task: Task) -> PartRecord | None:
    """The part's sidecar if it was made for this very task and its files still have their sizes."""
    path = sidecar_path(output, stage, task.index)
    if not filesystem.exists(path):
        return None
    record = PartRecord.parse(filesystem.read_bytes(path))
    if record.key != task.key:
        return None
    sound = all(filesystem.size(filesystem.join(output, entry.path)) == entry.bytes for entry in record.files)
    return record if sound else None


MakePart = Callable[[dict[str, Any], PartWriter], dict[str, Any]]
"""(task's spec, writer) -> facts. An object with a `setup()` gets it called once per worker process."""


class _MakePartFn(beam.DoFn):
    def __init__(self, output: str, stage: str, make: MakePart) -> None:
        self._output = output
        self._stage = stage
        self._make = make

    def setup(self) -> None:
        prepare = getattr(self._make, "setup", None)
        if prepare is not None:
            prepare()

    def process(self, encoded: bytes) -> Iterable[PartRecord]:
        task = Task.parse(encoded)
        record = finished_part(self._output, self._stage, task)
        if record is None:
            writer = PartWriter(self._output, task.index)
            facts = self._make(task.spec, writer)
            record = PartRecord(task.index, task.key, writer.entries(), facts)
            filesystem.write_atomic(sidecar_path(self._output, self._stage, task.index), record.to_bytes())
        yield record


@dataclass
class MakeParts(beam.PTransform):
    """PCollection of encoded tasks -> PCollection[PartRecord]: each task made once, or found finished."""

    output: str
    stage: str
    make: MakePart

    def __post_init__(self) -> None:
        super().__init__()

    def expand(self, tasks: beam.PCollection[bytes]) -> beam.PCollection[PartRecord]:
        return (
            tasks
            | "Spread" >> beam.Reshuffle()
            | "Make" >> beam.ParDo(_MakePartFn(self.output, self.stage, self.make)).with_output_types(PartRecord)
        )


def write_tasks(output: str, stage: str, tasks: Iterable[Task]) -> str:
    """Stores a stage's tasks as JSON lines, large ones first; returns the path. Jobs carry the path, not the tasks."""
    ordered = sorted(tasks, key=lambda task: (-task.weight, task.index))
    _announce(output, stage, ordered)
    path = filesystem.join(output, "stages", stage, "tasks.jsonl")
    filesystem.write_atomic(path, b"".join(task.to_bytes() + b"\n" for task in ordered))
    return path


def _announce(output: str, stage: str, tasks: list[Task]) -> None:
    """Lets the meter of the running stage, if there is one, count the parts that are missing."""
    if (meter := current_meter()) is None:
        return
    directory = posixpath.dirname(sidecar_path(output, stage, 0))
    there = filesystem.listing(directory)
    missing = [task for task in tasks if not there or finished_part(output, stage, task) is None]
    meter.expect(stage, directory, {posixpath.basename(sidecar_path("", stage, t.index)): t.weight for t in missing})


def _read_tasks(path: str) -> list[bytes]:
    return filesystem.read_bytes(path).splitlines()


@dataclass
class ReadTasks(beam.PTransform):
    """The tasks that `write_tasks` stored, as JSON bytes (a shuffle should never pickle)."""

    path: str

    def __post_init__(self) -> None:
        super().__init__()

    def expand(self, begin: beam.pvalue.PBegin) -> beam.PCollection[bytes]:
        return (
            begin
            | "Task file" >> beam.Create([self.path])
            | "Tasks" >> beam.FlatMap(_read_tasks).with_output_types(bytes)
        )


def collect_parts(output: str, stage: str, tasks: Iterable[Task]) -> list[PartRecord]:
    """The sidecars of all tasks, by index. Raises RuntimeError where a part is missing after the job."""
    records = []
    for task in sorted(tasks, key=lambda task: task.index):
        record = finished_part(output, stage, task)
        if record is None:
            raise RuntimeError(f"stage {stage}: part {task.index} is missing after the job ended; run prepare again")
        records.append(record)
    return records
