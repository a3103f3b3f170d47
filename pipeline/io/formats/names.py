"""File names: which format and which compression a name promises."""

import re

FORMATS = {
    ".txt": "text",
    ".md": "text",
    ".html": "html",
    ".htm": "html",
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".parquet": "parquet",
}
COMPRESSIONS = {".gz": "gzip", ".zst": "zstd"}
WIKIEXTRACTOR = re.compile(r"wiki_\d{2,}")
KNOWN = f"{' '.join(FORMATS)} and wiki_NN, plain or with {' '.join(COMPRESSIONS)} behind"


def _suffix(name: str) -> str:
    """The last extension with its dot; a leading dot begins no extension."""
    dot = name.rfind(".")
    return name[dot:].lower() if dot > 0 else ""


def basename(path: str) -> str:
    return path.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1]


def compression_of(path: str) -> str | None:
    """The compression by extension: "gzip", "zstd" or None."""
    return COMPRESSIONS.get(_suffix(basename(path)))


def format_of(path: str) -> str | None:
    """The format by extension or WikiExtractor name, below an extension of compression; None where the name says
    nothing."""
    name = _without_compression(basename(path))
    if WIKIEXTRACTOR.fullmatch(name):
        return "wikiextractor"
    return FORMATS.get(_suffix(name))


def stem(path: str) -> str:
    """The base name without its extensions of compression and of format."""
    name = _without_compression(basename(path))
    return name[: -len(_suffix(name))] if _suffix(name) in FORMATS else name


def _without_compression(name: str) -> str:
    return name[: -len(_suffix(name))] if _suffix(name) in COMPRESSIONS else name
