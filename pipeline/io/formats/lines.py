"""A byte stream cut into lines, with bounded memory."""

from collections.abc import Iterator
from typing import NamedTuple

from pipeline.io.decompress import ReadError
from pipeline.io.formats.record import too_long


class Line(NamedTuple):
    number: int
    """1-based."""
    offset: int
    """Byte offset of its beginning."""
    content: bytes
    """Without the newline. Of a line with `error` what there is: at most `limit` bytes."""
    error: ReadError | None = None
    """`record_too_long`, or the error that ended the stream: then this is the last line, and it may be empty."""

    @property
    def where(self) -> str:
        return f"line {self.number} at byte {self.offset}"


def read_lines(chunks: Iterator[bytes], limit: int, start: int = 0, first: int = 1) -> Iterator[Line]:
    """Lines end at b"\\n". A line of more than `limit` bytes is skipped without holding it; never raises ReadError.
    `start` and `first` are the offset and the number of the first line."""
    number, offset = first, start
    parts: list[bytes] = []  # of the line that is not complete
    held = seen = 0  # bytes in parts; bytes of that line met so far

    def grow(piece: bytes) -> None:
        nonlocal held, seen
        seen += len(piece)
        if piece and held < limit:
            parts.append(piece[: limit - held])
            held += len(parts[-1])

    def take() -> Line:
        nonlocal number, offset, held, seen
        error = ReadError("record_too_long", too_long(seen, limit, "the line")) if seen > limit else None
        line = Line(number, offset, b"".join(parts), error)
        number, offset = number + 1, offset + seen + 1
        parts.clear()
        held = seen = 0
        return line

    try:
        for chunk in chunks:
            beginning, *others = chunk.split(b"\n")
            grow(beginning)
            if not others:
                continue
            yield take()
            grow(others.pop())
            # Lines that lie whole in the chunk, nearly all of them, need no assembling. `grow` counted the beginning
            # of the last one already, and only counts there.
            for content in others:
                size = len(content)
                error = ReadError("record_too_long", too_long(size, limit, "the line")) if size > limit else None
                yield Line(number, offset, content[:limit], error)
                number, offset = number + 1, offset + size + 1
    except ReadError as error:
        yield Line(number, offset, b"".join(parts), error)
        return
    if seen:
        yield take()


def collect(chunks: Iterator[bytes], limit: int) -> tuple[bytes, ReadError | None]:
    """The whole content, or its first `limit` bytes and why there is no more."""
    content = bytearray()
    try:
        for chunk in chunks:
            content += chunk
            if len(content) > limit:
                detail = f"the file holds more than max_record_bytes = {limit} bytes"
                return bytes(content[:limit]), ReadError("record_too_long", detail)
    except ReadError as error:
        return bytes(content), error
    return bytes(content), None
