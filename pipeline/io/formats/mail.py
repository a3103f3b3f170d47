"""Mail: single messages (RFC 5322, MIME) and mbox folders. The text is the subject, a blank line and the body."""

import binascii
import html
import re
from collections.abc import Iterator
from email.errors import HeaderParseError
from email.header import decode_header
from email.message import Message
from typing import NamedTuple

from pipeline.config import InputConfig
from pipeline.io.decompress import ReadError
from pipeline.io.formats.encoding import codec_of, decode_any, guess
from pipeline.io.formats.html import declared_encoding
from pipeline.io.formats.lines import Line, collect, read_lines
from pipeline.io.formats.record import Record, checked, failed, too_long

MAX_DEPTH = 8
"""Multiparts in multiparts; what lies deeper is left out."""
_MAX_HEADER = 4096
"""Bytes of one header field that are looked at: the header parsers of the library need quadratic time."""
_SNIFFED_FIELDS = frozenset(
    [b"from", b"to", b"subject", b"date", b"received", b"message-id", b"return-path", b"mime-version", b"delivered-to"]
)
_FROM = re.compile(rb"From \S.*\b\d\d?:\d\d\b.*")
"""The line in front of a mail in an mbox: an address and a date (RFC 4155)."""
_QUOTED_FROM = re.compile(rb"^>(>*From )", re.M)
_FIELD = re.compile(rb"[!-9;-~]+[ \t]*:")
_BODY = re.compile(rb"\n\r?\n")
_FIELDS = re.compile(
    rb"^(subject|content-type|content-transfer-encoding|content-disposition)[ \t]*:([^\n]*(?:\n[ \t][^\n]*)*)",
    re.I | re.M,
)
_FOLD = re.compile(r"\s*[\r\n]+\s*")
_PAGE = re.compile(rb"\s*(?:<!doctype\s+html\b|<html\b)", re.I)
_BODY_TAG = re.compile(r"<body\b[^>]*>", re.I)
_LIKELY_BOUNDARY = re.compile(rb"^--([^\n]{1,200}?)[ \t\r]*\n(?=content-)", re.M | re.I)
_CONTENT_TYPE = re.compile(r"\s*([\w.+-]+)/([\w.+-]+)")
_NO_BASE64 = re.compile(rb"[^A-Za-z0-9+/]+")
_FOREIGN_SHARE = 0.05
"""Of a line's bytes, not of base64, above which the line is something else: damage is a byte or two in 76."""
_UNDECLARED = frozenset({"", "us-ascii", "ascii"})
_LIBRARY_ERRORS = (ValueError, LookupError, TypeError, AttributeError, HeaderParseError)
"""What the email package raises on headers that break its rules."""


def read_mail(chunks: Iterator[bytes], config: InputConfig) -> Iterator[Record]:
    """One record; bounded by `max_record_bytes`. Broken MIME is read as far as it goes."""
    content, error = collect(chunks, config.max_record_bytes)
    if error is not None:
        yield failed(1, error, "", content)
        return
    yield mail_record(1, content, "the mail", config.max_record_bytes)


def read_mbox(chunks: Iterator[bytes], config: InputConfig) -> Iterator[Record]:
    """One record a mail; memory: one mail of at most `max_record_bytes`. Position: ordinal of the mail.

    A mail begins at a `From ` line with an address and a time, at the beginning or behind a blank line. One `>` is
    taken off quoted `From ` lines (mboxrd).
    """
    limit = config.max_record_bytes
    position = 0
    mail: _Mail | None = None
    blank = True
    for line in read_lines(chunks, limit):
        if line.error is not None and line.error.reason != "record_too_long":  # the stream ends here
            mail = mail or _Mail(position + 1, line, limit)
            yield failed(mail.position, line.error, mail.where, mail.content() + line.content)
            return
        if blank and _FROM.match(line.content):
            if mail is not None:
                yield mail.record()
            mail = _Mail(position := position + 1, line, limit)
        elif mail is not None or line.content.strip():
            if mail is None:
                mail = _Mail(position := position + 1, line, limit)
            mail.add(line)
        blank = not line.content.strip()
    if mail is not None:
        yield mail.record()


def sniff_mail(head: bytes) -> str | None:
    """ "mbox" or "mail" where a file begins like one beyond doubt, else None."""
    lines = head.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    folder = _FROM.match(lines[0]) is not None
    names: list[bytes] = []
    for line in lines[folder:]:
        if not line.strip() or not (_FIELD.match(line) or (names and line[:1] in b" \t")):
            break
        names.append(line.partition(b":")[0].strip().lower())
    if folder:
        return "mbox" if names else None
    return "mail" if len(_SNIFFED_FIELDS.intersection(names)) >= 3 else None


