"""WikiExtractor's output: blocks `<doc id= url= title=>` ... `</doc>`, or JSON lines (its option --json)."""

from collections.abc import Iterator

from pipeline.config import InputConfig
from pipeline.io.decompress import ReadError
from pipeline.io.formats.encoding import decode_marked, peek
from pipeline.io.formats.jsonl import records_of_lines
from pipeline.io.formats.lines import Line, read_lines
from pipeline.io.formats.record import Record, checked, decode, failed, too_long

_HEAD = 1 << 12


def is_wikiextractor(head: bytes) -> bool:
    """Whether a file that begins with `head` holds <doc> blocks."""
    return head.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"<doc ")


def read_wikiextractor(chunks: Iterator[bytes], config: InputConfig) -> Iterator[Record]:
    """One record a block, without its tags; the title line stays. Position: ordinal of the block.

    A block without its end is quarantined as `truncated_stream`, text outside of blocks as `unsupported_format`.
    """
    decoded = decode_marked(chunks)
    head, chunks = peek(decoded.chunks, _HEAD)
    limit = config.max_record_bytes
    lines = read_lines(chunks, limit, decoded.start)
    if head.lstrip().startswith(b"{"):
        yield from records_of_lines(lines, config, decoded.repairs)
        return
    position = 0
    block: _Block | None = None
    for line in lines:
        content = line.content
        if line.error is not None and line.error.reason != "record_too_long":  # the stream ends here
            if block is None:
                block = _Block(position := position + 1, line, inside=False, limit=limit)
            yield failed(block.position, line.error, block.where, block.content() + content)
            return
        if content.startswith(b"<doc ") and content.rstrip().endswith(b">"):
            if block is not None:
                yield block.unfinished()
            block = _Block(position := position + 1, line, inside=True, limit=limit)
        elif block is not None and block.inside and content.startswith(b"</doc>") and not content[6:].strip():
            yield block.record(decoded.repairs)
            block = None
        elif block is not None or content.strip():
            if block is None:
                block = _Block(position := position + 1, line, inside=False, limit=limit)
            block.add(line)
    if block is not None:
        yield block.unfinished()


class _Block:
    """A block, or a run of stray lines, that is being read; holds at most `limit` bytes."""

    def __init__(self, position: int, first: Line, inside: bool, limit: int) -> None:
        self.position = position
        self.inside = inside
        self.where = f"block {position} from {first.where}"
        self._begin = first.offset + len(first.content) + 1
        self._limit = limit
        self._parts: list[bytes] = []
        self._held = self._size = 0

    def add(self, line: Line) -> None:
        self._size += self._limit + 1 if line.error else len(line.content) + 1
        if self._held < self._limit:
            self._parts.append(line.content[: self._limit - self._held] + b"\n")
            self._held += len(self._parts[-1])

    def content(self) -> bytes:
        return b"".join(self._parts)[: self._limit]

    def unfinished(self) -> Record:
        if self.inside:
            error = ReadError("truncated_stream", "the block has no </doc>")
        else:
            error = ReadError("unsupported_format", "text outside of <doc> blocks")
        return failed(self.position, error, self.where, self.content())

    def record(self, repairs: tuple[str, ...]) -> Record:
        content = self.content()
        try:
            if self._size > self._limit:
                raise ReadError("record_too_long", too_long(self._size, self._limit, "the block"))
            text = decode(content, self._begin)
        except ReadError as error:
            return failed(self.position, error, self.where, content)
        return checked(self.position, text, self.where, self._limit, repairs)
