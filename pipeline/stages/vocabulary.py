"""Stage 3, vocabulary: a sample of the kept text -> a SentencePiece model, trained in the driver.

kept documents --hash and size--> candidates --combine: least hashes per (source, language)--> quotas (driver)
kept documents --below their group's limit--> sample parts --> SentencePiece (driver)
"""

import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zlib import crc32

import apache_beam as beam
import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.io import filesystem
from pipeline.stages.kept import kept_documents
from pipeline.stages.parts import MakeParts, PartRecord, PartWriter, ReadTasks
from pipeline.stages.tables import CombineTables
from pipeline.words.sample import CANDIDATES, SAMPLE, Group, candidates, from_json, group_bytes, sampled, smallest
from pipeline.words.tokenizer import Tokenizer

STAGE = "vocabulary"
VERSION = 3

MODEL = "vocabulary/siliang.model"
FACTS = "vocabulary/vocabulary.json"
PARTITIONS = 8
CHOSEN = f"stages/{STAGE}/chosen"
LIMITS = f"stages/{STAGE}/limits.json"
"""Where each group's sample ends; null where all text is in it."""
COMPACT_ROWS = 1 << 16


def load_tokenizer(path: str) -> Tokenizer:
    """The tokenizer of a model anywhere; SentencePiece itself reads local files only."""
    with tempfile.TemporaryDirectory() as directory:
        return Tokenizer(filesystem.local_copy(path, Path(directory)))


def candidates_path(part: int) -> str:
    return f"stages/{STAGE}/candidates/{part:05d}.arrow"


def chosen_path(partition: int) -> str:
    return f"{CHOSEN}/{partition:05d}.arrow"


def sample_path(part: int) -> str:
    return f"stages/{STAGE}/sample/{part:05d}.arrow"


def group_rows(sizes: Mapping[Group, int]) -> list[list[Any]]:
    """[source, language, bytes] rows, sorted."""
    return [[*group, size] for group, size in sorted(sizes.items())]


def total_groups(records: Iterable[PartRecord]) -> dict[Group, int]:
    """Bytes of each group over all parts."""
    totals: Counter[Group] = Counter()
    for record in records:
        totals.update({(source, language): size for source, language, size in record.facts["groups"]})
    return dict(sorted(totals.items()))


@dataclass(frozen=True)
class MakeCandidates:
    """The part's documents that may be in the sample: of each (source, language) the least hashes."""

    output: str
    budget: int

    def __call__(self, spec: dict[str, Any], part: PartWriter) -> dict[str, Any]:
        best = pending = CANDIDATES.empty_table()
        totals: Counter[Group] = Counter()
        for batch in kept_documents(self.output, part.index):
            found = candidates(batch)
            totals.update(group_bytes(found))
            pending = pa.concat_tables([pending, found])
            if pending.num_rows > max(COMPACT_ROWS, best.num_rows):  # a sort for each batch would be quadratic
                best, pending = smallest(pa.concat_tables([best, pending]), self.budget), pending.slice(0, 0)
        with part.sink(candidates_path(part.index), CANDIDATES) as sink:
            sink.write(smallest(pa.concat_tables([best, pending]), self.budget))
        return {"groups": group_rows(totals)}


@dataclass(frozen=True)
class _Smallest:
    budget: int

    def __call__(self, table: pa.Table) -> pa.Table:
        return smallest(table, self.budget)


def _group_place(table: pa.Table) -> np.ndarray:
    """Partition of each row: that of its group."""
    codes = pc.binary_join_element_wise(table["source"], table["language"], "\0").combine_chunks().dictionary_encode()
    places = np.array([crc32(key.encode()) % PARTITIONS for key in codes.dictionary.to_pylist()], np.int64)
    return places[codes.indices.to_numpy()]


def build_candidates(pipeline: beam.Pipeline, output: str, tasks: str, budget: int) -> None:
    """The graph that finds, over all parts, the least hashes of every group."""
    (
        pipeline
        | ReadTasks(tasks)
        | "Candidates" >> MakeParts(output, f"{STAGE}/candidates", MakeCandidates(output, budget))
        | "Least hashes"
        >> CombineTables(output, CANDIDATES, _Smallest(budget), _group_place, candidates_path, chosen_path)
    )


class MakeSample:
    """What the part's documents give to the sample."""

    def __init__(self, output: str) -> None:
        self._output = output

    def setup(self) -> None:
        rows = orjson.loads(filesystem.read_bytes(filesystem.join(self._output, LIMITS)))
        self._limits = None if rows is None else from_json(rows)

    def __call__(self, spec: dict[str, Any], part: PartWriter) -> dict[str, Any]:
        totals: Counter[Group] = Counter()
        with part.sink(sample_path(part.index), SAMPLE, batch_bytes=8 << 20) as sink:
            for batch in kept_documents(self._output, part.index):
                rows, given = sampled(batch, self._limits)
                totals.update(given)
                sink.write(rows)
        return {"groups": group_rows(totals)}


def sample_batches(output: str, parts: int) -> Iterator[pa.RecordBatch]:
    """The sample (pipeline.words.sample.SAMPLE), in part order."""
    for part in range(parts):
        reader = filesystem.open_arrow(filesystem.join(output, sample_path(part)))
        for number in range(reader.num_record_batches):
            yield reader.get_batch(number)


def sample_texts(output: str, parts: int) -> Iterator[str]:
    """The sampled texts, in part order."""
    for batch in sample_batches(output, parts):
        yield from batch["text"].to_pylist()


def build_sample(pipeline: beam.Pipeline, output: str, tasks: str) -> None:
    """The graph that writes the sample."""
    pipeline | ReadTasks(tasks) | "Sample" >> MakeParts(output, f"{STAGE}/sample", MakeSample(output))