class _Mail:
    """A mail of an mbox that is being read; holds at most `limit` bytes."""

    def __init__(self, position: int, first: Line, limit: int) -> None:
        self.position = position
        self.where = f"mail {position} from {first.where}"
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

    def record(self) -> Record:
        content = self.content()
        if self._size > self._limit + 1:  # the newline in front of the next mail does not count
            error = ReadError("record_too_long", too_long(self._size, self._limit, "the mail"))
            return failed(self.position, error, self.where, content)
        return mail_record(self.position, _QUOTED_FROM.sub(rb"\1", content), self.where, self._limit)


class _Head(NamedTuple):
    subject: bytes
    content_type: str
    transfer: str
    charset: str
    boundary: bytes
    attached: bool
    flowed: bool
    delsp: bool


class _Text(NamedTuple):
    """A text part, its transfer encoding undone."""

    page: bool
    content: bytes
    head: _Head

    @property
    def declared(self) -> str | None:
        codec = None if self.head.charset in _UNDECLARED else codec_of(self.head.charset)
        return declared_encoding(self.content) if codec is None and self.page else codec


def mail_record(position: int, content: bytes, where: str, limit: int) -> Record:
    """The record of one message; media "html" if a part of what a reader of mail shows is HTML."""
    head, body = _split(content.removeprefix(b"\xef\xbb\xbf"))
    shown = _shown(head, body, MAX_DEPTH, first=True)
    repairs: dict[str, None] = {}
    texts: list[str] = []
    for part in shown:
        try:
            text, done = decode_any(part.content, 0, part.declared)
        except ReadError as error:
            return failed(position, error, f"{where}: the body", content)
        repairs.update(dict.fromkeys(done))
        text = text.replace("\r\n", "\n")
        texts.append(_unflow(text, part.head.delsp) if part.head.flowed and not part.page else text)
    subject, done = _subject(head.subject, shown)
    repairs.update(dict.fromkeys(done))
    if any(part.page for part in shown):
        text, media = _page(subject, shown, texts), "html"
    else:
        text, media = "\n\n".join(part for part in (subject, *(text.strip("\n") for text in texts)) if part), "text"
    return checked(position, text, where, limit, tuple(repairs))._replace(media=media)


def _split(content: bytes) -> tuple[_Head, bytes]:
    """The fields and what is below them; bytes that do not begin with a field are all body."""
    if content.startswith((b"From ", b">From ")):
        content = content.partition(b"\n")[2]
    if content.startswith((b"\n", b"\r\n")):
        return _parse(b""), content
    if _FIELD.match(content) is None:
        return _parse(b""), content
    end = _BODY.search(content)
    return (_parse(content), b"") if end is None else (_parse(content[: end.start() + 1]), content[end.end() :])


def _parse(fields: bytes) -> _Head:
    found: dict[bytes, bytes] = {}
    for match in _FIELDS.finditer(fields):
        found.setdefault(match[1].lower(), match[2][:_MAX_HEADER].strip())
    message = Message()
    for name in (b"content-type", b"content-disposition"):
        if name in found:
            message[name.decode()] = _FOLD.sub(" ", found[name].decode("latin-1"))
    transfer = found.get(b"content-transfer-encoding", b"").decode("latin-1").lower()
    subject = found.get(b"subject", b"")
    kind = _CONTENT_TYPE.match(found.get(b"content-type", b"").decode("latin-1"))
    try:
        return _Head(
            subject,
            "text/plain" if kind is None else f"{kind[1]}/{kind[2]}".lower(),
            transfer,
            message.get_content_charset("").strip(),
            (message.get_boundary() or "").encode("latin-1", "replace"),
            message.get_content_disposition() == "attachment" or bool(message.get_filename()),
            str(message.get_param("format", "")).lower() == "flowed",
            str(message.get_param("delsp", "")).lower() == "yes",
        )
    except _LIBRARY_ERRORS:
        return _Head(subject, "text/plain", transfer, "", b"", False, False, False)


def _shown(head: _Head, body: bytes, depth: int, first: bool) -> list[_Text]:
    """The text parts that a mail reader shows, in order: of alternatives plain text, else the first HTML."""
    kind, _, subtype = head.content_type.partition("/")
    if head.attached and not first:
        return []
    if kind == "multipart":
        parts = _multipart(body, head.boundary)
        if parts and depth == 0:
            return []
        children = [_shown(*_split_part(part), depth - 1, first and n == 0) for n, part in enumerate(parts)]
        if parts and subtype == "related":
            return next((child for child in children if child), [])
        if parts and subtype == "alternative":
            inked = [child for child in children if any(part.content.strip() for part in child)]
            plain = [child for child in inked if not any(part.page for part in child)]
            return next(iter(plain or inked), [])
        if parts:
            return [part for child in children for part in child]
    elif head.content_type == "message/rfc822":
        return _shown(*_split(body), depth - 1, first=True) if depth else []
    elif kind != "text" or subtype not in ("plain", "html"):
        return []
    content = _untransfer(body, head.transfer)
    return [_Text(subtype == "html" or _PAGE.match(content) is not None, content, head)]


