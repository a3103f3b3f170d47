"""HTTP responses as crawlers store them: status line, fields and the body, its codings undone within bounds."""

import io
import re
import zlib
from typing import NamedTuple

import zstandard
from fastwarc.stream_io import BrotliReader

from pipeline.io.decompress import BOMB_FLOOR, ZSTD_WINDOW, ReadError
from pipeline.io.formats.record import too_long

MAX_HEAD = 1 << 16
"""Bytes of the status line and the fields."""
_STATUS = re.compile(rb"HTTP/\d(?:\.\d)?[ \t]+(\d{3})")
_END = re.compile(rb"\r?\n\r?\n")
_FOLD = re.compile(rb"\r?\n[ \t]+")
_CHUNK = re.compile(rb"[ \t]*([0-9A-Fa-f]{1,8})[ \t]*(?:;[^\n]*)?\r?\n")


class Response(NamedTuple):
    status: int
    fields: dict[str, str]
    """Names in lower case; of repeated fields the first."""
    body: int
    """Where the body begins."""


def parse_fields(head: bytes) -> dict[str, str]:
    """Lines `name: value`; others are passed over."""
    fields: dict[str, str] = {}
    for line in _FOLD.sub(b" ", head).split(b"\n"):
        name, colon, value = line.partition(b":")
        if colon:
            fields.setdefault(name.strip().lower().decode("latin-1"), value.strip().decode("utf-8", "replace"))
    return fields


def parse_response(block: bytes) -> Response | None:
    """None where `block` does not begin like an HTTP response."""
    status = _STATUS.match(block)
    end = _END.search(block, 0, MAX_HEAD)
    if status is None or end is None:
        return None
    return Response(int(status[1]), parse_fields(block[status.end() : end.start()]), end.end())


def decode_body(body: bytes, fields: dict[str, str], limit: int, max_expansion: float) -> tuple[bytes, bool]:
    """The body without its transfer and content codings, and whether all of it is there.

    Crawlers often undo the codings and keep the fields: a body that is not coded as declared is taken as it is.
    Raises ReadError `record_too_long` above `limit` bytes, `decompression_bomb`, `corrupt_stream`, or
    `unsupported_format` for an unknown coding.
    """
    whole = True
    if "chunked" in fields.get("transfer-encoding", "").lower():
        body, whole = _dechunk(body)
    codings = [coding.strip().lower() for coding in fields.get("content-encoding", "").split(",")]
    for coding in reversed([coding for coding in codings if coding not in ("", "identity", "none", "utf-8")]):
        stored = len(body)
        try:
            body, complete = _uncode(coding, body, limit + 1)
        except (zlib.error, zstandard.ZstdError, OSError) as error:
            raise ReadError("corrupt_stream", f"the body is no valid {coding}: {error}") from error
        whole = whole and complete
        if len(body) > max(BOMB_FLOOR, max_expansion * stored):
            raise ReadError("decompression_bomb", f"{stored} bytes of {coding} grew by more than {max_expansion:g}")
        if len(body) > limit:
            raise ReadError("record_too_long", too_long(len(body), limit, f"the body within {coding}, as far as read"))
    return body, whole


def _dechunk(body: bytes) -> tuple[bytes, bool]:
    parts: list[bytes] = []
    at = 0
    while match := _CHUNK.match(body, at):
        size = int(match[1], 16)
        if not size:
            return b"".join(parts), True
        at = match.end()
        parts.append(body[at : at + size])
        at += size
        at += 2 if body[at : at + 2] == b"\r\n" else body[at : at + 1] == b"\n"
    return (b"".join(parts), False) if parts else (body, True)


def _uncode(coding: str, body: bytes, most: int) -> tuple[bytes, bool]:
    """At most `most` bytes, and whether the end mark was met or `most` reached."""
    if coding in ("gzip", "x-gzip"):
        return _inflate(body, 31, most) if body.startswith(b"\x1f\x8b") else (body, True)
    if coding == "deflate":  # zlib by the standard, bare in practice, or undone already
        zlib_header = len(body) > 1 and body[0] & 15 == 8 and (body[0] << 8 | body[1]) % 31 == 0
        try:
            return _inflate(body, 15 if zlib_header else -15, most)
        except zlib.error:
            return body, True
    if coding == "br":
        try:
            return BrotliReader(io.BytesIO(body)).read(most), True
        except OSError:  # brotli has no magic number to tell a damaged body from one undone already
            return body, True
    if coding == "zstd":
        if not body.startswith(b"\x28\xb5\x2f\xfd"):
            return body, True
        return zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW).stream_reader(body).read(most), True
    raise ReadError("unsupported_format", f"the content coding '{coding[:40]}' is not known")


def _inflate(body: bytes, window: int, most: int) -> tuple[bytes, bool]:
    decoder = zlib.decompressobj(window)
    content = decoder.decompress(body, most)
    return content, decoder.eof or len(content) >= most
