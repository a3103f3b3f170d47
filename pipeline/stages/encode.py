"""Stage 5, encode: token parts -> train and valid shards with rare-word spans, and the context notes.

token batches --> rare-word spans --> shards
                                  --> candidates (train only) --combine: k best by hash--> chosen
shards + chosen --> windows (cut where the tokens lie) --> notes
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.dedup.refs import refs_of_part
from pipeline.io import filesystem
from pipeline.stages.count import tokens_path
from pipeline.stages.parts import MakeParts, PartWriter, ReadTasks
from pipeline.stages.tables import CombineTables, read_partitions
from pipeline.stages.vocabulary import load_tokenizer
from pipeline.words.notes import CANDIDATES, best_candidates, cut_windows, note_candidates, notes_table, windows_schema
from pipeline.words.rare import RareWords, rare_spans
from pipeline.words.spans import word_spans
from pipeline.words.tokenizer import Encoded
from schemas.arrow import example, note

STAGE = "encode"
VERSION = 2
RARE = f"stages/{STAGE}/rare.arrow"
FAMILIES = f"stages/{STAGE}/families.arrow"
"""One row per rare word, where families are asked for."""
CHOSEN = f"stages/{STAGE}/chosen"
PARTITION_WORDS = 1 << 14
"""Rare words in one partition of the candidates and in one notes file."""


def candidates_path(shard: int) -> str:
    return f"stages/{STAGE}/candidates/{shard:05d}.arrow"


def chosen_path(partition: int) -> str:
    return f"{CHOSEN}/{partition:05d}.arrow"


def windows_path(shard: int) -> str:
    return f"stages/{STAGE}/windows/{shard:05d}.arrow"


def plan_shards(batches: list[list[list[int]]], shard_tokens: int) -> list[list[list[int]]]:
    """Cuts the parts' batches, in order, into shards of equal size, about `shard_tokens`.

    `batches`: per part its [rows, tokens] per batch. Returns per shard a list of [part, first batch, end batch].
    """
    total = sum(tokens for sizes in batches for _, tokens in sizes)
    wanted = max(1, (2 * total + shard_tokens) // (2 * shard_tokens))
    shards: dict[int, list[list[int]]] = {}
    before = 0
    for part, sizes in enumerate(batches):
        for number, (_, tokens) in enumerate(sizes):
            # A batch goes where its middle lies.
            shard = min((2 * before + tokens) * wanted // max(2 * total, 1), wanted - 1)
            ranges = shards.setdefault(shard, [])
            if ranges and ranges[-1][0] == part:
                ranges[-1][2] = number + 1
            else:
                ranges.append([part, number, number + 1])
            before += tokens
    return list(shards.values())


def _token_batches(output: str, split: str, group: int, ranges: list[list[int]]) -> Iterator[pa.RecordBatch]:
    for part, first, end in ranges:
        reader = filesystem.open_arrow(filesystem.join(output, tokens_path(split, part, group)))
        for number in range(first, end):
            yield reader.get_batch(number)


class MakeShard:
    """Writes one shard; of a train shard also the k best note candidates."""

    def __init__(self, output: str, model: str, contexts: int) -> None:
        self._output = output
        self._model = model
        self._contexts = contexts

    def setup(self) -> None:
        self._tokenizer = load_tokenizer(self._model)
        self._rare = RareWords(filesystem.open_arrow(filesystem.join(self._output, RARE)).read_all())

    def __call__(self, spec: dict[str, Any], part: PartWriter) -> dict[str, Any]:
        schema = example(self._tokenizer.size)
        best = CANDIDATES.empty_table()
        tokens = 0
        with part.sink(spec["path"], schema, compressed=False) as sink:
            for batch in _token_batches(self._output, spec["split"], spec["group"], spec["ranges"]):
                encoded = Encoded.from_arrow(batch["tokens"])
                spans = word_spans(encoded, self._tokenizer.piece_kinds)
                rare = rare_spans(self._tokenizer, encoded, spans, self._rare)
                if spec["split"] == "train":
                    refs = refs_of_part(spec["shard"], sink.rows + batch.num_rows)[sink.rows :]
                    found = note_candidates(rare, encoded, batch["doc_id"], refs, self._contexts)
                    best = best_candidates(pa.concat_tables([best, found]), self._contexts)
                sink.write(pa.table([batch["doc_id"], batch["tokens"], rare.to_arrow()], schema=schema))
                tokens += len(encoded.ids)
        part.count_tokens(spec["path"], tokens)
        if spec["split"] == "train":
            with part.sink(candidates_path(part.index), CANDIDATES) as candidates:
                candidates.write(best)
        return {"split": spec["split"]}


@dataclass(frozen=True)
class _Best:
    contexts: int

    def __call__(self, candidates: pa.Table) -> pa.Table:
        return best_candidates(candidates, self.contexts)


def _word_place(candidates: pa.Table) -> np.ndarray:
    return candidates["word"].to_numpy().astype(np.int64) // PARTITION_WORDS


def build_shards(pipeline: beam.Pipeline, output: str, tasks: str, model: str, contexts: int) -> None:
    """The graph that writes the shards and chooses the notes' contexts."""
    (
        pipeline
        | ReadTasks(tasks)
        | "Shards" >> MakeParts(output, f"{STAGE}/shards", MakeShard(output, model, contexts))
        | "Contexts" >> CombineTables(output, CANDIDATES, _Best(contexts), _word_place, candidates_path, chosen_path)
    )