def _split_part(part: bytes) -> tuple[_Head, bytes]:
    head, body = _split(part)
    if part.startswith((b"\n", b"\r\n")):  # a part without fields
        body = part.partition(b"\n")[2]
    return head, body


def _multipart(body: bytes, boundary: bytes) -> list[bytes]:
    """The parts; the last one may lack its end. Where the boundary never comes, the first line that looks like one
    is taken for it; none where there is no such line either."""
    if not boundary or body.find(b"--" + boundary) < 0:
        likely = _LIKELY_BOUNDARY.search(body)
        if likely is None:
            return []
        boundary = likely[1]
    delimiter = re.compile(rb"^--" + re.escape(boundary) + rb"(--)?[ \t\r]*$\n?", re.M)
    parts = []
    begin = -1
    for match in delimiter.finditer(body):
        if begin >= 0:
            parts.append(body[begin : match.start()])
        begin = match.end()
        if match[1]:
            return parts
    return parts if begin < 0 else [*parts, body[begin:]]


def _untransfer(body: bytes, transfer: str) -> bytes:
    if "quoted-printable" in transfer:
        return binascii.a2b_qp(body)
    if "base64" in transfer:
        digits = _base64_digits(body)
        # Of a cut body the last characters may be missing; one digit alone says nothing.
        digits = digits[: len(digits) - (len(digits) % 4 == 1)]
        return binascii.a2b_base64(digits + b"=" * (-len(digits) % 4))
    return body


def _base64_digits(body: bytes) -> bytes:
    """The digits up to the padding, or to a line of something else: mailing lists write their footers below the body,
    and the letters of a footer are digits, too. Single foreign bytes are left out."""
    digits = bytearray()
    for line in body.split(b"\n"):
        line = line.strip()
        inner = line.rstrip(b"=")
        found = _NO_BASE64.sub(b"", inner)
        if digits and len(inner) - len(found) > _FOREIGN_SHARE * len(inner):
            break
        digits += found
        if found and len(inner) < len(line):
            break
    return bytes(digits)


def _subject(value: bytes, shown: list[_Text]) -> tuple[str, tuple[str, ...]]:
    """Encoded words (RFC 2047) are decoded; bare bytes above 0x7F by the charset of the body. Never fails: what
    cannot be decoded becomes U+FFFD, and "subject_replaced" says so."""
    repairs: tuple[str, ...] = ()
    try:
        text = value.decode()
    except UnicodeDecodeError:
        codecs = [part.declared for part in shown] + [guess(part.content) for part in shown] + [guess(value)]
        for codec in (*filter(None, codecs), None):
            try:
                text = value.decode(codec or "ascii", "strict" if codec else "replace")
                repairs = (f"decoded:{codec}" if codec else "subject_replaced",)
                break
            except (UnicodeError, LookupError):
                continue
    if "=?" in text:
        try:
            words = decode_header(text)
        except (*_LIBRARY_ERRORS, binascii.Error):
            words = []
        text = "".join(_word(word, charset) for word, charset in words) or text
    return " ".join(text.split()), repairs


def _word(word: bytes | str, charset: str | None) -> str:
    if isinstance(word, str):
        return word
    if charset is None:  # decode_header spells what stands between as raw-unicode-escape
        return word.decode("raw-unicode-escape", "replace")
    try:
        return decode_any(word, 0, codec_of(charset))[0]
    except ReadError:
        return word.decode("ascii", "replace")


def _page(subject: str, shown: list[_Text], texts: list[str]) -> str:
    body = "\n".join(
        text if part.page else f"<pre>{html.escape(text)}</pre>" for part, text in zip(shown, texts, strict=True)
    )
    heading = f"<h1>{html.escape(subject)}</h1>\n" if subject else ""
    tag = _BODY_TAG.search(body)
    return heading + body if tag is None else body[: tag.end()] + heading + body[tag.end() :]


def _unflow(text: str, delsp: bool) -> str:
    """Joins the lines of format=flowed (RFC 3676)."""
    lines: list[list[str]] = []
    depth = -1  # quote depth of the line that goes on, or -1
    for line in text.split("\n"):
        content = line.lstrip(">")
        quotes = len(line) - len(content)
        content = content.removeprefix(" ")
        flowed = content.endswith(" ") and content != "-- "
        if quotes == depth and content != "-- ":
            lines[-1].append(content)
        else:
            lines.append([">" * quotes, " " if quotes and content else "", content])
        if flowed and delsp:
            lines[-1][-1] = content[:-1]
        depth = quotes if flowed else -1
    return "\n".join("".join(parts) for parts in lines)
