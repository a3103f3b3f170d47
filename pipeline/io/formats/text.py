"""Plain text and Markdown: one document a file, or cut into pieces at paragraph ends."""

import bisect
import codecs
import re
from collections.abc import Iterator

from pipeline.config import InputConfig
from pipeline.io.decompress import ReadError
from pipeline.io.formats.encoding import Decoded, decode_any, decode_guessed, decode_marked
from pipeline.io.formats.lines import collect
from pipeline.io.formats.record import Record, checked, decode, failed, quarantined

# Patterns begin with a literal or a class where they can: the regex engine skips to it.
_BLANK_LINES = re.compile(r"\n(?:[^\S\n]*+\n)++")
_SENTENCE_LINE_END = re.compile(r"""[.!?…:。！？｡؟۔।]["'”’»)\]」』）]*[^\S\n]*\n""")
_LINE_END = re.compile(r"\n")
_SENTENCE_END = re.compile(r"""[.!?…؟۔।]["'”’»)\]]*\s++|[。！？｡]["'”’」』）]*\s*+""")
_SPACE = re.compile(r"\s++")
_INK = re.compile(r"\S")


def read_text(chunks: Iterator[bytes], config: InputConfig) -> Iterator[Record]:
    """Whole files are bounded by `max_record_bytes`; with `split_characters` files of any size stream through.

    Where a file is cut, its encoding is guessed once, from its beginning: pieces are small, and cuts between bytes
    could part a character. A piece that does not fit is guessed on its own (files that were joined).
    """
    decoded = decode_marked(chunks)
    if config.split_characters:
        if not decoded.marked:
            decoded = decode_guessed(decoded.chunks)
        yield from _read_pieces(decoded, config)
        return
    content, error = collect(decoded.chunks, config.max_record_bytes)
    if error is not None:
        hint = "; raise max_record_bytes or set split_characters" if error.reason == "record_too_long" else ""
        yield quarantined(1, error.reason, error.detail + hint, content)
        return
    repairs = decoded.repairs
    try:
        if decoded.marked:
            text = decode(content, decoded.start)
        else:
            text, repairs = decode_any(content)
    except ReadError as invalid:
        yield failed(1, invalid, "", content)
        return
    yield checked(1, text, "the file", config.max_record_bytes, repairs)


def _read_pieces(source: Decoded, config: InputConfig) -> Iterator[Record]:
    # surrogateescape carries invalid bytes through the cutting, so that only their piece is lost.
    error: ReadError | None = None

    def decoded() -> Iterator[str]:
        nonlocal error
        decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        try:
            for chunk in source.chunks:
                yield decoder.decode(chunk)
        except ReadError as caught:
            error = caught
        yield decoder.decode(b"", True)

    position, offset = 1, source.start
    held: str | None = None  # one piece back: an error of the stream belongs to the last piece
    for piece in split_text(decoded(), config.split_characters):
        if held is not None:
            record, size = _piece(position, held, offset, source, config)
            yield record
            position, offset = position + 1, offset + size
        held = piece
    if error is not None:
        raw = (held or "").encode("utf-8", "surrogateescape")
        yield failed(position, error, f"piece {position} at byte {offset}", raw)
    elif held is not None:
        yield _piece(position, held, offset, source, config)[0]


def _piece(position: int, text: str, offset: int, source: Decoded, config: InputConfig) -> tuple[Record, int]:
    """The record of a piece and its size in bytes."""
    repairs = source.repairs
    where = f"piece {position} at byte {offset}"
    try:
        size = len(text) if text.isascii() else len(text.encode())
    except UnicodeEncodeError:
        raw = text.encode("utf-8", "surrogateescape")
        size = len(raw)
        try:
            text, repairs = (decode(raw, offset), repairs) if source.marked else decode_any(raw, offset)
        except ReadError as invalid:
            return failed(position, invalid, where, raw), size
    return checked(position, text, where, config.max_record_bytes, repairs), size


def split_text(chunks: Iterator[str], size: int) -> Iterator[str]:
    """Pieces of about `size` characters that join to the text.

    A piece ends at the paragraph end nearest to `size`; a paragraph of at most 2 x `size` characters is never cut.
    Memory: 2 x `size` characters and one chunk. The cuts do not depend on the chunks.
    """
    buffer, at = "", 0
    chunks = iter(chunks)
    ended = False
    reach = 2 * size + 1
    while True:
        if not ended and len(buffer) - at < reach:
            parts = [buffer[at:]]
            needed = reach - len(parts[0])
            while needed > 0 and not ended:
                chunk = next(chunks, None)
                ended = chunk is None
                parts.append(chunk or "")
                needed -= len(parts[-1])
            buffer, at = "".join(parts), 0
        if at == len(buffer):
            return
        window = buffer[at : at + reach]
        cut = _cut(window, size)
        yield window[:cut]
        at += cut


def _cut(window: str, size: int) -> int:
    """Where the first piece of `window` (2 x `size` + 1 characters, or all there are) ends.

    A paragraph end is a blank line. If there is none, a line end is one (there are files with a paragraph a line),
    best behind the end of a sentence (there are files with hard-wrapped lines); then the end of a sentence, a space,
    or just `size`.
    """
    if "\n" not in window:
        window = window.replace("\r", "\n")  # lines of old Macintosh files
    most = 2 * size
    ink = _INK.search(window)
    first = ink.start() if ink else len(window)  # no piece of blanks alone
    ends = [match.end() for match in _BLANK_LINES.finditer(window, first, most)]
    if len(window) <= most:
        ends.append(len(window))
    best = _nearest(ends, 1, most, size)
    for pattern, low, high in (
        (_SENTENCE_LINE_END, size // 2, size + size // 2),
        (_LINE_END, 1, most),
        (_SENTENCE_END, size // 2, most),
        (_SPACE, size // 2, most),
    ):
        if best is not None:
            return best
        best = _nearest([match.end() for match in pattern.finditer(window, first, most)], low, high, size)
    return min(size, len(window)) if best is None else best


def _nearest(ends: list[int], low: int, high: int, size: int) -> int | None:
    """The one of the sorted `ends` within [low, high] that is nearest to `size`; the smaller of two."""
    right = bisect.bisect_left(ends, size)
    near = [end for end in ends[max(0, right - 1) : right + 1] if low <= end <= high]
    return min(near, key=lambda end: abs(end - size), default=None)
