"""HTML pages: one record a file, its text the decoded markup."""

import re
from collections.abc import Iterator

from resiliparse.parse.encoding import map_encoding_to_html5

from pipeline.config import InputConfig
from pipeline.io.decompress import ReadError
from pipeline.io.formats.encoding import decode_any, decode_marked
from pipeline.io.formats.lines import collect
from pipeline.io.formats.record import Record, checked, decode, failed

_DECLARED = re.compile(rb"""<(?:meta\b[^>]*?charset|\?xml\b[^>]*?encoding)\s*=\s*["']?\s*([\w.:-]+)""", re.I)
_EMPTY = re.compile(
    r"""<([a-zA-Z][\w:.-]*+)((?:\s++[^\s=<>/"']++(?:\s*+=\s*+(?:"[^"]*+"|'[^']*+'))?+)*+)\s*+/>""", re.ASCII
)
_VOID = frozenset(
    ["area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track", "wbr"]
)
_PRESCAN = 1024
"""Bytes in which the declaration must stand (HTML standard, 13.2.3.2)."""


def declared_encoding(content: bytes) -> str:
    """The Python codec of the declared charset by the WHATWG labels (latin1 means windows-1252), or "utf-8".

    UTF-16 cannot be declared inside the page: the standard reads such a declaration as UTF-8.
    """
    match = _DECLARED.search(content, 0, _PRESCAN)
    if match is None:
        return "utf-8"
    name = map_encoding_to_html5(match.group(1).decode("ascii", "replace"), fallback_utf8=False)
    return "utf-8" if name is None or name.startswith("utf-16") else name


def read_xhtml(chunks: Iterator[bytes], config: InputConfig) -> Iterator[Record]:
    """A page of XML. Empty elements get an end tag: to a parser of HTML `<title/>` opens a title that never ends, and
    the whole page is in it."""
    for record in read_html(chunks, config):
        text = _EMPTY.sub(_closed, record.text)
        yield record._replace(text=text, chars=len(text) or record.chars, media="html")


def _closed(match: re.Match[str]) -> str:
    return match[0] if match[1].lower() in _VOID else f"<{match[1]}{match[2]}></{match[1]}>"


def read_html(chunks: Iterator[bytes], config: InputConfig) -> Iterator[Record]:
    """Charset from the byte-order mark, else the declaration, else UTF-8, else a guess. Bounded by
    `max_record_bytes`."""
    decoded = decode_marked(chunks)
    content, error = collect(decoded.chunks, config.max_record_bytes)
    if error is not None:
        yield failed(1, error, "", content)
        return
    repairs = decoded.repairs
    try:
        if decoded.marked:
            text = decode(content, decoded.start)
        else:
            text, repairs = decode_any(content, 0, declared_encoding(content))
    except ReadError as invalid:
        yield failed(1, invalid, "", content)
        return
    yield checked(1, text, "the page", config.max_record_bytes, repairs)
