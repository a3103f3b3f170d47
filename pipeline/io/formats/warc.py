"""WARC and WET: the archives of web crawlers, plain or with one gzip member a record (ISO 28500).

fastwarc ends at the first damaged member. Here a damaged one costs its own record and reading goes on at the next.
"""

import re
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from pipeline.config import InputConfig
from pipeline.io.decompress import CHUNK, ReadError, check_expansion
from pipeline.io.formats.encoding import codec_of, decode_any, decode_marked
from pipeline.io.formats.html import declared_encoding
from pipeline.io.formats.http import MAX_HEAD, decode_body, parse_fields, parse_response
from pipeline.io.formats.record import Record, checked, decode, failed, too_long

_GZIP = b"\x1f\x8b\x08"
_SLICE = 1 << 14
"""Stored bytes inflated at once: zlib copies what a member leaves over."""
_HISTORY = 4 << 20
"""Stored bytes of a damaged member that are searched again for the next one: the decoder may have run into it."""
_SEARCHES = 16 << 20
"""Stored bytes of one file that are searched again in all, so that the time stays linear."""
_PAGE = re.compile(rb"\s*(?:<!doctype\s+html\b|<html\b)", re.I)
_CHARSET = re.compile(r"charset\s*=\s*[\"']?\s*([^\s;\"',]+)", re.I)
_MEDIA = {"text/html": "html", "application/xhtml+xml": "html", "text/plain": "text"}


def read_warc(chunks: Iterator[bytes], config: InputConfig) -> Iterator[Record]:
    """The documents of an archive, given as it is stored: of a gzip file the compressed bytes.

    Documents are `conversion` records (WET), and `response` and `resource` records that hold HTML or plain text and no
    error page or redirect (HTTP status 2xx). The others (warcinfo, request, metadata, revisit, images, ...) hold none:
    they are no input records, and pass without a row. Position: ordinal of the WARC record of whatever kind; `detail`
    of a quarantined one gives its byte offset in the stored file and its target URI.
    """
    stored = Buffer(chunks, _HISTORY)
    archive = _Archive(config)
    head = stored.peek(MAX_HEAD)
    plain = not head.startswith(_GZIP) and (head.startswith(b"WARC/") or b"\nWARC/" in head)
    yield from archive.plain(stored) if plain else archive.compressed(stored)
    if stored.error is not None and stored.error is not archive.told:
        yield archive.failed(stored.error, stored.at)


class Buffer:
    """A stream of chunks that is read forward, and back by at most `history` bytes.

    An error of the chunks is an end like another; `check` raises it.
    """

    def __init__(self, chunks: Iterator[bytes], history: int = 0) -> None:
        self._chunks = chunks
        self._history = history
        self._held = bytearray()
        self._base = 0
        self.error: ReadError | None = None
        self.at = 0

    def check(self) -> None:
        """Raises the ReadError that ended the stream."""
        if self.error is not None:
            raise self.error

    def peek(self, size: int) -> bytes:
        """The next `size` bytes, or all there are."""
        while self._base + len(self._held) - self.at < size and self._grow():
            pass
        begin = self.at - self._base
        return bytes(memoryview(self._held)[begin : begin + size])

    def take(self, size: int) -> bytes:
        content = self.peek(size)
        self.at += len(content)
        return content

    def skip(self, size: int) -> int:
        """How many bytes there were, at most `size`."""
        end = self.at + size
        while self._base + len(self._held) < end:
            self.at = self._base + len(self._held)
            if not self._grow():
                break
        begin, self.at = end - size, min(end, self._base + len(self._held))
        return self.at - begin

    def skip_any(self, characters: bytes) -> bool:
        """Skips a run of these; whether anything is left behind it."""
        while content := self.peek(_SLICE if self.at < self._base + len(self._held) else 1):
            rest = content.lstrip(characters)
            self.at += len(content) - len(rest)
            if rest:
                return True
        return False

    def find(self, needle: bytes) -> bool:
        """Goes to the next `needle`, or to the end if there is none."""
        while True:
            found = self._held.find(needle, self.at - self._base)
            if found >= 0:
                self.at = self._base + found
                return True
            self.at = max(self.at, self._base + len(self._held) - len(needle) + 1)
            if not self._grow():
                self.at = self._base + len(self._held)
                return False

    def back(self, offset: int) -> None:
        self.at = max(offset, self._base)

    def _grow(self) -> bool:
        chunk = None
        try:
            chunk = next(self._chunks, None) if self.error is None else None
        except ReadError as error:
            self.error = error
        if chunk is None:
            return False
        excess = self.at - self._history - self._base
        if excess > CHUNK:
            del self._held[:excess]
            self._base += excess
        self._held += chunk
        return True


