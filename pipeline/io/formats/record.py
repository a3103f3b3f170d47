"""What every format yields: one record, sound or quarantined."""

import unicodedata
from typing import Any, NamedTuple

from pipeline.io.decompress import ReadError

REASONS = (
    "truncated_stream",
    "corrupt_stream",
    "corrupt_parquet",
    "corrupt_arrow",
    "corrupt_archive",
    "corrupt_database",
    "invalid_query",
    "invalid_utf8",
    "nul_bytes",
    "empty",
    "invalid_json",
    "invalid_csv",
    "missing_text",
    "not_text",
    "record_too_long",
    "decompression_bomb",
    "unreadable",
    "unsupported_format",
    "link_loop",
    "special_member",
    "encrypted",
    "nested_archive",
    "too_many_members",
    "duplicate_member",
)
"""Every reason code a reader gives."""


MARKS = 1000
"""Combining marks in a row, from which a text is hostile: Unicode normalisation sorts them in quadratic time, and 10 MB
of them would take a day. Living scripts need three."""


class Record(NamedTuple):
    """One record of a file. Sound if `reason` is None, else `text` is empty and `raw` holds what there was."""

    position: int
    """1-based: line number in line formats, else ordinal of the record, or of the piece of split text."""
    text: str
    repairs: tuple[str, ...] = ()
    reason: str | None = None
    detail: str | None = None
    raw: bytes = b""
    chars: int = 0
    """Code points of the text, or 0 where it could not be decoded."""
    member: str = ""
    """Path of the member of the archive that holds the record, below the name of the file; "" outside of archives."""
    media: str = ""
    """"text" or "html" where it is not what the name of the file says."""


def quarantined(position: int, reason: str, detail: str, raw: bytes = b"", chars: int = 0) -> Record:
    return Record(position, "", (), reason, detail, raw, chars)


def failed(position: int, error: ReadError, where: str = "", raw: bytes = b"") -> Record:
    """A quarantined record for `error`, at `where` ("line 7, byte 120")."""
    return quarantined(position, error.reason, f"{where}: {error.detail}" if where else error.detail, raw)


def checked(position: int, text: str, where: str, limit: int, repairs: tuple[str, ...] = ()) -> Record:
    """A sound record, unless its text is blank, holds NUL characters or a run of combining marks that is no writing, or
    takes more than `limit` bytes as UTF-8."""
    if not text or text.isspace():
        return _unsound(position, text, "empty", f"{where}: there is no text")
    nul = text.find("\0")
    if nul >= 0:
        return _unsound(position, text, "nul_bytes", f"{where}: NUL at character {nul + 1} of the text")
    if len(text) * 4 > limit:
        size = len(text.encode())
        if size > limit:
            return _unsound(position, text, "record_too_long", too_long(size, limit, where))
    marks = _marks(text)
    if marks >= 0:
        detail = f"{where}: more than {MARKS} combining marks in a row, around character {marks + 1} of the text"
        return _unsound(position, text, "not_text", detail)
    return Record(position, text, repairs, chars=len(text))


def _marks(text: str) -> int:
    """A place in a run of at least 2 x MARKS marks, -1 where there is none. Of shorter ones some are found: any run of
    MARKS covers one of the places that are looked at."""
    if len(text) < 2 * MARKS:
        return -1
    sampled = text[MARKS - 1 :: MARKS]
    if sampled.isascii():
        return -1
    for number, character in enumerate(sampled, 1):
        if unicodedata.combining(character):
            at = number * MARKS - 1
            around = text[at - MARKS + 1 : at + MARKS]
            if all(map(unicodedata.combining, around[:MARKS])) or all(map(unicodedata.combining, around[MARKS - 1 :])):
                return at
    return -1


def too_long(size: int, limit: int, where: str) -> str:
    return f"{where}: {size} bytes, more than max_record_bytes = {limit}"


def _unsound(position: int, text: str, reason: str, detail: str) -> Record:
    return quarantined(position, reason, detail, text.encode(), len(text))


def decode(content: bytes, offset: int) -> str:
    """Strict UTF-8. Raises ReadError `invalid_utf8` naming the byte, counted from `offset`."""
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        byte = content[error.start]
        raise ReadError(
            "invalid_utf8", f"byte {offset + error.start} (0x{byte:02x}) is not valid UTF-8 ({error.reason})"
        ) from error


def without_surrogates(text: str) -> tuple[str, tuple[str, ...]]:
    """Lone surrogates, which JSON escapes can spell, become U+FFFD; says so as the repair `surrogates`."""
    try:
        text.encode()
    except UnicodeEncodeError:
        # A pair spelt as two escapes was joined by the JSON parser: whatever is left stands alone.
        return "".join("\ufffd" if "\ud800" <= c <= "\udfff" else c for c in text), ("surrogates",)
    return text, ()


def text_of(value: Any, fields: tuple[str, ...]) -> str:
    """The text of a parsed JSON value: a string, or the first present of `fields` of an object.

    Raises ReadError `missing_text` or `not_text`. Lone surrogates are left in.
    """
    if isinstance(value, str):
        return value
    if not isinstance(value, dict):
        raise ReadError("not_text", f"the record is {_kind(value)}, not an object or a string")
    for field in fields:
        found = _lookup(value, field)
        if found is not _ABSENT:
            return joined(found, field)
    raise missing_text(list(value), fields)


_ABSENT = object()


def _lookup(value: dict[str, Any], field: str) -> Any:
    """A key of that very name, else from object to object at the dots; _ABSENT where there is none."""
    while field not in value:
        name, dot, field = field.partition(".")
        value = value.get(name) if dot else None  # type: ignore[assignment]
        if not isinstance(value, dict):
            return _ABSENT
    return value[field]


def missing_text(found: list[str], fields: tuple[str, ...]) -> ReadError:
    shown = ", ".join(name[:40] for name in found[:10]) + (", ..." if len(found) > 10 else "")
    return ReadError("missing_text", f"no text field: looked for {', '.join(fields)}; found {shown or 'no field'}")


def joined(value: Any, field: str) -> str:
    """A string, or a list of strings joined by newlines. Raises ReadError `not_text`."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        for number, item in enumerate(value, 1):
            if not isinstance(item, str):
                raise ReadError("not_text", f"item {number} of field '{field}' is {_kind(item)}, not a string")
        return "\n".join(value)
    raise ReadError("not_text", f"field '{field}' is {_kind(value)}, not a string")


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, int | float):
        return f"a number ({str(value)[:20]})"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, dict):
        return "an object"
    return f"a {type(value).__name__}"
