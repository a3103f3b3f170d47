"""Every file of an output against its manifest, on this machine or behind a URL."""

from collections.abc import Iterator
from functools import partial

from pipeline.io import filesystem
from schemas.manifest import FileEntry, Manifest, ManifestError, parse_manifest, problem_of, read_manifest, verify_files


def read_any_manifest(directory: str) -> Manifest:
    """Raises ManifestError, OSError."""
    if not filesystem.is_url(directory):
        return read_manifest(directory)
    path = filesystem.join(directory, "manifest.json")
    if not filesystem.exists(path):
        raise ManifestError(f"{directory}: no manifest.json here; an unfinished or foreign directory")
    return parse_manifest(filesystem.read_bytes(path), path)


def verify(directory: str, manifest: Manifest) -> Iterator[tuple[FileEntry, str | None]]:
    """(entry, problem), problem None where the file is sound. Remote files are read once, and not kept."""
    if not filesystem.is_url(directory):
        yield from verify_files(directory, manifest)
        return
    for entry in manifest.files:
        path = filesystem.join(directory, entry.path)
        size = filesystem.size(path)
        yield entry, problem_of(entry, None if size < 0 else size, partial(filesystem.digest, path))
