"""CSV with a header line; quoted fields may hold newlines."""

import csv
from collections.abc import Iterator
from typing import NamedTuple

from pipeline.config import InputConfig
from pipeline.io.decompress import ReadError
from pipeline.io.formats.encoding import decode_marked
from pipeline.io.formats.lines import Line, read_lines
from pipeline.io.formats.record import Record, checked, decode, failed, missing_text, too_long

_DELIMITERS = ",;\t|"
_MOST_REREADS = 64
"""Stray quotes for which the lines behind them are read again. Each may cost `max_record_bytes` of parsing."""


def read_csv(chunks: Iterator[bytes], config: InputConfig) -> Iterator[Record]:
    """Position: ordinal of the row, without the header. Fields are separated by `,`, or by `;`, tab or `|` if only
    then the header names a text field.

    Of a quote that never closes only its line is lost. A row with more or fewer fields than the header is
    `invalid_csv`: its text cannot be told from its neighbours. Without a usable header nothing is read.
    """
    limit = config.max_record_bytes
    csv.field_size_limit(max(csv.field_size_limit(), limit + 1))
    decoded = decode_marked(chunks)
    lines = read_lines(decoded.chunks, limit, decoded.start)
    first = next((line for line in lines if line.error or line.content.strip()), None)
    if first is None:
        return
    rows = _rows(_Feeder(first, lines, limit), _delimiter(first, config.text_fields), limit)
    yield from records_of_rows(rows, config, decoded.repairs)


def records_of_rows(rows: Iterator["Row"], config: InputConfig, repairs: tuple[str, ...]) -> Iterator[Record]:
    """The first row is the header."""
    header = next(rows, None)
    if header is None:
        return
    if header.error is not None:
        yield failed(1, header.error, f"the header, {header.first.where}", header.raw)
        return
    names = [name.strip() for name in header.fields]
    column = next((names.index(field) for field in config.text_fields if field in names), None)
    for position, row in enumerate(rows, 1):
        where = f"row {position} from {row.first.where}"
        try:
            text = _text(row, names, column, config.text_fields)
        except ReadError as error:
            yield failed(position, error, where, row.raw)
        else:
            yield checked(position, text, where, config.max_record_bytes, repairs)


class Row(NamedTuple):
    fields: list[str]
    first: Line
    raw: bytes
    error: ReadError | None


def _text(row: Row, names: list[str], column: int | None, wanted: tuple[str, ...]) -> str:
    if row.error is not None:
        raise row.error
    if column is None:
        raise missing_text(names, wanted)
    if len(row.fields) != len(names):
        raise ReadError("invalid_csv", f"{len(row.fields)} fields where the header has {len(names)}")
    text = row.fields[column]
    try:
        text.encode()
    except UnicodeEncodeError:
        decode(row.raw, row.first.offset)
    return text


def _delimiter(first: Line, wanted: tuple[str, ...]) -> str:
    text = first.content.decode("utf-8", "surrogateescape")
    for delimiter in _DELIMITERS:
        try:
            names = next(csv.reader([text], delimiter=delimiter), [])
        except csv.Error:
            continue
        if any(name.strip() in wanted for name in names):
            return delimiter
    return ","


class _Feeder:
    """Lines for csv.reader; remembers those of the row that is being read."""

    def __init__(self, first: Line, lines: Iterator[Line], limit: int) -> None:
        self._lines = lines
        self._again = [first]  # to be read before the others, the next one last
        self._limit = limit
        self.begin()

    def begin(self) -> None:
        self.taken: list[Line] = []
        self._size = -1
        self.open_at_end = False

    def give_back(self) -> None:
        """All lines of the row but the first are to be read again."""
        self._again.extend(reversed(self.taken[1:]))
        del self.taken[1:]

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._again.pop() if self._again else next(self._lines, None)
        if line is None:
            self.open_at_end = bool(self.taken)
            raise StopIteration
        self.taken.append(line)
        self._size += len(line.content) + 1
        if line.error is not None:
            raise line.error
        if self._size > self._limit:
            raise ReadError("record_too_long", too_long(self._size, self._limit, "the row, as far as it was read"))
        return line.content.decode("utf-8", "surrogateescape") + "\n"


def _rows(feeder: _Feeder, delimiter: str, limit: int) -> Iterator[Row]:
    # surrogateescape carries invalid bytes through csv. An error raised by the feeder leaves the reader at the
    # beginning of a row.
    reader = csv.reader(feeder, delimiter=delimiter)
    rereads = 0
    while True:
        feeder.begin()
        fields: list[str] = []
        error: ReadError | None = None
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as caught:
            error = ReadError("invalid_csv", str(caught))
        except ReadError as caught:
            error = caught
        runaway = feeder.open_at_end or (
            error is not None and error.reason == "record_too_long" and len(feeder.taken) > 1
        )
        if runaway and rereads < _MOST_REREADS:
            rereads += 1
            feeder.give_back()
            error = ReadError("invalid_csv", "a quote opens that does not close")
        taken = feeder.taken
        if error is None and len(taken) == 1 and not taken[0].content.strip():
            continue
        yield Row(fields, taken[0], b"\n".join(line.content for line in taken)[:limit], error)
