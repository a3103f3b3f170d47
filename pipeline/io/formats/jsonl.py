"""JSON lines: one object or string a line; blank lines are no records."""

from collections.abc import Iterable, Iterator

from pipeline.config import InputConfig
from pipeline.io.formats.encoding import decode_marked
from pipeline.io.formats.json_value import read_value
from pipeline.io.formats.lines import Line, read_lines
from pipeline.io.formats.record import Record, failed


def read_jsonl(chunks: Iterator[bytes], config: InputConfig) -> Iterator[Record]:
    """Lines longer than `max_record_bytes` are quarantined; the lines behind them are used."""
    decoded = decode_marked(chunks)
    lines = read_lines(decoded.chunks, config.max_record_bytes, decoded.start)
    yield from records_of_lines(lines, config, decoded.repairs)


def read_jsonl_span(chunks: Iterator[bytes], start: int, line: int, config: InputConfig) -> Iterator[Record]:
    """The records of a range of whole lines, with the positions and offsets that they have in the whole file."""
    if start == 0:
        yield from read_jsonl(chunks, config)
    else:
        yield from records_of_lines(read_lines(chunks, config.max_record_bytes, start, line), config, ())


def records_of_lines(lines: Iterable[Line], config: InputConfig, repairs: tuple[str, ...]) -> Iterator[Record]:
    for line in lines:
        if line.error is not None:
            yield failed(line.number, line.error, line.where, line.content)
        elif line.content and not line.content.isspace():
            yield read_value(line.number, line.content, line.offset, line.where, config, repairs)
