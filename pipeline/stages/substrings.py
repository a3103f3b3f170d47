"""Runs of words that kept documents share are cut from the later ones; off by default.

    fingerprints   kept documents --winnowing--> (hash, order, ref, word), by hash partition
    meetings       one partition's equal hashes --> (later document, earlier document, where), by part of the later
    cut            both read back, the run compared word by word --> whole sentences and lines inside it are cut

Between jobs only fingerprints and places travel. It runs between the decisions of `deduplicate` and its audit. Words
that are cut always stand in a document that comes before in the total order, and in the first of all they stay.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.config import PipelineConfig
from pipeline.dedup.normalize import normalise_batch
from pipeline.dedup.protect import units_of, without_units
from pipeline.dedup.refs import parts_of, refs_of_part, rows_of
from pipeline.dedup.winnow import Words, shared_runs, winnow
from pipeline.io import filesystem
from pipeline.stages.candidates import order_of
from pipeline.stages.chain import Step
from pipeline.stages.deduplicate import decisions_path
from pipeline.stages.documents import (
    CUT_AUDIT,
    CUT_TEXTS,
    cut_audit_path,
    cut_texts_path,
    document_batches,
    emptied_rows,
    signature_table,
)
from pipeline.stages.exchange import read_cut, write_cut
from pipeline.stages.parts import MakePart, PartRecord, PartWriter, Task, digest_of
from schemas.arrow import numpy_name

STAGE = "substrings"

FINGERPRINTS = pa.schema(
    [
        pa.field("hash", pa.uint64(), nullable=False),
        pa.field("order", pa.uint64(), nullable=False),
        pa.field("ref", pa.uint64(), nullable=False),
        pa.field("word", pa.uint32(), nullable=False),
    ]
)
MEETINGS = pa.schema(
    [
        pa.field("ref", pa.uint64(), nullable=False),
        pa.field("word", pa.uint32(), nullable=False),
        pa.field("earlier", pa.uint64(), nullable=False),
        pa.field("earlier_word", pa.uint32(), nullable=False),
    ]
)
"""A k-gram that stands in two documents: where, in words; `earlier` comes before in the total order."""
TOLD = CUT_AUDIT.append(pa.field("detail", pa.string(), nullable=False))


def fingerprints_path(part: int) -> str:
    return f"stages/{STAGE}/fingerprints/{part:05d}.arrow"


def meetings_path(place: int) -> str:
    return f"stages/{STAGE}/meetings/{place:05d}.arrow"


def meet(
    value: np.ndarray, order: np.ndarray, ref: np.ndarray, word: np.ndarray, cap: int
) -> tuple[list[np.ndarray], int]:
    """The columns of MEETINGS for all equal hashes, and how many hashes stood in more places than `cap`.

    Each place of a hash meets all that come before it in the total order; in more than `cap` places the first cap / 2
    and the previous cap / 2. Places in one document do not meet.
    """
    by = np.lexsort((word, ref, order, value))
    value, ref, word = value[by], ref[by], word[by]
    first = np.flatnonzero(np.r_[True, value[1:] != value[:-1]]) if len(value) else np.empty(0, np.int64)
    sizes = np.diff(np.append(first, len(value)))
    start = np.repeat(first, sizes)
    rank = np.arange(len(value)) - start
    overfull = np.repeat(sizes > cap, sizes)
    later, earlier = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for back in range(1, cap):
        near = np.flatnonzero((rank >= back) & (~overfull | (back <= cap // 2)))
        later.append(near)
        earlier.append(near - back)
    for ahead in range(cap // 2):
        far = np.flatnonzero(overfull & (rank - ahead > cap // 2))
        later.append(far)
        earlier.append(start[far] + ahead)
    one, other = np.concatenate(later), np.concatenate(earlier)
    differ = ref[one] != ref[other]
    one, other = one[differ], other[differ]
    return [ref[one], word[one], ref[other], word[other]], int((sizes > cap).sum())


def _kept_rows(output: str, part: int, rows: int) -> np.ndarray:
    dropped = filesystem.open_arrow(filesystem.join(output, decisions_path(part))).read_all()["row"].to_numpy()
    return np.setdiff1d(np.arange(rows), np.union1d(dropped, emptied_rows(output, part)))


def _texts(output: str, part: int, rows: np.ndarray) -> Iterator[tuple[np.ndarray, pa.RecordBatch]]:
    """(places in `rows`, their documents) of ascending rows of a part, batch by batch."""
    start = 0
    for batch in document_batches(output, part) if len(rows) else ():
        low, high = np.searchsorted(rows, [start, start + batch.num_rows])
        if low < high:
            yield np.arange(low, high), batch.take(pa.array(rows[low:high] - start))
        start += batch.num_rows


@dataclass(frozen=True)
class MakeFingerprints:
    output: str
    config: PipelineConfig

    def __call__(self, spec: dict[str, Any], part: PartWriter) -> dict[str, Any]:
        signed = signature_table(self.output, part.index)
        order = order_of(signed, part.index)
        refs = refs_of_part(part.index, signed.num_rows)
        kept = _kept_rows(self.output, part.index, signed.num_rows)
        columns: list[list[np.ndarray]] = [[np.empty(0, numpy_name(field.type))] for field in FINGERPRINTS]
        for places, batch in _texts(self.output, part.index, kept):
            document, word, value = winnow(normalise_batch(batch["text"]), self.config.substrings.min_words)
            row = kept[places[document]]
            for column, values in zip(columns, (value, order[row], refs[row], word.astype(np.uint32)), strict=True):
                column.append(values)
        arrays = [np.concatenate(column) for column in columns]
        partitions = self.config.deduplicate.partitions
        cut = (arrays[0] % np.uint64(partitions)).astype(np.int64)
        write_cut(part, fingerprints_path(part.index), FINGERPRINTS, arrays, cut, partitions)
        return {"fingerprints": len(cut)}


@dataclass(frozen=True)
class MakeMeetings:
    output: str
    parts: int
    cap: int

    def __call__(self, spec: dict[str, Any], part: PartWriter) -> dict[str, Any]:
        paths = [fingerprints_path(number) for number in range(self.parts)]
        value, order, ref, word = read_cut(self.output, paths, part.index, FINGERPRINTS)
        columns, overfull = meet(value, order, ref, word, self.cap)
        write_cut(part, meetings_path(part.index), MEETINGS, columns, parts_of(columns[0]), self.parts)
        return {"meetings": len(columns[0]), "overfull": overfull}


@dataclass(frozen=True)
class MakeCuts:
    """A part's documents without the sentences and lines that lie in a shared run as a whole."""

    output: str
    config: PipelineConfig

    def __call__(self, spec: dict[str, Any], part: PartWriter) -> dict[str, Any]:
        paths = [meetings_path(place) for place in range(self.config.deduplicate.partitions)]
        columns = read_cut(self.output, paths, part.index, MEETINGS)
        rows = np.unique(rows_of(columns[0]))
        batches = [batch for _, batch in _texts(self.output, part.index, rows)]
        texts = [text for batch in batches for text in batch["text"].to_pylist()]
        words = Words(normalise_batch(pa.array(texts, pa.large_string())))
        runs = self._runs(columns, rows, words)
        cut: list[tuple[int, str, int, int, str]] = []
        for place, row in enumerate(rows.tolist()):
            text, units, detail = self._without(texts[place], runs.get(place, []), words.count(place))
            if units:
                cut.append((row, text, units, len(texts[place]) - len(text), detail))
        columns_of = list(zip(*cut, strict=True)) if cut else [(), (), (), (), ()]
        row_column, text_column, unit_column, gone, details = columns_of
        with part.sink(cut_texts_path(STAGE, part.index), CUT_TEXTS, batch_bytes=8 << 20) as sink:
            arrays = [pa.array(row_column, pa.uint32()), pa.array(text_column, pa.string())]
            sink.write(pa.table(arrays, schema=CUT_TEXTS))
        left = [len(text) for text in text_column]
        told = [row_column, unit_column, gone, left, details]
        with part.sink(cut_audit_path(STAGE, part.index), TOLD) as sink:
            arrays = [pa.array(values, field.type) for values, field in zip(told, TOLD, strict=True)]
            sink.write(pa.table(arrays, schema=TOLD))
        return {"documents": len(cut), "characters": sum(gone), "emptied": left.count(0)}

    def _runs(self, columns: list[np.ndarray], rows: np.ndarray, words: Words) -> dict[int, list[tuple[int, int, str]]]:
        """Place of a document in `rows` -> shared runs: begin and end in words, record of the other document."""
        ref, word, earlier, earlier_word = columns
        out: dict[int, list[tuple[int, int, str]]] = {}
        diagonal = word.astype(np.int64) - earlier_word
        by = np.lexsort((word, diagonal, earlier, ref))
        ref, word, earlier, earlier_word = (column[by] for column in columns)
        other_part = parts_of(earlier)
        for number in np.unique(other_part).tolist():
            mine = other_part == number
            others = np.unique(rows_of(earlier[mine]))
            batches = [batch for _, batch in _texts(self.output, number, others)]
            records = [record for batch in batches for record in batch["record"].to_pylist()]
            texts = pa.concat_arrays([batch["text"] for batch in batches])
            place = np.searchsorted(rows, rows_of(ref[mine]))
            other = np.searchsorted(others, rows_of(earlier[mine]))
            right = Words(normalise_batch(texts))
            i, j = word[mine].astype(np.int64), earlier_word[mine].astype(np.int64)
            begin, end = shared_runs(words, right, place, other, i, j)
            long = end - begin >= self.config.substrings.min_words
            found = np.unique(np.stack([place[long], begin[long], end[long], other[long]], axis=1), axis=0)
            for at, low, high, which in found.tolist():
                out.setdefault(at, []).append((low, high, records[which]))
        return out

    def _without(self, text: str, runs: list[tuple[int, int, str]], words: int) -> tuple[str, int, str]:
        """(text, units cut, what the audit says)"""
        units = units_of(text)
        count = [len(unit.split()) for unit in normalise_batch(pa.array(units, pa.string())).to_pylist()]
        ends = np.cumsum(np.array(count, np.int64))
        if not runs or ends[-1] != words:
            return text, 0, ""
        starts = ends - count
        gone = np.zeros(len(units), np.bool_)
        shared: Counter[str] = Counter()
        for low, high, record in runs:
            inside = (starts >= low) & (ends <= high) & (ends > starts) & ~gone
            gone |= inside
            shared[record] += int((ends - starts)[inside].sum())
        if not gone.any():
            return text, 0, ""
        named = sorted(((size, record) for record, size in shared.items() if size), key=lambda one: (-one[0], one[1]))
        more = f" and {len(named) - 1} more" if len(named) > 1 else ""
        said = f"{sum(shared.values()):,} words shared with {named[0][1]}{more} cut"
        left = without_units(units, gone)
        return (left if normalise_batch(pa.array([left]))[0].as_py() else ""), int(gone.sum()), said


def steps_of(output: str, config: PipelineConfig, documents: dict[int, int], fingerprint: str) -> list[Step]:
    """The stage's steps. documents: part (0, 1, ... of this run) -> how many documents it holds."""

    def step(kind: str, indices: list[int], make: MakePart) -> Step:
        tasks = [Task(i, {}, digest_of(fingerprint, STAGE, kind, i), documents.get(i, 0)) for i in indices]
        return Step(f"{STAGE}/{kind}", tuple(tasks), make)

    parts, places = sorted(documents), list(range(config.deduplicate.partitions))
    return [
        step("fingerprints", parts, MakeFingerprints(output, config)),
        step("meetings", places, MakeMeetings(output, len(parts), config.deduplicate.bucket_cap)),
        step("cut", parts, MakeCuts(output, config)),
    ]


def facts_of(made: dict[str, list[PartRecord]]) -> dict[str, int]:
    """What the report says of the stage."""
    cut, meetings = made[f"{STAGE}/cut"], made[f"{STAGE}/meetings"]
    facts = {f"substring_{name}": sum(r.facts[name] for r in cut) for name in ("documents", "characters", "emptied")}
    return {**facts, "substring_overfull": sum(record.facts["overfull"] for record in meetings)}
