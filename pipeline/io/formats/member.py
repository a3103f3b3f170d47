"""What every archive yields: one entry, with its content as a stream, or why it has none."""

import re
from collections.abc import Iterator
from typing import NamedTuple

from pipeline.io.decompress import ReadError

_DRIVE = re.compile(r"[A-Za-z]:")


class Member(NamedTuple):
    number: int
    """1-based ordinal of the entry in the archive, of whatever kind it is."""
    name: str
    """Relative path with forward slashes, without `.` and `..`; "" where the archive itself is meant."""
    size: int = 0
    """Stored bytes."""
    chunks: Iterator[bytes] = iter(())
    """To be read before the next member is asked for. Raises ReadError."""
    problem: ReadError | None = None
    renamed: bool = False
    """The stored name was absolute or held `..`."""
    kind: str | None = None
    """The format, where the archive tells it and not the name."""


def member_name(stored: str) -> tuple[str, bool]:
    """The name as it is shown, and whether the stored one leads out of the archive.

    Nothing is ever written under that name: what matters is that it is valid Unicode and stands below the archive's.
    """
    name = stored.replace("\\", "/").encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    inner = _DRIVE.sub("", name, count=1) if _DRIVE.match(name) else name
    parts = [part for part in inner.split("/") if part not in ("", ".")]
    sound = [part for part in parts if part != ".."]
    return "/".join(sound), inner != name or name.startswith("/") or len(sound) < len(parts)
