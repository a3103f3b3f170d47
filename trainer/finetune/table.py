"""Labelled texts in files: TSV without quoting (GLUE's), CSV, JSON lines. Every error names file and line."""

import csv
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LARGEST_FIELD = 1 << 27
TABLES = (".tsv", ".csv", ".jsonl", ".ndjson", ".json")


class TableError(ValueError):
    """A file that cannot be read as a table. The message names file and line."""


@dataclass(frozen=True)
class Columns:
    """Names of a header or of JSON keys; or, all of them numbers from 1, places in a file without a header."""

    text: str
    text_b: str | None = None
    label: str | None = None

    @property
    def names(self) -> list[str]:
        return [name for name in (self.text, self.text_b, self.label) if name is not None]

    @property
    def numbered(self) -> bool:
        return all(name.isascii() and name.isdigit() and int(name) > 0 for name in self.names)


@dataclass(frozen=True)
class Row:
    """One example as it was read."""

    where: str
    """'FILE: line 7', for errors."""
    text: str | list[str]
    """A list where JSON gives one: words that are told apart already."""
    text_b: str | None = None
    label: str | list[str] | None = None


def read_rows(path: str | Path, columns: Columns, lines: Iterable[bytes] | None = None) -> Iterator[Row]:
    """Rows of a file in order, by the ending of its name; `lines` stand in for the file's content.

    Raises TableError where it cannot be opened, a row is ragged, a column is missing or a line is not UTF-8.
    """
    if lines is None:
        try:
            with open(path, "rb") as file:
                yield from read_rows(path, columns, file)
        except OSError as error:
            raise TableError(f"{path}: cannot be read ({error.strerror})") from error
        return
    suffix = Path(path).suffix.lower()
    if suffix in TABLES[2:]:
        yield from _json_rows(path, columns, _decoded(path, lines))
        return
    if suffix == ".csv":
        fields = _csv_fields(path, _decoded(path, lines, keep_blank=True))
    else:
        fields = ((number, line.split("\t")) for number, line in _decoded(path, lines))
    yield from _field_rows(path, columns, fields)


def read_lines(
    path: str | Path, pair: bool = False, lines: Iterable[bytes] | None = None, keep_blank: bool = True
) -> Iterator[Row]:
    """A row for each line of a plain text; of pairs, two texts with a tab between. `lines` stand in for the content.

    Raises TableError where it cannot be opened, a line is not UTF-8, or a pair is none.
    """
    if lines is None:
        try:
            with open(path, "rb") as file:
                yield from read_lines(path, pair, file, keep_blank)
        except OSError as error:
            raise TableError(f"{path}: cannot be read ({error.strerror})") from error
        return
    for number, line in enumerate(lines, 1):
        where = f"{path}: line {number:,}"
        try:
            whole = line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise TableError(f"{where}: not UTF-8 ({error.reason} at byte {error.start})") from error
        if not keep_blank and not whole.strip():
            continue
        first, tab, second = whole.partition("\t")
        if pair and (not tab or "\t" in second):
            raise TableError(f"{where}: a pair is two texts with one tab between them")
        yield Row(where, first, second) if pair else Row(where, whole)


def read_plain(path: Path, columns: Columns) -> Iterator[Row]:
    """Texts without labels: of a table, or of any other file its lines but blank ones, pairs with a tab between."""
    if path.suffix.lower() in TABLES:
        yield from read_rows(path, Columns(columns.text, columns.text_b))
    else:
        yield from read_lines(path, columns.text_b is not None, keep_blank=False)


def _decoded(path: str | Path, lines: Iterable[bytes], keep_blank: bool = False) -> Iterator[tuple[int, str]]:
    """(number, text) of the lines, without their ends. Blank lines at the end of the file are left out, elsewhere they
    are errors, unless they are kept: a quoted field of a CSV may hold some."""
    blank = 0
    for number, line in enumerate(lines, 1):
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise TableError(f"{path}: line {number:,}: not UTF-8 ({error.reason} at byte {error.start})") from error
        if not text and not keep_blank:
            blank = blank or number
            continue
        if blank:
            raise TableError(f"{path}: line {blank:,} is empty")
        yield number, text


def _csv_fields(path: str | Path, lines: Iterable[tuple[int, str]]) -> Iterator[tuple[int, list[str]]]:
    csv.field_size_limit(LARGEST_FIELD)
    reader = csv.reader((text + "\n" for _, text in lines), strict=True)
    first, blank = 1, 0
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise TableError(f"{path}: line {first:,}: not CSV ({error})") from error
        if row and blank:
            raise TableError(f"{path}: line {blank:,} is empty")
        if row:
            yield first, row
        else:
            blank = blank or first
        first = reader.line_num + 1


def _field_rows(path: str | Path, columns: Columns, rows: Iterable[tuple[int, list[str]]]) -> Iterator[Row]:
    places: list[int] | None = [int(name) - 1 for name in columns.names] if columns.numbered else None
    width = -1
    for number, fields in rows:
        if width < 0:
            width = len(fields)
            if places is None:
                places = _header(path, columns, fields)
                continue
            if max(places) >= width:
                raise TableError(f"{path}: line {number:,} has {width} fields; there is no column {max(places) + 1}")
        if len(fields) != width:
            raise TableError(f"{path}: line {number:,} has {len(fields)} fields, the first line has {width}")
        assert places is not None
        values = iter(fields[place] for place in places)
        yield Row(
            f"{path}: line {number:,}",
            next(values),
            next(values) if columns.text_b is not None else None,
            next(values) if columns.label is not None else None,
        )


def _header(path: str | Path, columns: Columns, fields: list[str]) -> list[int]:
    if missing := [name for name in columns.names if name not in fields]:
        raise TableError(
            f"{path}: no column '{missing[0]}'; the first line has {', '.join(fields)[:200]} "
            "(a file without a header: name columns by numbers from 1)"
        )
    if twice := [name for name in columns.names if fields.count(name) > 1]:
        raise TableError(f"{path}: the first line has column '{twice[0]}' twice")
    return [fields.index(name) for name in columns.names]


def _json_rows(path: str | Path, columns: Columns, lines: Iterable[tuple[int, str]]) -> Iterator[Row]:
    for number, line in lines:
        where = f"{path}: line {number:,}"
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise TableError(f"{where}: not JSON ({error})") from error
        if not isinstance(record, dict):
            raise TableError(f"{where}: not a JSON object")
        for name in columns.names:
            if name not in record:
                raise TableError(f"{where}: no key '{name}'; it has {', '.join(map(str, record))[:200]}")
        text = _json_value(where, columns.text, record[columns.text])
        text_b = None if columns.text_b is None else _json_value(where, columns.text_b, record[columns.text_b])
        if isinstance(text_b, list):
            raise TableError(f"{where}: key '{columns.text_b}' is a list; a second text is plain text")
        label = None if columns.label is None else _json_value(where, columns.label, record[columns.label])
        yield Row(where, text, text_b, label)


def _json_value(where: str, name: str, value: Any) -> str | list[str]:
    if isinstance(value, list):
        return [_json_scalar(where, name, item) for item in value]
    return _json_scalar(where, name, value)


def _json_scalar(where: str, name: str, value: Any) -> str:
    """Numbers and booleans as JSON writes them."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    raise TableError(f"{where}: key '{name}' is {'null' if value is None else type(value).__name__}, not text")
