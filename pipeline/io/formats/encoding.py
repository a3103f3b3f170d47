"""Byte-order marks: UTF-16 and UTF-32 streams become UTF-8, a UTF-8 mark is removed."""

import codecs
from collections.abc import Iterator
from typing import NamedTuple

from pipeline.io.decompress import ReadError

_MARKS = (
    # UTF-32 first: its little-endian mark begins with that of UTF-16.
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
    (codecs.BOM_UTF8, "utf-8"),
)
_INVALID = "siliang-invalid"


def _mark_invalid(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    return "\udc80", error.end


codecs.register_error(_INVALID, _mark_invalid)


class Decoded(NamedTuple):
    chunks: Iterator[bytes]
    """UTF-8, not checked."""
    repairs: tuple[str, ...]
    """("decoded:utf-16",) or the like where another encoding was found."""
    start: int
    """Bytes of a UTF-8 mark left out in front: the offset of the first byte."""


def peek(chunks: Iterator[bytes], size: int) -> tuple[bytes, Iterator[bytes]]:
    """At least the first `size` bytes, where there are as many, and the whole stream again.

    A ReadError is held back until the stream is read up to it.
    """
    head = bytearray()
    error: ReadError | None = None
    try:
        for chunk in chunks:
            head += chunk
            if len(head) >= size:
                break
    except ReadError as caught:
        error = caught

    def whole() -> Iterator[bytes]:
        if head:
            yield bytes(head)
        if error is not None:
            raise error
        yield from chunks

    return bytes(head), whole()


def decode_marked(chunks: Iterator[bytes]) -> Decoded:
    """Follows the byte-order mark. Code units that are not valid become bytes that are not valid UTF-8, so that only
    the record they stand in is lost."""
    head, chunks = peek(chunks, 4)
    for mark, encoding in _MARKS:
        if head.startswith(mark):
            unmarked = _skip(chunks, len(mark))
            if encoding == "utf-8":
                return Decoded(unmarked, (), len(mark))
            return Decoded(_transcode(unmarked, encoding), (f"decoded:{encoding[:6]}",), 0)
    return Decoded(chunks, (), 0)


def _skip(chunks: Iterator[bytes], count: int) -> Iterator[bytes]:
    for chunk in chunks:
        if len(chunk) > count:
            yield chunk[count:]
        count = max(0, count - len(chunk))


def _transcode(chunks: Iterator[bytes], encoding: str) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder(encoding)(_INVALID)
    for chunk in chunks:
        yield decoder.decode(chunk).encode("utf-8", "surrogatepass")
    yield decoder.decode(b"", True).encode("utf-8", "surrogatepass")
