"""Corpora in other places (s3://, gs://, https://, whatever fsspec opens), through a bounded cache of verified files.

A file is fetched under a name of its own, checked against the manifest's size and sha256, and renamed: what lies in the
cache under its final name is whole. Files are removed least recently used first, and only by the process that needs the
room; a removed file that is still mapped, here or in another process, stays readable until it is unmapped.
"""

import hashlib
import os
import threading
import uuid
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from schemas.manifest import FileEntry, Manifest, ManifestError, parse_manifest
from trainer.data.corpus_error import CorpusError

FETCHERS: Final = 4
"""Files fetched at a time."""

ATTEMPTS: Final = 3

CHUNK: Final = 1 << 20


def is_remote(place: object) -> bool:
    """Whether a place is a URL ('s3://bucket/corpus') and no local path."""
    return "://" in str(place)


class RemoteCorpus:
    """A corpus under a URL and its local mirror: manifest, vocabulary and frequencies are fetched at once, shards when
    they are wanted.

    CACHE/NAME-DIGEST/ mirrors the corpus; its lengths/ keeps each seen shard's document lengths, so that a shard need
    not be there to plan with it. `limit_bytes` bounds all files of the mirror's shards together.
    Raises ManifestError and CorpusError, naming the URL that is missing, unreachable or not what the manifest says.
    """

    def __init__(self, url: str, cache: str | Path, limit_bytes: int, **options: Any) -> None:
        self.url = url.rstrip("/")
        self.limit_bytes = limit_bytes
        import fsspec  # 0.1 s that local corpora do without

        self._filesystem, self._root = fsspec.core.url_to_fs(self.url, **options)
        try:
            data = self._filesystem.cat_file(f"{self._root}/manifest.json")
        except FileNotFoundError as error:
            raise ManifestError(f"{self.url}: no manifest.json there; an unfinished or foreign directory") from error
        except Exception as error:
            raise CorpusError(f"{self.url}/manifest.json: cannot be read ({_told(error)})") from error
        self.manifest: Manifest = parse_manifest(data, f"{self.url}/manifest.json")
        # By content: another corpus put under the same URL gets a mirror of its own.
        name = self.url.rsplit("/", 1)[-1] or "corpus"
        self.directory = Path(cache) / f"{name}-{hashlib.sha256(self.url.encode() + data).hexdigest()[:16]}"
        self.directory.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._coming: dict[str, Future[Path]] = {}
        self._used: dict[str, int] = {}
        self._clock = 0
        self._pool = ThreadPoolExecutor(FETCHERS, thread_name_prefix="siliang-fetch")
        _write(self.directory / "manifest.json", data)
        for entry in self.manifest.files:
            if entry.path.startswith(("vocabulary/", "frequency/")):
                self.fetch(entry)

    def path(self, entry: FileEntry) -> Path:
        return self.directory / entry.path

    def fetch(self, entry: FileEntry, needed: Iterable[str] = ()) -> Path:
        """The local file, fetched and verified where it is not there. `needed`: paths that must not make room."""
        with self._lock:
            self._clock += 1
            self._used[entry.path] = self._clock
        future = self.fetch_ahead(entry, needed)
        try:
            return future.result()
        finally:
            with self._lock:
                if self._coming.get(entry.path) is future:
                    del self._coming[entry.path]

    def fetch_ahead(self, entry: FileEntry, needed: Iterable[str] = ()) -> Future[Path]:
        """Starts to fetch a file; one that is here or on its way already is not fetched again."""
        with self._lock:
            known = self._coming.get(entry.path)
            if known is not None and not (known.done() and (known.exception() or not self.path(entry).exists())):
                return known
            future: Future[Path]
            if _has(self.path(entry), entry.bytes):
                future = Future()
                future.set_result(self.path(entry))
            else:
                future = self._pool.submit(self._fetch, entry, frozenset(needed) | {entry.path})
            self._coming[entry.path] = future
            return future

    def _fetch(self, entry: FileEntry, needed: frozenset[str]) -> Path:
        url, target = f"{self.url}/{entry.path}", self.path(entry)
        self._make_room(entry, needed)
        target.parent.mkdir(parents=True, exist_ok=True)
        problem = ""
        for _ in range(ATTEMPTS):
            temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}.tmp")
            digest, size = hashlib.sha256(), 0
            try:
                with self._filesystem.open(f"{self._root}/{entry.path}", "rb") as source, temporary.open("wb") as out:
                    while chunk := source.read(CHUNK):
                        digest.update(chunk)
                        size += len(chunk)
                        out.write(chunk)
                if size == entry.bytes and digest.hexdigest() == entry.sha256:
                    os.replace(temporary, target)
                    return target
                problem = (
                    f"{size:,} bytes with sha256 {digest.hexdigest()[:12]}..., "
                    f"the manifest says {entry.bytes:,} with {entry.sha256[:12]}..."
                )
            except FileNotFoundError as error:
                raise CorpusError(f"{url}: no longer there, the manifest lists it; prepare or copy it again") from error
            except OSError as error:
                if not target.parent.is_dir() or error.errno == 28:
                    raise CorpusError(f"{target.parent}: cannot hold {entry.path} ({error.strerror})") from error
                problem = _told(error)
            except Exception as error:
                # Each file system has errors of its own for a cut connection.
                problem = _told(error)
            finally:
                temporary.unlink(missing_ok=True)
        raise CorpusError(f"{url}: damaged or unreachable after {ATTEMPTS} attempts: {problem}")

    def _make_room(self, entry: FileEntry, needed: frozenset[str]) -> None:
        shards = [e for e in self.manifest.files if e.path.startswith(("train/", "valid/"))]
        with self._lock:
            coming = {path for path, future in self._coming.items() if not future.done()}
            # Those on their way have their room already.
            held = [e for e in shards if e.path != entry.path and (e.path in coming or self.path(e).is_file())]
            over = sum(e.bytes for e in held) + entry.bytes - self.limit_bytes
            for other in sorted(held, key=lambda e: self._used.get(e.path, 0)):
                if over <= 0:
                    return
                if other.path not in needed and other.path not in coming:
                    self.path(other).unlink(missing_ok=True)
                    over -= other.bytes
        if over > 0 and entry.path in {e.path for e in shards}:
            raise CorpusError(
                f"{self.url}: the shards needed at a time exceed the cache of {self.limit_bytes / 1e9:.2f} GB by "
                f"{over / 1e9:.2f} GB; raise data.cache_gb, or set data.order = 'blocks' with smaller blocks"
            )

    def lengths(self, entry: FileEntry) -> NDArray[np.int32] | None:
        """Document lengths of a shard seen before."""
        path = self._lengths_path(entry)
        if not _has(path, 4 * entry.rows):
            return None
        return np.fromfile(path, dtype=np.int32)

    def keep_lengths(self, entry: FileEntry, lengths: NDArray[np.int32]) -> None:
        path = self._lengths_path(entry)
        path.parent.mkdir(exist_ok=True)
        _write(path, lengths.astype(np.int32).tobytes())

    def _lengths_path(self, entry: FileEntry) -> Path:
        return self.directory / "lengths" / f"{entry.sha256}.int32"


def _write(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    temporary.write_bytes(data)
    os.replace(temporary, path)


def _has(path: Path, size: int) -> bool:
    try:
        return path.stat().st_size == size
    except OSError:
        return False


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]
