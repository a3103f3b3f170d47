"""Files of protected text (evaluation sets) to passages: every string of every record is one, normalised.

    plain text, TSV   one record a line, its fields apart (many sets have no header)
    CSV               one record a row behind the header, its fields
    JSON (lines)      one record a value, all strings in it; Parquet and Arrow: one record a row, all strings in it
    any other format  the text of each record, as `prepare` reads it

Nothing is left unprotected in silence: what cannot be read is an error.
"""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.config import InputConfig, PipelineConfig, ProtectConfig
from pipeline.dedup.normalize import normalise
from pipeline.dedup.shingles import SPACELESS
from pipeline.io import filesystem
from pipeline.io.decompress import ReadError, read_chunks
from pipeline.io.formats.encoding import decode_any, decode_marked
from pipeline.io.formats.names import chosen_format, compression_of
from pipeline.io.inputs import InputFile, list_inputs
from pipeline.io.read import read_records

_SPACELESS = re.compile("[" + "".join(f"{chr(low)}-{chr(high)}" for low, high in SPACELESS) + "]")
_LINES = frozenset({"text", "tsv"})
_WHOLE = _LINES | {"csv", "json", "jsonl"}
PASSAGES = pa.schema(
    [
        pa.field("item", pa.string(), nullable=False),
        pa.field("text", pa.large_string(), nullable=False),
        pa.field("items", pa.uint32(), nullable=False),
        pa.field("by_character", pa.bool_(), nullable=False),
    ]
)
"""Distinct passages: `Passage`, one a row."""


class ProtectError(ValueError):
    """A file given to `--protect` that cannot be used; the message names it and says why."""


@dataclass(frozen=True, slots=True)
class Passage:
    """One text of a protected item."""

    item: str
    """The first record that holds it: file, '#', position."""
    text: str
    """Normalised; without spaces where it is compared by characters."""
    items: int
    """Words, or characters."""
    by_character: bool
    """Mostly of scripts written without spaces."""


def passage_of(item: str, text: str) -> Passage:
    normalised = normalise(text)
    visible = normalised.replace(" ", "")
    if 2 * len(_SPACELESS.findall(normalised)) > len(visible):
        return Passage(item, visible, len(visible), True)
    return Passage(item, normalised, normalised.count(" ") + 1 if normalised else 0, False)


def protected_files(paths: Sequence[str], config: InputConfig) -> list[InputFile]:
    """The files of all `--protect` arguments; names as those of inputs. Raises InputError, ProtectError."""
    files = list_inputs(paths, config.formats) if paths else []
    for file in files:
        if file.problem is not None:
            raise ProtectError(f"--protect {file.path}: {file.problem.replace('_', ' ')}; leave it out, or mend it")
    return files


def with_files(config: PipelineConfig, files: Iterable[InputFile]) -> PipelineConfig:
    """The config with name and sha256 of each protected file. Raises ProtectError where it names others."""
    found = {file.relative: filesystem.digest(file.path) for file in files}
    named = config.protect.files
    if named and named != found:
        differing = sorted(name for name in named.keys() | found.keys() if named.get(name) != found.get(name))
        raise ProtectError(
            f"config: protect.files names other files than --protect gives, or they have changed: "
            f"{', '.join(differing[:5])}; give the same files, or leave protect.files out of the config"
        )
    return config.model_copy(update={"protect": config.protect.model_copy(update={"files": found})})


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from _strings(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _strings(part)


def _whole(file: InputFile, config: InputConfig) -> str:
    with closing(read_chunks(file.path, file.size, config)) as chunks:
        decoded = decode_marked(chunks)
        content = b"".join(decoded.chunks)
    return content.decode() if decoded.marked else decode_any(content)[0]


def _values(text: str, kind: str) -> Iterator[tuple[int, Any]]:
    """(position, value) of the records of a text; blank lines are none."""
    if kind == "csv":
        rows = csv.reader(io.StringIO(text, newline=""))
        yield from ((number, row) for number, row in enumerate(rows) if number and row)
        return
    if kind == "json":
        try:
            value = orjson.loads(text)
        except orjson.JSONDecodeError:
            kind = "jsonl"  # as `prepare` reads it
        else:
            yield from enumerate(value if isinstance(value, list) else [value], 1)
            return
    for number, line in enumerate(text.split("\n"), 1):
        if line and not line.isspace():
            yield number, line.split("\t") if kind in _LINES else orjson.loads(line)


def _rows(path: str, kind: str) -> Iterator[tuple[int, Any]]:
    position = 0
    if kind == "parquet":
        with pa.OSFile(path) as source:
            for batch in pq.ParquetFile(source).iter_batches():
                for row in batch.to_pylist():
                    yield (position := position + 1), row
        return
    reader = filesystem.open_arrow(path)
    for number in range(reader.num_record_batches):
        for row in reader.get_batch(number).to_pylist():
            yield (position := position + 1), row


def _records(file: InputFile, config: InputConfig) -> Iterator[tuple[str, list[str]]]:
    """(record, its strings)"""
    kind = chosen_format(file.relative, file.path, config.formats)
    if kind in _WHOLE:
        pairs = _values(_whole(file, config), kind)
    elif kind in ("parquet", "arrow") and compression_of(file.path) is None and not filesystem.is_url(file.path):
        pairs = _rows(file.path, kind)
    else:
        for record in read_records(file, config):
            name = f"{file.relative}/{record.member}" if record.member else file.relative
            if record.reason is not None:
                raise ProtectError(f"{name}#{record.position}: {record.reason}: {record.detail}")
            yield f"{name}#{record.position}", [record.text]
        return
    for position, value in pairs:
        yield f"{file.relative}#{position}", list(_strings(value))


def read_passages(
    files: Iterable[InputFile], config: InputConfig, protect: ProtectConfig
) -> tuple[list[Passage], dict[str, int]]:
    """Distinct passages that are long enough, in the order of the files, and counts: `items` (records), `passages`,
    `short_items` (records that hold none). Raises ProtectError naming the file."""
    passages: dict[tuple[str, bool], Passage] = {}
    items = short = 0
    for file in files:
        try:
            for name, texts in _records(file, config):
                items += 1
                found = [passage_of(name, text) for text in texts]
                least = (protect.min_words, protect.min_characters)
                good = [passage for passage in found if passage.items >= least[passage.by_character]]
                short += not good
                for passage in good:
                    passages.setdefault((passage.text, passage.by_character), passage)
        except (ReadError, OSError, ValueError, csv.Error, pa.ArrowException) as error:
            if isinstance(error, ProtectError):
                raise ProtectError(f"--protect {file.path}: {error}") from error
            raise ProtectError(f"--protect {file.path}: cannot be read: {error}") from error
    return list(passages.values()), {"items": items, "passages": len(passages), "short_items": short}


def passage_table(passages: Sequence[Passage]) -> pa.Table:
    columns = [[getattr(passage, name) for passage in passages] for name in PASSAGES.names]
    arrays = [pa.array(column, field.type) for column, field in zip(columns, PASSAGES, strict=True)]
    return pa.Table.from_arrays(arrays, schema=PASSAGES)


def passages_of(table: pa.Table) -> list[Passage]:
    columns = (table[name].to_pylist() for name in PASSAGES.names)
    return [Passage(*values) for values in zip(*columns, strict=True)]
