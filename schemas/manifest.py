"""`manifest.json`: the commit point of a prepared corpus. Written last; what it does not list does not exist.

It holds no times, hosts or absolute paths, so that equal input and config give equal bytes.
"""

import hashlib
import os
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

SCHEMA = "siliang/1"
"""Name and major version of the contract; a reader refuses a newer major version."""

_STORE = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/+(.*)")


class ManifestError(ValueError):
    """A manifest is missing, damaged, or of a newer major version. The message says which file and what to do."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Counts(_Frozen):
    """Records by verdict. input = kept + filtered + duplicate + quarantined, always."""

    input: int = 0
    kept: int = 0
    filtered: int = 0
    duplicate: int = 0
    quarantined: int = 0

    def balanced(self) -> bool:
        return self.input == self.kept + self.filtered + self.duplicate + self.quarantined


class FileEntry(_Frozen):
    """One file of the corpus."""

    path: str
    """Relative to the manifest's directory, with forward slashes."""
    sha256: str
    """Lower-case hex digest of the whole file."""
    bytes: int
    rows: int = 0
    """Arrow rows; 0 for files that are not Arrow."""
    tokens: int = 0
    """Token ids in the file; 0 where it holds none."""


class MixturePart(_Frozen):
    """One source of a weighted mixture."""

    weight: float
    """As configured; the source's share is its weight over the sum of all weights."""
    files: list[str]
    """Paths of its train shards, in order; they hold nothing else."""


class EarlierRun(_Frozen):
    """A finished output whose kept documents counted as already kept."""

    name: str
    """What stands before "//" in `duplicate_record` of the audit."""
    manifest: str
    """sha256 of its manifest.json."""
    kept: int
    """Its kept documents."""


class Manifest(_Frozen):
    """What a prepared corpus is and where it came from."""

    schema_: str = Field(default=SCHEMA, alias="schema")
    config: dict[str, Any]
    """The whole pipeline config of the run, defaults included, without paths or worker counts."""
    versions: dict[str, str]
    """Library name -> version, for those that decide bytes."""
    fingerprints: dict[str, str]
    """Stage -> sha256(stage version, its config, digests of its inputs)."""
    counts: Counts
    sources: dict[str, Counts]
    rules: dict[str, int]
    """Rule, duplicate kind or quarantine reason -> records it decided against."""
    files: list[FileEntry]
    """Sorted by path."""
    vocabulary_size: int
    tokens: int
    """Token ids in train, valid and test together."""
    source_tokens: dict[str, dict[str, int]] = {}
    """Source -> split (train, valid, test) -> token ids."""
    mixture: dict[str, MixturePart] = {}
    """Source -> its weight and train shards; empty where no mixture was configured."""
    against: list[EarlierRun] = []
    """Sorted by name. Their documents are in none of the counts."""
    vocabulary_note: str = ""
    """Which part of the corpus the vocabulary was learnt from, where that is not all of it."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    def under(self, directory: str) -> list[FileEntry]:
        """Files below a top directory ('train', 'valid', 'audit', 'notes', ...), in path order."""
        return [entry for entry in self.files if entry.path.startswith(directory + "/")]

    def to_bytes(self) -> bytes:
        options = orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE
        return orjson.dumps(self.model_dump(mode="json", by_alias=True), option=options)


def parse_manifest(data: bytes, name: str = "manifest.json") -> Manifest:
    """Raises ManifestError for damaged JSON, a foreign schema, or a newer major version."""
    try:
        raw = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise ManifestError(f"{name}: not valid JSON ({error}); run `siliang-pipeline prepare` again") from error
    schema = raw.get("schema") if isinstance(raw, dict) else None
    family, _, major = str(schema).partition("/")
    if family != "siliang" or not major.isdigit():
        raise ManifestError(f"{name}: schema is {schema!r}, not a Siliang manifest")
    if int(major) > int(SCHEMA.partition("/")[2]):
        raise ManifestError(f"{name}: schema {schema} is newer than this Siliang reads ({SCHEMA}); upgrade siliang")
    try:
        return Manifest.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ManifestError(f"{name}: field '{where}': {first['msg']}") from error


def read_manifest(directory: str | Path) -> Manifest:
    """Reads DIRECTORY/manifest.json from the local file system."""
    path = Path(directory) / "manifest.json"
    try:
        data = path.read_bytes()
    except OSError as error:
        reason = "no manifest.json here; an unfinished or foreign directory" if not path.exists() else str(error)
        if store := _STORE.match(str(directory)):
            # pathlib made one slash of two.
            directory = f"{store[1]}://{store[2]}"
            reason = "this command reads directories of this machine; copy it here (`verify` and `train` take URLs)"
        raise ManifestError(f"{directory}: {reason}") from error
    return parse_manifest(data, str(path))


def write_manifest(directory: str | Path, manifest: Manifest) -> None:
    """Atomic: a temporary file in the same directory, then a rename."""
    target = Path(directory) / "manifest.json"
    temporary = target.with_name(".manifest.json.tmp")
    temporary.write_bytes(manifest.to_bytes())
    os.replace(temporary, target)


def file_digest(path: str | Path) -> str:
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def verify_files(directory: str | Path, manifest: Manifest) -> Iterator[tuple[FileEntry, str | None]]:
    """Checks every listed file; yields (entry, problem), problem None where it is sound."""
    for entry in manifest.files:
        path = Path(directory) / entry.path
        yield entry, problem_of(entry, path.stat().st_size if path.is_file() else None, partial(file_digest, path))


def problem_of(entry: FileEntry, size: int | None, digest: Callable[[], str]) -> str | None:
    """What is wrong with a file of so many bytes (None: there is none), whose digest is asked for if need be."""
    if size is None:
        return "missing"
    if size != entry.bytes:
        return f"{size:,} bytes, the manifest says {entry.bytes:,}"
    if (found := digest()) != entry.sha256:
        return f"sha256 {found[:12]}..., the manifest says {entry.sha256[:12]}..."
    return None
