"""A prepared corpus, memory-mapped: lengths from the Arrow offsets, tokens and rare-word spans without a copy."""

import hashlib
import mmap
import threading
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

import schemas.arrow
from schemas.manifest import FileEntry, read_manifest
from schemas.shard import SchemaError, map_file, open_shard
from schemas.vocabulary import FIRST_ORDINARY
from trainer.data.corpus_error import CorpusError
from trainer.data.frequency import band_tickets, token_counts
from trainer.data.marks import Marks
from trainer.data.remote import FETCHERS, RemoteCorpus

Split = Literal["train", "valid", "test"]

_REPAIR: Final = "run `siliang-pipeline verify` on the corpus, then `siliang-pipeline prepare` again"

_DTYPES: Final[dict[pa.DataType, np.dtype[Any]]] = {
    pa.uint16(): np.dtype(np.uint16),
    pa.uint32(): np.dtype(np.uint32),
    pa.int32(): np.dtype(np.int32),
}


class RareSpans(NamedTuple):
    """Rare words of one document: tokens [start, end) are word `word` of the notes. uint32 views, read-only."""

    start: NDArray[np.uint32]
    end: NDArray[np.uint32]
    word: NDArray[np.uint32]


class Shard:
    """One file of a corpus, open or not."""

    def __init__(self, entry: FileEntry, first: int) -> None:
        self.entry = entry
        self.first = first
        """Its first document in the corpus."""
        self.opened: OpenShard | None = None


class OpenShard:
    """A shard in memory: keeps the mappings alive that `addresses` points into."""

    def __init__(self, directory: Path, entry: FileEntry, schema: pa.Schema, item_size: int) -> None:
        self.path = path = directory / entry.path
        mapping = _map(path)
        self.batches = _batches(path, entry, schema, mapping)
        starts, lengths, addresses = [0], [np.empty(0, np.int32)], [np.empty(0, np.uint64)]
        for batch in self.batches:
            offsets, address = _token_offsets(batch, path)
            lengths.append(np.diff(offsets))
            addresses.append(address + offsets[:-1].astype(np.uint64) * np.uint64(item_size))
            starts.append(starts[-1] + batch.num_rows)
        self.starts: NDArray[np.int64] = np.array(starts, dtype=np.int64)
        self.lengths: NDArray[np.int32] = np.concatenate(lengths)
        self.addresses: NDArray[np.uint64] = np.concatenate(addresses)
        _advise(mapping, "MADV_NORMAL")

    @cached_property
    def rare(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint64]]:
        """Of each row's rare spans: the first one's place in its batch [rows], their number [rows], and per batch the
        addresses of place 0 of `start`, `end` and `word` [batches, 3]. Checked, since a kernel follows them."""
        first, count = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
        bases = np.zeros((len(self.batches), len(RareSpans._fields)), dtype=np.uint64)
        for k, batch in enumerate(self.batches):
            column = batch.column("rare")
            offsets = _checked_offsets(column, "rare", self.path).astype(np.int64)
            first.append(offsets[:-1])
            count.append(np.diff(offsets))
            for j, name in enumerate(RareSpans._fields):
                bases[k, j] = _view(column.values.field(name)).ctypes.data
        return np.concatenate(first), np.concatenate(count), bases

    def values(self, name: str, row: int) -> tuple[pa.ListArray, slice]:
        """The column that holds list `row`, and where its values lie in it."""
        k = int(np.searchsorted(self.starts, row, side="right")) - 1
        column = self.batches[k].column(name)
        first, last = _view(column.offsets)[row - self.starts[k] :][:2]
        return column, slice(int(first), int(last))


