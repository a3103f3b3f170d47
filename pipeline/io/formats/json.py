"""JSON documents: an array of objects or strings, one object, or JSON lines under the name .json."""

import itertools
from collections.abc import Iterator

import orjson

from pipeline.config import InputConfig
from pipeline.io.formats.encoding import decode_marked, peek
from pipeline.io.formats.json_array import read_elements
from pipeline.io.formats.json_value import read_value
from pipeline.io.formats.jsonl import records_of_lines
from pipeline.io.formats.lines import Line, read_lines
from pipeline.io.formats.record import Record, failed, quarantined, too_long

_HEAD = 1 << 16
"""Bytes, at least, in which the first value is looked for."""


def read_json(chunks: Iterator[bytes], config: InputConfig) -> Iterator[Record]:
    """Arrays stream element by element, so a file of any size needs the memory of one element. An element, and a
    document that is one object, is bounded by `max_record_bytes`. A first line that is a whole value makes the file
    JSON lines."""
    limit = config.max_record_bytes
    decoded = decode_marked(chunks)
    head, chunks = peek(decoded.chunks, _HEAD)
    if head.lstrip().startswith(b"["):
        for element in read_elements(chunks, limit, decoded.start):
            where = f"element {element.ordinal} at byte {element.offset}"
            if element.error is not None:
                yield failed(element.ordinal, element.error, where, element.content)
            else:
                yield read_value(element.ordinal, element.content, element.offset, where, config, decoded.repairs)
        return
    lines: Iterator[Line] = itertools.dropwhile(_is_blank, read_lines(chunks, limit, decoded.start))
    first = next(lines, None)
    if first is None:
        return
    lines = itertools.chain([first], lines)
    if first.error is not None or _is_value(first.content):
        yield from records_of_lines(lines, config, decoded.repairs)
    else:
        yield _read_document(lines, first.offset, config, decoded.repairs)


def _is_blank(line: Line) -> bool:
    return line.error is None and not line.content.strip()


def _is_value(content: bytes) -> bool:
    try:
        orjson.loads(content)
    except orjson.JSONDecodeError:
        return False
    return True


def _read_document(lines: Iterator[Line], offset: int, config: InputConfig, repairs: tuple[str, ...]) -> Record:
    parts: list[bytes] = []
    size = -1  # a newline less than lines
    limit = config.max_record_bytes
    for line in lines:
        parts.append(line.content)
        size += len(line.content) + 1
        if line.error is not None:
            return failed(1, line.error, line.where, b"\n".join(parts)[:limit])
        if size > limit:
            detail = too_long(size, limit, "the document, as far as it was read")
            return quarantined(1, "record_too_long", detail, b"\n".join(parts)[:limit])
    return read_value(1, b"\n".join(parts), offset, "the document", config, repairs)
