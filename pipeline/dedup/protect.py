"""Decontamination: kept documents that share an n-gram with a protected item are dropped, or cut where they do.

"Language Models are Few-Shot Learners" (Brown et al. 2020, appendix C) drops by 13-grams; the n-grams here are compared
word by word, so that no document goes for the collision of a hash.
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.config import PipelineConfig, ProtectConfig
from pipeline.dedup.normalize import normalise_batch
from pipeline.dedup.protect_index import Hits, ProtectIndex
from pipeline.dedup.protect_passages import PASSAGES, passage_table, passages_of, read_passages
from pipeline.io import filesystem
from pipeline.io.inputs import InputFile
from pipeline.io.sink import ArrowSink
from pipeline.records import with_columns

RULE = "protected"
"""Rule and kind of dropped documents in the audit, and the repair of cut ones."""
PATH = "stages/clean/protect.arrow"
"""The passages of a run, see `protect_passages.PASSAGES`."""
SHOWN_WORDS, SHOWN_CHARACTERS = 8, 24

_UNIT = re.compile(r"""\n|[.!?…؟۔।]["'”’»)\]]*\s+|[。！？｡]["'”’」』）]*\s*""")
_LETTER = re.compile(r"[^\W_]")
_TRAILING = re.compile(r"[ \t]+\n")
_GAP = re.compile(r"\n{3,}")


def write_passages(output: str, files: Iterable[InputFile], config: PipelineConfig) -> dict[str, int]:
    """Stores the passages of the protected files for all workers; returns the counts of `read_passages`."""
    passages, counts = read_passages(files, config.input, config.protect)
    sink = ArrowSink(filesystem.join(output, PATH), PASSAGES)
    sink.write(passage_table(passages))
    sink.close()
    return counts


@lru_cache(maxsize=1)
def load_index(output: str, config: str) -> ProtectIndex:
    """The index of a run's protected passages, made once in a process. config: its section `protect` as JSON."""
    table = filesystem.open_arrow(filesystem.join(output, PATH)).read_all()
    return ProtectIndex(passages_of(table), ProtectConfig.model_validate_json(config))


def units_of(text: str) -> list[str]:
    """Sentences and lines, with what parts them; joined they are the text."""
    ends = [match.end() for match in _UNIT.finditer(text)]
    bounds = [0, *ends, len(text)]
    return [text[start:end] for start, end in pairwise(bounds) if end > start]


def without_units(units: list[str], gone: np.ndarray) -> str:
    """The text without some of its units (bool [units]); gaps are closed up to one blank line."""
    left: list[str] = []
    for unit, cut in zip(units, gone.tolist(), strict=True):
        if not cut:
            left.append(unit)
        elif left and not left[-1].endswith("\n"):
            # The line feeds behind a cut last sentence of a line stay.
            left.append("\n" * unit[len(unit.rstrip()) :].count("\n"))
    return _GAP.sub("\n\n", _TRAILING.sub("\n", "".join(left))).strip()


def without_protected(text: str, index: ProtectIndex) -> tuple[str, int]:
    """The text without the sentences that hold a shared n-gram, and how many they were. What then stands together may
    share one anew, so it is looked at again."""
    cut = 0
    while True:
        units = units_of(text)
        normalised = [unit.encode() for unit in normalise_batch(pa.array(units, pa.string())).to_pylist()]
        starts, at, joined = np.zeros(len(units), np.int64), 0, []
        for number, unit in enumerate(normalised):
            starts[number] = at
            if unit:
                joined.append(unit)
                at += len(unit) + 1
        hits = index.find(pa.array([b" ".join(joined).decode()], pa.large_string()), first_only=False)
        if not len(hits.start):
            return text, cut
        stops = starts + [len(unit) for unit in normalised]
        gone = np.zeros(len(units) + 1, np.int64)
        # Units that overlap [start, stop): those before the stop, from the first whose end lies behind the start.
        np.add.at(gone, np.searchsorted(stops, hits.start, side="right"), 1)
        np.add.at(gone, np.searchsorted(starts, hits.stop, side="left"), -1)
        holds = (np.cumsum(gone)[:-1] > 0) & (stops > starts)
        cut += int(holds.sum())
        text = without_units(units, holds)


def explain(normalised: str, hits: Hits, hit: int, index: ProtectIndex) -> str:
    """For people: which words, how many in a row, and which item."""
    passage = index.passages[int(hits.passage[hit])]
    here = normalised.encode()[int(hits.start[hit]) :].decode()
    there = passage.text.encode()[int(hits.origin[hit]) :].decode()
    if passage.by_character:
        here, unit, shown, by = here.replace(" ", ""), "characters", SHOWN_CHARACTERS, ""
        run = _common(list(here[: len(there)]), list(there))
    else:
        unit, shown, by = "words", SHOWN_WORDS, " "
        run = _common(here.split(" ", there.count(" ") + 1), there.split(" "))
    quoted = by.join(run[:shown]) + (f"{by}..." if len(run) > shown else "")
    return f"shares '{quoted}' ({len(run)} {unit}) with {passage.item}"


def _common(left: list[str], right: list[str]) -> list[str]:
    same = 0
    while same < min(len(left), len(right)) and left[same] == right[same]:
        same += 1
    return left[:same]


def protect(batch: pa.RecordBatch, index: ProtectIndex | None, config: ProtectConfig) -> pa.RecordBatch:
    """Kept rows that share an n-gram with a protected passage are filtered by `protected`, or, with `action = "cut"`,
    lose the sentences that hold one; `detail` names the item. Without an index nothing is done."""
    if index is None or not len(index):
        return batch
    rows = np.flatnonzero(pc.equal(batch["verdict"], "kept").to_numpy(zero_copy_only=False))
    texts = batch["text"].take(pa.array(rows))
    normalised = normalise_batch(texts)
    hits = index.find(normalised)
    if not len(hits.document):
        return batch
    names = ("text", "verdict", "rule", "detail", "repairs")
    columns = {name: batch[name].to_pylist() for name in names}
    for hit, document in enumerate(hits.document.tolist()):
        row = int(rows[document])
        said = explain(normalised[document].as_py(), hits, hit, index)
        text, cut = without_protected(columns["text"][row], index) if config.action == "cut" else ("", 0)
        if _LETTER.search(text):
            said = f"{cut} sentence{'s' * (cut > 1)} cut: {said}"
            columns["text"][row] = text
            columns["repairs"][row] = [*columns["repairs"][row], RULE]
        else:
            columns["verdict"][row] = "filtered"
            columns["rule"][row] = RULE
        before = columns["detail"][row]
        columns["detail"][row] = f"{before}; {said}" if before else said
    return with_columns(batch, {name: pa.array(columns[name], batch[name].type) for name in names})
