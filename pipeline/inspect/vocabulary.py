"""What a prepared corpus's vocabulary does to its text, and what other sizes would."""

import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from pydantic import ValidationError
from rich.console import Console
from rich.table import Column, Table

from pipeline.config import VocabularyConfig
from pipeline.inspect.rules import InspectError
from pipeline.report.vocabulary import vocabulary_quality
from pipeline.words.quality import measure, pieces
from pipeline.words.sample import SAMPLE
from pipeline.words.tokenizer import Tokenizer
from pipeline.words.vocabulary import VocabularyError, train_vocabulary
from schemas.manifest import read_manifest
from schemas.shard import open_shard

SAMPLE_PARTS = "stages/vocabulary/sample"


def read_sample(directory: Path) -> list[pa.RecordBatch]:
    """The text that the vocabulary was learnt from, as `prepare` left it. Raises InspectError where it is gone."""
    parts = sorted((directory / SAMPLE_PARTS).glob("*.arrow"))
    if not parts:
        raise InspectError(f"{directory / SAMPLE_PARTS}: no sample here; run `siliang-pipeline prepare` again")
    readers = [open_shard(part, SAMPLE) for part in parts]
    return [reader.get_batch(number) for reader in readers for number in range(reader.num_record_batches)]


def sizes_of(text: str) -> list[int]:
    """'4096,8192' as numbers, ascending. Raises InspectError."""
    try:
        return sorted({int(part) for part in text.replace("_", "").split(",")})
    except ValueError as error:
        raise InspectError(f"--compare {text!r}: give sizes like 4096,8192,16384") from error


def compare(directory: Path, sizes: Sequence[int]) -> Iterable[dict[str, Any]]:
    """One row for each size: what a vocabulary of that size, learnt from the same sample, makes of the sample.

    Everything but the size is as in the corpus's config. A size that cannot be learnt gives a row with `problem`.
    """
    stored = read_manifest(directory).config["vocabulary"]
    batches = read_sample(directory)
    for size in sizes:
        try:
            config = VocabularyConfig.model_validate({**stored, "size": size})
        except ValidationError as error:
            reason = error.errors()[0]["msg"].removeprefix("Value error, ")
            raise InspectError(f"--compare {size}: {reason}") from error
        with tempfile.TemporaryDirectory() as temporary:
            model = Path(temporary) / "siliang.model"
            texts = (text for batch in batches for text in batch["text"].to_pylist())
            try:
                trained = train_vocabulary(texts, model, config)
            except VocabularyError as error:
                yield {"wanted": size, "problem": str(error)}
                continue
            tokenizer = Tokenizer(model)
            measured = measure(tokenizer, batches)
            unused = pieces(tokenizer, measured.counts)["unused"]
        ratios = measured.total().ratios()
        yield {"wanted": size, "size": trained.size, **ratios, "unused": unused, "languages": measured.rows()}


_COLUMNS = ("characters_per_token", "bytes_per_token", "tokens_per_word", "byte_share", "unknown_share")


def _cell(name: str, value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.3%}" if name.endswith("_share") else f"{value:.3f}"


def _heading(name: str) -> str:
    return name.replace("_", " ").replace("byte share", "byte pieces").replace("unknown share", "unknown")


def render_comparison(rows: Iterable[dict[str, Any]], out: Console) -> None:
    table = Table(Column("size", no_wrap=True), *map(_heading, _COLUMNS), "unused pieces", box=None, pad_edge=False)
    problems = []
    for row in rows:
        if "problem" in row:
            problems.append(row["problem"])
            table.add_row(f"{row['wanted']:,}", *("-" for _ in (*_COLUMNS, "")))
            continue
        lowered = "" if row["size"] == row["wanted"] else f" (only {row['size']:,})"
        cells = [_cell(name, row[name]) for name in _COLUMNS]
        table.add_row(f"{row['wanted']:,}{lowered}", *cells, f"{row['unused']:,}")
    out.print(table)
    for problem in problems:
        out.print(problem, soft_wrap=True)


def render_quality(directory: Path, out: Console) -> None:
    """The tables of the report's section, for a terminal."""
    quality = vocabulary_quality(directory, read_manifest(directory))
    out.print(f"{quality['size']:,} pieces, {quality['pieces']['unused']:,} of them unused")
    table = Table("language", "bytes", *map(_heading, _COLUMNS), box=None, pad_edge=False)
    for row in quality["languages"]:
        table.add_row(row["language"], f"{row['bytes']:,}", *(_cell(name, row[name]) for name in _COLUMNS))
    out.print(table)
    bands = Table("a word that occurs", "words", "tokens per word", "one piece", "with bytes", box=None, pad_edge=False)
    for band in quality["fertility"]:
        occurs = f"{band['low']:,}" if band["low"] == band["high"] else f"{band['low']:,} to {band['high']:,}"
        shares = [f"{band[name]:.1%}" for name in ("whole", "with_bytes")]
        bands.add_row(f"{occurs} times", f"{band['words']:,}", f"{band['tokens_per_word']:.2f}", *shares)
    out.print(bands)