class Corpus:
    """One split of a prepared corpus. Opening reads the manifest and the Arrow offsets, never a token.

    A remote corpus opens its shards when they are wanted; its first opening fetches every shard once for the lengths.
    Raises ManifestError (schemas.manifest) where there is no readable manifest, CorpusError where a shard that it lists
    is missing, damaged, or not what the manifest says. A split without documents opens (`documents` is 0).
    """

    def __init__(self, directory: str | Path | RemoteCorpus, split: Split = "train") -> None:
        self._remote = directory if isinstance(directory, RemoteCorpus) else None
        self.directory = directory.directory if isinstance(directory, RemoteCorpus) else Path(directory)
        self.split: Split = split
        self.is_remote = self._remote is not None
        manifest = self._remote.manifest if self._remote else read_manifest(self.directory)
        self.vocabulary_size = manifest.vocabulary_size
        if self.vocabulary_size <= FIRST_ORDINARY:
            raise CorpusError(
                f"{self.directory}: vocabulary_size {self.vocabulary_size} leaves nothing beside the special pieces"
            )
        entries = manifest.under(split)
        self.digest = _digest(entries)
        """sha256 over the manifest's entries of this split: equal digests, equal documents in equal order."""
        self.notes = manifest.under("notes")
        """Files of the notes of rare words; they belong to every split."""
        self._schema = schemas.arrow.example(self.vocabulary_size)
        self.token_dtype: np.dtype = _DTYPES[self._schema.field("tokens").type.value_type]
        """uint16 or uint32."""
        self.bytes = sum(entry.bytes for entry in entries)

        self._lock = threading.Lock()
        self._tickets: dict[tuple[int, ...], NDArray[np.uint8]] = {}
        self._shards: list[Shard] = []
        lengths, total = [np.empty(0, np.int32)], 0
        for entry in entries:
            self._shards.append(Shard(entry, total))
            lengths.append(self._lengths(self._shards[-1], entries))
            total += len(lengths[-1])
        self._firsts: NDArray[np.int64] = np.array([shard.first for shard in self._shards], dtype=np.int64)
        self.documents = total
        """Number of documents, empty ones included."""
        self.lengths: NDArray[np.int64] = np.concatenate(lengths).astype(np.int64)
        """Tokens of every document, shape (documents,)."""
        self.tokens_total = int(self.lengths.sum())
        self.lengths.flags.writeable = False
        self._addresses: NDArray[np.uint64] | None = None
        if self._remote is None:
            opened = [self._open(shard) for shard in self._shards]
            self._addresses = np.concatenate([np.empty(0, np.uint64), *(shard.addresses for shard in opened)])

    @cached_property
    def marks(self) -> Marks:
        """What the vocabulary's pieces say about words and sentences."""
        return Marks.read(self.directory, self.vocabulary_size)

    def tickets(self, bands: tuple[int, ...]) -> NDArray[np.uint8] | None:
        """Of every id, for masks by bands of frequency (`Masking.bands`); None where there are no bands."""
        if bands and bands not in self._tickets:
            counts = token_counts(self.directory, self.vocabulary_size)
            self._tickets[bands] = band_tickets(counts, bands)
        return self._tickets.get(bands)

    def locate(self, documents: NDArray[np.int64]) -> tuple[NDArray[np.uint64], Any]:
        """Memory address of each document's first token, and what keeps them valid."""
        if self._addresses is not None:
            return self._addresses[documents], self
        numbers = np.searchsorted(self._firsts, documents, side="right") - 1
        addresses = np.empty(len(documents), dtype=np.uint64)
        keep = []
        needed = [self._shards[k] for k in np.unique(numbers)]
        self._ahead(needed, needed)
        for k in np.unique(numbers):
            here, shard = numbers == k, self._shards[k]
            opened = self._open(shard, needed)
            addresses[here] = opened.addresses[documents[here] - shard.first]
            keep.append(opened)
        # Whatever else was open may go: plans keep what they point into.
        for shard in self._shards:
            if shard not in needed:
                shard.opened = None
        return addresses, keep

    def locate_rare(
        self, documents: NDArray[np.int64]
    ) -> tuple[NDArray[np.uint64], NDArray[np.int64], list[OpenShard]]:
        """Rare spans of each document: addresses of its first start, end and word [documents, 3] (uint32 each), their
        number [documents], and what keeps the addresses valid."""
        addresses = np.empty((len(documents), 3), dtype=np.uint64)
        counts = np.empty(len(documents), dtype=np.int64)
        numbers, keep = self.shard_numbers(documents), []
        needed = [self._shards[k] for k in np.unique(numbers)]
        for k, shard in zip(np.unique(numbers), needed, strict=True):
            here = numbers == k
            opened = self._open(shard, needed)
            rows = documents[here] - shard.first
            first, count, bases = opened.rare
            batch = np.searchsorted(opened.starts, rows, side="right") - 1
            addresses[here] = bases[batch] + (first[rows].astype(np.uint64) * np.uint64(4))[:, None]
            counts[here] = count[rows]
            keep.append(opened)
        return addresses, counts, keep

    def notes_paths(self) -> list[Path]:
        """Local files of the notes, in the order of their words; those of a remote corpus are fetched."""
        if self._remote is not None:
            return [self._remote.fetch(entry) for entry in self.notes]
        return [self.directory / entry.path for entry in self.notes]

    def fetch_ahead(self, documents: NDArray[np.int64], beside: NDArray[np.int64]) -> None:
        """Begins to fetch the shards of documents that will be wanted next; those of `beside` must stay. Nothing to do
        for a local corpus, or where the cache does not hold both."""
        if self._remote is None:
            return
        both = [self._shard_numbers(d) for d in (documents, beside)]
        needed = [self._shards[k] for k in np.union1d(*both)]
        if sum(shard.entry.bytes for shard in needed) <= self._remote.limit_bytes:
            self._ahead([self._shards[k] for k in both[0]], needed)

    def tokens(self, i: int) -> NDArray[np.uint16] | NDArray[np.uint32]:
        """Token ids of document i: a read-only view into the shard. Raises IndexError outside [0, documents)."""
        column, span = self._values("tokens", i)
        return _view(column.values)[span]

    def rare(self, i: int) -> RareSpans:
        """Rare-word spans of document i: read-only views. Raises IndexError outside [0, documents)."""
        column, span = self._values("rare", i)
        return RareSpans(*(_view(column.values.field(name))[span] for name in RareSpans._fields))

    def where(self, i: int) -> str:
        """Shard and row of document i, for error messages: 'train/shard-00000-of-00002.arrow, row 17'."""
        shard = self._shard(i)
        return f"{shard.entry.path}, row {i - shard.first}"

    def shard_numbers(self, documents: NDArray[np.int64]) -> NDArray[np.int64]:
        """Which shard each document lies in."""
        return np.searchsorted(self._firsts, documents, side="right") - 1

    def _shard_numbers(self, documents: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.unique(self.shard_numbers(documents))

    def _shard(self, i: int) -> Shard:
        if not 0 <= i < self.documents:
            raise IndexError(f"document {i} of {self.documents:,} in {self.directory}/{self.split}")
        return self._shards[int(np.searchsorted(self._firsts, i, side="right")) - 1]

    def _values(self, name: str, i: int) -> tuple[pa.ListArray, slice]:
        shard = self._shard(i)
        return self._open(shard).values(name, i - shard.first)

    def _ahead(self, shards: list[Shard], needed: list[Shard]) -> None:
        if self._remote is not None:
            for shard in shards:
                if shard.opened is None:
                    self._remote.fetch_ahead(shard.entry, [other.entry.path for other in needed])

    def _open(self, shard: Shard, needed: Sequence[Shard] = ()) -> OpenShard:
        opened = shard.opened
        if opened is not None:
            return opened
        with self._lock:
            if shard.opened is None:
                if self._remote is not None:
                    self._remote.fetch(shard.entry, [other.entry.path for other in needed])
                shard.opened = OpenShard(self.directory, shard.entry, self._schema, self.token_dtype.itemsize)
            return shard.opened

    def _lengths(self, shard: Shard, entries: list[FileEntry]) -> NDArray[np.int32]:
        if self._remote is None:
            return self._open(shard).lengths
        known = self._remote.lengths(shard.entry)
        if known is None:
            # The following ones meanwhile, as far as the cache holds them: twice, for what was asked for at the shard
            # before may still be on its way.
            following = entries[entries.index(shard.entry) :][:FETCHERS]
            if 2 * sum(entry.bytes for entry in following) <= self._remote.limit_bytes:
                for entry in following:
                    if self._remote.lengths(entry) is None:
                        self._remote.fetch_ahead(entry, [other.path for other in following])
            known = self._open(shard).lengths
            self._remote.keep_lengths(shard.entry, known)
            shard.opened = None
        return known


def _digest(entries: list[FileEntry]) -> str:
    lines = "".join(f"{e.sha256} {e.bytes} {e.rows} {e.tokens} {e.path}\n" for e in entries)
    return hashlib.sha256(lines.encode()).hexdigest()


def _advise(mapping: mmap.mmap, name: str) -> None:
    if hasattr(mmap, name):  # Linux and macOS
        mapping.madvise(getattr(mmap, name))


def _map(path: Path) -> mmap.mmap:
    """The file, for now without read-ahead: offsets are spread over it, and what the kernel fetches around them made a
    first opening of 1e9 tokens take 1.2 to 1.5 s instead of 0.3 s."""
    try:
        mapping = map_file(path)
    except SchemaError as error:
        raise CorpusError(f"{error}; {_REPAIR}") from error
    _advise(mapping, "MADV_RANDOM")
    return mapping


def _batches(path: Path, entry: FileEntry, schema: pa.Schema, mapping: mmap.mmap) -> list[pa.RecordBatch]:
    try:
        reader = open_shard(path, schema, mapping)
        if (size := path.stat().st_size) != entry.bytes:
            raise CorpusError(f"{path}: {size:,} bytes, the manifest says {entry.bytes:,}; {_REPAIR}")
        batches = [reader.get_batch(k) for k in range(reader.num_record_batches)]
    except (SchemaError, pa.ArrowInvalid, OSError) as error:
        message = str(error) if str(path) in str(error) else f"{path}: damaged ({error})"
        raise CorpusError(f"{message}; {_REPAIR}") from error
    rows = sum(batch.num_rows for batch in batches)
    if rows != entry.rows:
        raise CorpusError(f"{path}: {rows:,} rows, the manifest says {entry.rows:,}; {_REPAIR}")
    return batches


def _token_offsets(batch: pa.RecordBatch, path: Path) -> tuple[NDArray[np.int32], np.uint64]:
    """Offsets of the token lists (rows + 1) and the address of value 0.

    Checked, since the kernels follow them unguarded.
    """
    column = batch.column("tokens")
    offsets = _checked_offsets(column, "tokens", path)
    return offsets, np.uint64(_view(column.values).ctypes.data)


def _checked_offsets(column: pa.ListArray, name: str, path: Path) -> NDArray[np.int32]:
    """Offsets of a list column (rows + 1). Raises CorpusError where they do not lie in its values."""
    if column.null_count or column.values.null_count:
        raise CorpusError(f"{path}: nulls in '{name}'; {_REPAIR}")
    fields = [column.values.field(f) for f in RareSpans._fields] if name == "rare" else [column.values]
    try:
        offsets, held = _view(column.offsets), min(len(_view(values)) for values in fields)
    except ValueError as error:  # np.frombuffer: the buffer is smaller than its array
        raise CorpusError(f"{path}: '{name}' ends before its last value; {_REPAIR}") from error
    if len(offsets) and (offsets[0] < 0 or offsets[-1] > held or (offsets[1:] < offsets[:-1]).any()):
        raise CorpusError(f"{path}: damaged offsets in '{name}'; {_REPAIR}")
    return offsets


def _view(array: pa.Array) -> NDArray:
    """An Arrow array of integers as a read-only numpy view. (Array.to_numpy would import pandas: 0.2 s at start.)"""
    dtype = _DTYPES[array.type]
    buffer = array.buffers()[1]
    if buffer is None or len(array) == 0:
        return np.empty(0, dtype=dtype)
    return np.frombuffer(buffer, dtype=dtype, count=len(array), offset=array.offset * dtype.itemsize)
