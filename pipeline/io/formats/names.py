"""File names: which format and which compression a name promises."""

import re
from collections.abc import Mapping
from fnmatch import fnmatchcase

FORMATS = {
    ".txt": "text",
    ".md": "text",
    ".html": "html",
    ".htm": "html",
    ".xhtml": "xhtml",
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".feather": "arrow",
    ".ipc": "arrow",
    ".eml": "mail",
    ".mbox": "mbox",
    ".warc": "warc",
    ".wet": "warc",
    ".db": "sqlite",
    ".sqlite": "sqlite",
    ".sqlite3": "sqlite",
    ".tar": "tar",
    ".zip": "zip",
    ".epub": "epub",
}
ARCHIVES = frozenset({"tar", "zip", "epub"})
"""Formats whose members are read as files."""
COMPRESSIONS = {".gz": "gzip", ".zst": "zstd", ".bz2": "bzip2", ".xz": "xz"}
_SHORT = {".tgz": ".tar.gz", ".tbz": ".tar.bz2", ".tbz2": ".tar.bz2", ".txz": ".tar.xz", ".tzst": ".tar.zst"}
WIKIEXTRACTOR = re.compile(r"wiki_\d{2,}")
KNOWN = f"{' '.join(FORMATS)} and wiki_NN, plain or with {' '.join(COMPRESSIONS)} behind, and {' '.join(_SHORT)}"


def _suffix(name: str) -> str:
    """The last extension with its dot; a leading dot begins no extension."""
    dot = name.rfind(".")
    return name[dot:].lower() if dot > 0 else ""


def basename(path: str) -> str:
    return path.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1]


def hidden(relative: str) -> bool:
    """Whether a component begins with "." or "_": such files and members of archives (.DS_Store, __MACOSX) are
    ignored."""
    return any(part[:1] in (".", "_") for part in relative.split("/"))


def compression_of(path: str) -> str | None:
    """The compression by extension: "gzip", "zstd", "bzip2", "xz" or None."""
    return COMPRESSIONS.get(_suffix(_written_out(basename(path))))


def unpacked_by_reader(path: str) -> bool:
    """Whether the format's reader takes the stored bytes: each record of a .warc.gz is a gzip member of its own."""
    return format_of(path) == "warc" and compression_of(path) == "gzip"


def format_of(path: str) -> str | None:
    """The format by extension or WikiExtractor name, below an extension of compression; None where the name says
    nothing."""
    name = _without_compression(_written_out(basename(path)))
    if WIKIEXTRACTOR.fullmatch(name):
        return "wikiextractor"
    return FORMATS.get(_suffix(name))


def chosen_format(relative: str, path: str, formats: Mapping[str, str]) -> str | None:
    """The format of the first pattern in `formats` that `relative` matches, else that of the name."""
    return next((kind for pattern, kind in formats.items() if fnmatchcase(relative, pattern)), format_of(path))


def stem(path: str) -> str:
    """The base name without its extensions of compression and of format."""
    name = _without_compression(_written_out(basename(path)))
    return name[: -len(_suffix(name))] if _suffix(name) in FORMATS else name


def _written_out(name: str) -> str:
    suffix = _suffix(name)
    return name[: -len(suffix)] + _SHORT[suffix] if suffix in _SHORT else name


def _without_compression(name: str) -> str:
    return name[: -len(_suffix(name))] if _suffix(name) in COMPRESSIONS else name
