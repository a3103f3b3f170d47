"""Files anywhere fsspec reaches (local, gs://, s3://, memory://): few verbs, each atomic where it writes."""

import hashlib
import io
import os
import posixpath
import re
from pathlib import Path
from typing import Any
from uuid import uuid4

import fsspec
import pyarrow as pa
from fsspec.implementations.local import LocalFileSystem

_LOCAL = LocalFileSystem()
_WHOLE = {"s3", "s3a", "gs", "gcs"}
"""Stores where an object appears when its upload is complete: no temporary name, and no copy to rename it."""
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


def is_url(path: str) -> bool:
    return _URL.match(path) is not None


def resolve(path: str) -> tuple[fsspec.AbstractFileSystem, str]:
    """File system and the path inside it."""
    if not is_url(path):  # fsspec would take "a::b" for a chain of file systems and "c:/x" for a protocol
        return _LOCAL, os.path.abspath(os.path.expanduser(path))
    # Without listings kept: the driver would not see what workers, other processes, have written since it looked.
    return fsspec.url_to_fs(path, use_listings_cache=False)


def is_local(path: str) -> bool:
    return isinstance(resolve(path)[0], LocalFileSystem)


def join(base: str, *parts: str) -> str:
    return posixpath.join(base, *parts)


def exists(path: str) -> bool:
    fs, inner = resolve(path)
    return bool(fs.exists(inner))


def size(path: str) -> int:
    """Bytes of the file, or -1 where there is none."""
    fs, inner = resolve(path)
    try:
        return int(fs.size(inner))
    except FileNotFoundError:
        return -1


def stamp(path: str) -> str:
    """Cheap mark of a file's state, to see that it changed since: size and time, or the store's own mark."""
    fs, inner = resolve(path)
    if isinstance(fs, LocalFileSystem):
        state = os.stat(inner)
        return f"{state.st_size}-{state.st_mtime_ns}"
    return str(fs.ukey(inner))


def read_bytes(path: str) -> bytes:
    fs, inner = resolve(path)
    return bytes(fs.cat_file(inner))


def listing(directory: str) -> list[str]:
    """Names of the files directly in a directory, sorted; empty where it does not exist."""
    fs, inner = resolve(directory)
    try:
        entries = fs.ls(inner, detail=True)
    except FileNotFoundError:
        return []
    return sorted(posixpath.basename(e["name"]) for e in entries if e["type"] == "file")


def stamps(directory: str) -> dict[str, str]:
    """Name -> mark of the file's state, of the files directly in a directory; empty where it does not exist."""
    fs, inner = resolve(directory)
    try:
        found = fs.ls(inner, detail=True)
    except FileNotFoundError:
        return {}
    marks = ("size", "ino", "mtime", "ETag", "etag", "LastModified", "created")
    files = [entry for entry in found if entry["type"] == "file"]
    return {posixpath.basename(e["name"]): "-".join(str(e.get(mark)) for mark in marks) for e in files}


def entries(directory: str) -> list[str]:
    """Names of all that lies directly in a directory, sorted; empty where it does not exist."""
    fs, inner = resolve(directory)
    try:
        return sorted(posixpath.basename(name.rstrip("/")) for name in fs.ls(inner, detail=False))
    except FileNotFoundError:
        return []


def remove(path: str) -> None:
    fs, inner = resolve(path)
    if fs.exists(inner):
        fs.rm(inner)


def digest(path: str, start: int = 0, end: int | None = None) -> str:
    """sha256 of the file's bytes, or of those from `start` up to `end`, hex."""
    fs, inner = resolve(path)
    with fs.open(inner, "rb") as handle:
        if end is None:
            return hashlib.file_digest(handle, "sha256").hexdigest()
        found = hashlib.sha256()
        handle.seek(start)
        while start < end and (chunk := handle.read(min(end - start, 1 << 20))):
            found.update(chunk)
            start += len(chunk)
        return found.hexdigest()


def write_atomic(path: str, data: bytes) -> None:
    """The file holds the old bytes or the new ones, never a part."""
    with AtomicFile(path) as handle:
        handle.write(data)


def open_arrow(path: str) -> pa.ipc.RecordBatchFileReader:
    """Memory-mapped where the file is local."""
    fs, inner = resolve(path)
    if isinstance(fs, LocalFileSystem):
        return pa.ipc.open_file(pa.memory_map(inner, "r"))
    # Arrow does not close what it is given: no cache with tasks of its own, as gcsfs has by default.
    return pa.ipc.open_file(pa.PythonFile(fs.open(inner, "rb", cache_type="readahead"), mode="r"))


def local_copy(path: str, directory: Path) -> Path:
    """The file itself where it is local, else a copy in `directory`."""
    fs, inner = resolve(path)
    if isinstance(fs, LocalFileSystem):
        return Path(inner)
    target = directory / posixpath.basename(inner)
    fs.get_file(inner, str(target))
    return target


class AtomicFile(io.RawIOBase):
    """Writes under a temporary name beside the target; the rename on a clean close commits it. S3 and Google's storage
    rename by copying, and show no object before its upload is complete: there it is the upload's end that commits.

    Counts bytes and sha256 while writing, so that no file is read again to be listed. Each attempt has its own
    temporary name: two attempts at one file (a retry beside a zombie) never mix, and both end with equal bytes.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._fs, self._inner = resolve(path)
        self._fs.makedirs(posixpath.dirname(self._inner), exist_ok=True)
        protocols = self._fs.protocol
        self._whole = not _WHOLE.isdisjoint([protocols] if isinstance(protocols, str) else protocols)
        self._temporary = self._inner
        if not self._whole:
            name = f".{posixpath.basename(self._inner)}.{uuid4().hex}.tmp"
            self._temporary = posixpath.join(posixpath.dirname(self._inner), name)
        self._handle: Any = self._fs.open(self._temporary, "wb")
        if self._whole:
            # Closed by whom it may, the garbage collector too, nothing half written appears.
            self._handle.autocommit = False
        self._hash = hashlib.sha256()
        self.bytes = 0

    def writable(self) -> bool:
        return True

    def write(self, data) -> int:  # type: ignore[no-untyped-def,override]
        view = memoryview(data)
        self._handle.write(view)
        self._hash.update(view)
        self.bytes += view.nbytes
        return view.nbytes

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    def commit(self) -> None:
        if self._whole:
            self._handle.autocommit = True
        self._handle.close()
        if isinstance(self._fs, LocalFileSystem):
            os.replace(self._temporary, self._inner)
        elif not self._whole:
            self._fs.mv(self._temporary, self._inner)
        super().close()

    def abandon(self) -> None:
        """Closes and removes what was written; the target is untouched."""
        if not self.closed:
            if self._whole:
                self._handle.discard()
                self._handle.closed = True
                super().close()
                return
            self._handle.close()
            if self._fs.exists(self._temporary):
                self._fs.rm(self._temporary)
            super().close()

    def __enter__(self) -> "AtomicFile":
        return self

    def __exit__(self, kind, error, trace) -> None:  # type: ignore[no-untyped-def,override]
        if kind is None:
            self.commit()
        else:
            self.abandon()


def sweep_temporaries(directory: str) -> None:
    """Removes what killed writers left anywhere below a directory. Only while no worker runs."""
    fs, inner = resolve(directory)
    for path in fs.find(inner):
        name = posixpath.basename(path)
        if name.startswith(".") and name.endswith(".tmp"):
            fs.rm(path)