class _Content(NamedTuple):
    media: str
    body: bytes
    charset: str | None
    whole: bool


class _Archive:
    def __init__(self, config: InputConfig) -> None:
        self._config = config
        self._limit = config.max_record_bytes
        self._position = 0
        self._produced = 0
        self._searches = _SEARCHES
        self.told: ReadError | None = None
        """The last error that became a row."""

    def failed(self, error: ReadError, offset: int) -> Record:
        """What takes the place of records that cannot be told."""
        self._position += 1
        self.told = error
        return failed(self._position, error, f"record {self._position} at byte {offset}")

    def plain(self, source: Buffer) -> Iterator[Record]:
        while source.skip_any(b"\r\n"):
            record, sound = self._read(source, source.at, sealed=False)
            if record is not None:
                yield record
            if not sound and source.find(b"\nWARC/"):
                source.skip(1)

    def compressed(self, stored: Buffer) -> Iterator[Record]:
        while stored.skip_any(b"\0"):  # padding
            if stored.peek(len(_GZIP)) == _GZIP:
                yield from self._member(stored)
                if self._produced > self._config.max_file_bytes:
                    return
                continue
            start = stored.at
            self._find_member(stored)
            detail = f"{stored.at - start} bytes that are no gzip member with a WARC record"
            yield self.failed(ReadError("corrupt_stream", detail), start)

    def _member(self, stored: Buffer) -> Iterator[Record]:
        """The records of one member; leaves `stored` where the next one begins."""
        start = stored.at
        source = Buffer(self._inflate(stored))
        sound = True
        while sound and source.skip_any(b"\r\n"):
            record, sound = self._read(source, start, sealed=True)
            if record is not None:
                yield record
        while source.skip(CHUNK):
            pass
        if source.error is None:
            return
        if source.error is not self.told and sound:
            yield self.failed(source.error, start)
        if source.error is stored.error:
            return
        if source.error.reason != "decompression_bomb" and self._searches > 0:
            self._searches -= stored.at - start
            stored.back(start + 1)
        self._find_member(stored)

    def _inflate(self, stored: Buffer) -> Iterator[bytes]:
        start = stored.at
        produced = 0
        decoder = zlib.decompressobj(31)
        while not decoder.eof:
            data = stored.take(_SLICE)
            if not data:
                stored.check()
                raise ReadError("truncated_stream", "the gzip member ends before its end mark: the file is cut off")
            while True:
                try:
                    chunk = decoder.decompress(data, CHUNK)
                except zlib.error as error:
                    raise ReadError("corrupt_stream", f"the gzip member is damaged: {error}") from error
                produced += len(chunk)
                self._produced += len(chunk)
                check_expansion(produced, stored.at - start, self._config)
                if self._produced > self._config.max_file_bytes:
                    most = self._config.max_file_bytes
                    raise ReadError("decompression_bomb", f"more than max_file_bytes = {most} after decompression")
                if chunk:
                    yield chunk
                data = decoder.unconsumed_tail
                if decoder.eof or (not data and len(chunk) < CHUNK):
                    break
        stored.back(stored.at - len(decoder.unused_data))

    def _find_member(self, stored: Buffer) -> None:
        """Goes to the next member that begins with a WARC record, or to the end."""
        while stored.find(_GZIP):
            head = stored.peek(512)
            if len(head) > 3 and not head[3] & 0xE0:  # reserved flags
                try:
                    if zlib.decompressobj(31).decompress(head, 5) == b"WARC/":
                        return
                except zlib.error:
                    pass
            stored.skip(1)

    def _read(self, source: Buffer, offset: int, sealed: bool) -> tuple[Record | None, bool]:
        """The next record, None if it is no document, and whether the one behind it can be read.

        `sealed`: an error that ends `source` right behind the record is the record's own.
        """
        self._position += 1
        where = f"record {self._position} at byte {offset}"
        raw = b""
        try:
            head = _head(source)
            fields = parse_fields(head)
            where += f" ({fields.get('warc-target-uri', 'no URI')[:500]})"
            length = fields.get("content-length", "")
            if not (length.isascii() and length.isdecimal() and len(length) < 16):
                raise ReadError("corrupt_stream", f"the record has no usable Content-Length ('{length[:40]}')")
            size = int(length)
            raw = source.peek(min(size, MAX_HEAD))
            begin = _document(fields, raw)
            held = None if begin is None or size - begin > self._limit else source.take(size)
            found = source.skip(size) if held is None else len(held)
            raw = held or raw
            if found < size:
                source.check()
                raise ReadError("truncated_stream", f"the record ends after {found} of {size} bytes")
            # Reads to the end of a gzip member, where its check sum stands.
            if not source.skip_any(b"\r\n") and sealed:
                source.check()
        except ReadError as error:
            self.told = error
            return failed(self._position, error, where, raw[: self._limit]), False
        if begin is None:
            return None, True
        if held is None:
            excess = ReadError("record_too_long", too_long(size - begin, self._limit, "the payload"))
            return failed(self._position, excess, where, raw[: self._limit]), True
        return self._record(fields, held, where), True

    def _record(self, fields: dict[str, str], block: bytes, where: str) -> Record:
        try:
            content = self._content(fields, block)
            decoded = decode_marked(iter([content.body]))
            body = b"".join(decoded.chunks)
            if decoded.marked:
                text, repairs = decode(body, decoded.start), decoded.repairs
            else:
                declared = None if content.charset is None else codec_of(content.charset)
                if declared is None and content.media == "html":
                    declared = declared_encoding(body)
                text, repairs = decode_any(body, 0, declared)
        except ReadError as error:
            return failed(self._position, error, where, block[: self._limit])
        if not content.whole:
            repairs = (*repairs, "truncated_payload")
        return checked(self._position, text, where, self._limit, repairs)._replace(media=content.media)

    def _content(self, fields: dict[str, str], block: bytes) -> _Content:
        whole = "warc-truncated" not in fields and "warc-segment-number" not in fields
        response = parse_response(block) if fields.get("warc-type", "").lower() == "response" else None
        if response is None:
            return _Content(_media(fields, block) or "text", block, _charset(fields), whole)
        stored = block[response.body :]
        body, complete = decode_body(stored, response.fields, self._limit, self._config.max_expansion)
        media = _media(response.fields, body) or _identified(fields) or "html"
        return _Content(media, body, _charset(response.fields), whole and complete)


