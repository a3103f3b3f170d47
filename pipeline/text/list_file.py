"""Lists of words or URLs that rules of a config name: a text file, one entry a line."""

import hashlib
import unicodedata
from collections.abc import Iterable
from pathlib import Path

MAX_BYTES = 16 << 20
"""A list travels to every worker with the config."""


def entries_of(lines: Iterable[str]) -> tuple[str, ...]:
    """What the lines name, in their order, each once: in NFC, white space at its ends left out and inside one space.
    Blank lines and those that begin with '#' name nothing."""
    cleaned = (" ".join(unicodedata.normalize("NFC", line).split()) for line in lines)
    return tuple(dict.fromkeys(entry for entry in cleaned if entry and not entry.startswith("#")))


def sha256_of(entries: Iterable[str]) -> str:
    """Of entries that no file holds: one a line."""
    return hashlib.sha256("".join(f"{entry}\n" for entry in entries).encode()).hexdigest()


def read_list(path: Path) -> tuple[tuple[str, ...], str]:
    """Entries of a file and the sha256 of its bytes. Raises ValueError, whose message names the file."""
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise ValueError(f"{path}: a list may have {MAX_BYTES:,} bytes, this one has {size:,}")
        data = path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror})") from error
    try:
        entries = entries_of(data.decode("utf-8-sig").splitlines())
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: byte {error.start} is not UTF-8") from error
    if not entries:
        raise ValueError(f"{path}: names nothing")
    return entries, hashlib.sha256(data).hexdigest()
