"""Tab-separated values with a header line: a row is a line, a field is what stands between two tabs."""

from collections.abc import Iterator

from pipeline.config import InputConfig
from pipeline.io.formats.csv import Row, records_of_rows
from pipeline.io.formats.encoding import decode_marked
from pipeline.io.formats.lines import Line, read_lines
from pipeline.io.formats.record import Record


def read_tsv(chunks: Iterator[bytes], config: InputConfig) -> Iterator[Record]:
    """Position: ordinal of the row, without the header. Quotes and backslashes are text like any other (IANA
    text/tab-separated-values), so no field holds a tab or a newline; a file that quotes them is CSV and is read as such
    under the name .csv."""
    decoded = decode_marked(chunks)
    lines = read_lines(decoded.chunks, config.max_record_bytes, decoded.start)
    yield from records_of_rows(_rows(lines), config, decoded.repairs)


def _rows(lines: Iterator[Line]) -> Iterator[Row]:
    for line in lines:
        if line.error is not None or line.content.strip():
            text = line.content.removesuffix(b"\r").decode("utf-8", "surrogateescape")
            yield Row(text.split("\t"), line, line.content, line.error)