def _head(source: Buffer) -> bytes:
    """The fields of a record; leaves `source` at the block. Raises ReadError."""
    head = source.peek(MAX_HEAD)
    if not head.startswith(b"WARC/"):
        raise ReadError("corrupt_stream", f"no WARC record begins here, but {head[:20]!r}")
    ends = [end for mark in (b"\r\n\r\n", b"\n\n") if (end := head.find(mark)) >= 0]
    if not ends:
        source.check()
        if len(head) == MAX_HEAD:
            raise ReadError("corrupt_stream", f"the fields of the record take more than {MAX_HEAD} bytes")
        raise ReadError("truncated_stream", "the record ends within its fields")
    end = min(ends)
    source.skip(end + (4 if head.startswith(b"\r\n\r\n", end) else 2))
    return head[:end]


def _document(fields: dict[str, str], block: bytes) -> int | None:
    """Where the payload begins in `block`, the beginning of a record; None if it is no document."""
    kind = fields.get("warc-type", "").lower()
    if kind == "conversion":
        return 0 if fields.get("content-type", "text/").lower().startswith("text/") else None
    if kind == "resource":
        return 0 if _media(fields, block) else None
    response = parse_response(block) if kind == "response" else None
    if response is None or not 200 <= response.status < 300:
        return None
    coded = "content-encoding" in response.fields or "transfer-encoding" in response.fields
    payload = b"" if coded else block[response.body :]
    return response.body if _media(response.fields, payload) or _identified(fields) else None


def _media(fields: dict[str, str], payload: bytes) -> str | None:
    """ "html", "text" or None for other media; by its first bytes where the type is not given."""
    kind = fields.get("content-type", "").partition(";")[0].strip().lower()
    if kind:
        return _MEDIA.get(kind)
    return "html" if _PAGE.match(payload) else None


def _identified(fields: dict[str, str]) -> str | None:
    """What the crawler found the payload to be."""
    return _MEDIA.get(fields.get("warc-identified-payload-type", "").strip().lower())


def _charset(fields: dict[str, str]) -> str | None:
    match = _CHARSET.search(fields.get("content-type", ""))
    return None if match is None else match[1]
