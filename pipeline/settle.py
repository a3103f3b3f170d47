"""The single-node steps between jobs: what the driver decides from ids, hashes and counts. No text passes here."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.config import WordsConfig
from pipeline.io import filesystem
from pipeline.io.sink import ArrowSink
from pipeline.stages import count, encode
from pipeline.stages.parts import PartRecord
from pipeline.stages.tables import read_partitions
from pipeline.stages.vocabulary import load_tokenizer
from pipeline.words.curves import heaps, heaps_law, zipf
from pipeline.words.families import families
from pipeline.words.frequency import WORD_COUNTS, token_table, word_table
from pipeline.words.ngrams import ngram_table
from pipeline.words.notes import CANDIDATES
from pipeline.words.rare import rare_range, select_rare
from pipeline.words.sketch import exact_from
from schemas.arrow import NGRAM_FREQUENCY, TOKEN_FREQUENCY, WORD_FREQUENCY
from schemas.manifest import FileEntry


def _write(output: str, path: str, table: pa.Table, schema: pa.Schema) -> FileEntry:
    sink = ArrowSink(filesystem.join(output, path), schema)
    sink.write(table)
    sink.close()
    return sink.entry(path)


@dataclass(frozen=True)
class Frequencies:
    """What the count stage leaves behind."""

    files: tuple[FileEntry, ...]
    facts: dict[str, Any]


def write_frequencies(output: str, model: str, parts: Sequence[PartRecord], least: dict[str, int]) -> Frequencies:
    """frequency/tokens.arrow, words.arrow and, where they were counted, ngrams.arrow.

    `least`: kind -> occurrences from which it is listed.
    """
    tokenizer = load_tokenizer(model)
    totals = count.token_totals(output, len(parts), tokenizer.size)
    tokens = token_table(tokenizer, totals.count, totals.documents)
    entries = [_write(output, "frequency/tokens.arrow", tokens, TOKEN_FREQUENCY)]
    running = [sum(step) for step in zip(*(record.facts["running"] for record in parts), strict=True)]
    facts: dict[str, Any] = {"words": sum(running), "least": least, "listed": {}}
    for kind, fewest in least.items():
        merged = exact_from(read_partitions(output, count.combined(kind), WORD_COUNTS), fewest)
        facts["listed"][kind] = merged.num_rows
        if kind == "words":
            curve = heaps(merged, running) if fewest == 1 else []
            facts["heaps"], facts["heaps_law"] = curve, heaps_law(curve)
            table, schema = word_table(merged), WORD_FREQUENCY
            facts["zipf"] = zipf(table["count"].to_numpy())
        else:
            table, schema = ngram_table(merged), NGRAM_FREQUENCY
        entries.append(_write(output, f"frequency/{kind}.arrow", table, schema))
    return Frequencies(tuple(entries), facts)


def write_rare(output: str, config: WordsConfig, total_words: int) -> dict[str, Any]:
    """Chooses the rare words, and their families; returns facts: how many (`rare_words`), and why."""
    words = filesystem.open_arrow(filesystem.join(output, "frequency/words.arrow")).read_all()
    low, high = rare_range(config, total_words, words["count"].to_numpy())
    chosen = select_rare(words, low, high, config.rubbish)
    _write(output, encode.RARE, chosen.table, chosen.table.schema)
    facts = {"rare_words": chosen.table.num_rows, "rare_low": low, "rare_high": high}
    facts |= {"rare_excluded": chosen.excluded, "spelling_limits": chosen.spelling_limits}
    if config.families:
        family = families(chosen.table, config.stemmer)
        schema = pa.schema([pa.field("family", family.type, nullable=False)])
        _write(output, encode.FAMILIES, pa.table([family], schema=schema), schema)
    return facts


def note_coverage(output: str, rare: int, with_families: bool) -> dict[str, int]:
    """How many of the rare words have no window (they stand in held-out documents only), and how many of these have one
    through another form of the word."""
    has = np.zeros(rare, np.bool_)
    has[read_partitions(output, encode.CHOSEN, CANDIDATES)["word"].to_numpy()] = True
    facts = {"without_window": int(rare - has.sum())}
    if with_families:
        family = filesystem.open_arrow(filesystem.join(output, encode.FAMILIES)).read_all()["family"].to_pylist()
        facts["in_families"] = sum(bool(others) for others in family)
        facts["window_by_family"] = sum(any(has[others]) for others, own in zip(family, has, strict=True) if not own)
    return facts