@dataclass(frozen=True)
class MakeWindows:
    """Cuts the chosen windows that lie in one train shard."""

    output: str
    vocabulary_size: int
    half_window: int

    def __call__(self, spec: dict[str, Any], part: PartWriter) -> dict[str, Any]:
        chosen = read_partitions(self.output, CHOSEN, CANDIDATES)
        low, high = refs_of_part(spec["shard"], 1)[0], refs_of_part(spec["shard"] + 1, 1)[0]
        here = pc.and_(
            pc.greater_equal(chosen["ref"], pa.scalar(low, pa.uint64())),
            pc.less(chosen["ref"], pa.scalar(high, pa.uint64())),
        )
        wanted = chosen.filter(here).sort_by([("ref", "ascending"), ("word", "ascending"), ("start", "ascending")])
        refs = wanted["ref"].to_numpy()
        reader = filesystem.open_arrow(filesystem.join(self.output, spec["path"]))
        start = 0
        with part.sink(windows_path(part.index), windows_schema(self.vocabulary_size)) as sink:
            for number in range(reader.num_record_batches):
                batch = reader.get_batch(number)
                batch_refs = refs_of_part(spec["shard"], start + batch.num_rows)[start:]
                first, end = np.searchsorted(refs, [batch_refs[0], batch_refs[-1] + np.uint64(1)])
                if first < end:
                    encoded = Encoded.from_arrow(batch["tokens"])
                    rows = wanted.slice(first, end - first)
                    sink.write(cut_windows(rows, encoded, batch["doc_id"], batch_refs, self.half_window))
                start += batch.num_rows
        return {}


@dataclass(frozen=True)
class MakeNotes:
    """Writes one notes file: a range of rare words with the windows of every shard."""

    output: str
    vocabulary_size: int

    def __call__(self, spec: dict[str, Any], part: PartWriter) -> dict[str, Any]:
        first, end = spec["first"], spec["end"]
        rare = filesystem.open_arrow(filesystem.join(self.output, RARE)).read_all().slice(first, end - first)
        family = None
        if spec["families"]:
            table = filesystem.open_arrow(filesystem.join(self.output, FAMILIES)).read_all()
            family = table["family"].slice(first, end - first)
        windows = [windows_schema(self.vocabulary_size).empty_table()]
        for shard in range(spec["shards"]):
            table = filesystem.open_arrow(filesystem.join(self.output, windows_path(shard))).read_all()
            word = table["word"].to_numpy()
            windows.append(table.filter(pa.array((word >= first) & (word < end))))
        with part.sink(spec["path"], note(self.vocabulary_size)) as sink:
            sink.write(notes_table(rare, pa.concat_tables(windows), self.vocabulary_size, family))
        return {}


def build_windows(pipeline: beam.Pipeline, output: str, tasks: str, vocabulary_size: int, half_window: int) -> None:
    """The graph that cuts the windows, shard by shard."""
    make = MakeWindows(output, vocabulary_size, half_window)
    pipeline | ReadTasks(tasks) | "Windows" >> MakeParts(output, f"{STAGE}/windows", make)


def build_notes(pipeline: beam.Pipeline, output: str, tasks: str, vocabulary_size: int) -> None:
    """The graph that writes the notes files."""
    pipeline | ReadTasks(tasks) | "Notes" >> MakeParts(output, f"{STAGE}/notes", MakeNotes(output, vocabulary_size))
