"""The elements of a JSON array from a byte stream, each as its bytes, without parsing them.

Elements are told apart by brackets, commas and strings alone, so that a damaged one leaves the others usable.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from pipeline.io.decompress import ReadError
from pipeline.io.formats.record import too_long

_TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+"|["\[\]{},]', re.S)  # a lone quote: the string goes on in the next chunk
_STRING_REST = re.compile(rb'(?:[^"\\]++|\\.)*+', re.S)
_QUOTE = ord('"')


class Element(NamedTuple):
    ordinal: int
    """1-based."""
    offset: int
    """Byte offset of its beginning."""
    content: bytes
    """Of an element with `error` what there is: at most `limit` bytes."""
    error: ReadError | None = None


def read_elements(chunks: Iterator[bytes], limit: int, start: int = 0) -> Iterator[Element]:
    """Elements of the array that begins with the first "[". Holds one element and one chunk; never raises ReadError.

    An element of more than `limit` bytes is skipped without holding it. Damage behind the last element (no end of the
    array, data behind it, an error of the stream) is one more element with `error`.
    """
    buffer, base = b"", start  # base: byte offset of buffer[0]
    begin = at = 0  # of the element that is not complete; of the scan
    prefix, dropped = b"", 0  # of an element too long: its kept beginning, and its bytes that left the buffer
    ordinal, depth, in_string = 1, -1, False  # inside the outer brackets the depth is 0

    def element(end: int, error: ReadError | None = None) -> Element:
        size = dropped + end - begin
        if error is None and size > limit:
            error = ReadError("record_too_long", too_long(size, limit, "the element"))
        return Element(ordinal, base + begin - dropped, (prefix + buffer[begin:end])[:limit], error)

    try:
        for chunk in chunks:
            buffer += chunk
            while at < len(buffer):
                if in_string:
                    rest = _STRING_REST.match(buffer, at)
                    at = rest.end() if rest else at
                    if at == len(buffer) or buffer[at] != _QUOTE:
                        break  # the rest of the string, or what a backslash escapes, is to come
                    in_string, at = False, at + 1
                    continue
                token = _TOKEN.search(buffer, at)
                at = token.end() if token else len(buffer)
                if token is None:
                    break
                kind = buffer[token.start()]
                if kind == _QUOTE:
                    in_string = at - token.start() == 1
                elif kind in b"[{":
                    depth += 1
                    if depth == 0:
                        begin = at
                elif depth > 0 and kind in b"]}":
                    depth -= 1
                elif depth == 0 and kind in b",]":
                    if kind in b"," or ordinal > 1 or dropped or buffer[begin : token.start()].strip():
                        yield element(token.start())
                        ordinal += 1
                    begin, prefix, dropped = at, b"", 0
                    if kind in b"]":
                        yield from _behind(buffer[at:], chunks, ordinal, base + at, limit)
                        return
            if at - begin > limit or dropped:
                prefix = (prefix + buffer[begin:at])[:limit]
                dropped += at - begin
                begin = at
            buffer, base, at, begin = buffer[begin:], base + begin, at - begin, 0
    except ReadError as error:
        yield element(len(buffer), error)
        return
    yield element(len(buffer), ReadError("invalid_json", "the array is not closed"))


def _behind(rest: bytes, chunks: Iterator[bytes], ordinal: int, offset: int, limit: int) -> Iterator[Element]:
    """What stands behind the array, read to the end of the stream so that its damage is found."""
    found = rest.strip()[:limit]
    try:
        for chunk in chunks:
            if len(found) < limit:
                found = (found + chunk).strip()[:limit]
    except ReadError as error:
        yield Element(ordinal, offset, found, error)
        return
    if found:
        yield Element(ordinal, offset, found, ReadError("invalid_json", "there is data behind the end of the array"))
