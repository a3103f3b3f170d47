"""A prepared corpus, memory-mapped: lengths from the Arrow offsets, tokens and rare-word spans without a copy."""

import hashlib
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

import schemas.arrow
from schemas.manifest import FileEntry, read_manifest
from schemas.shard import SchemaError, open_shard
from schemas.vocabulary import FIRST_ORDINARY

Split = Literal["train", "valid"]

_REPAIR: Final = "run `siliang-pipeline verify` on the corpus, then `siliang-pipeline prepare` again"

_DTYPES: Final[dict[pa.DataType, np.dtype[Any]]] = {
    pa.uint16(): np.dtype(np.uint16),
    pa.uint32(): np.dtype(np.uint32),
    pa.int32(): np.dtype(np.int32),
}


class CorpusError(ValueError):
    """A corpus cannot be used. The message names the file, what was found there and what to do."""


class RareSpans(NamedTuple):
    """Rare words of one document: tokens [start, end) are word `word` of the notes. uint32 views, read-only."""

    start: NDArray[np.uint32]
    end: NDArray[np.uint32]
    word: NDArray[np.uint32]


class Corpus:
    """One split of a prepared corpus. Opening reads the manifest and the Arrow offsets, never a token.

    Raises ManifestError (schemas.manifest) where there is no readable manifest, CorpusError where a shard that it lists
    is missing, damaged, or not what the manifest says. A split without documents opens (`documents` is 0).
    """

    def __init__(self, directory: str | Path, split: Split = "train") -> None:
        self.directory = Path(directory)
        self.split: Split = split
        manifest = read_manifest(directory)
        self.vocabulary_size = manifest.vocabulary_size
        if self.vocabulary_size <= FIRST_ORDINARY:
            raise CorpusError(
                f"{self.directory}: vocabulary_size {self.vocabulary_size} leaves nothing beside the special pieces"
            )
        entries = manifest.under(split)
        self.digest = _digest(entries)
        """sha256 over the manifest's entries of this split: equal digests, equal documents in equal order."""
        schema = schemas.arrow.example(self.vocabulary_size)
        self.token_dtype: np.dtype = _DTYPES[schema.field("tokens").type.value_type]
        """uint16 or uint32."""

        self._batches: list[pa.RecordBatch] = []  # keep the mappings alive; `addresses` points into them
        self._shards: list[tuple[str, int]] = []  # path and first document of every shard
        starts, lengths, addresses, total = [0], [], [], 0
        for entry in entries:
            self._shards.append((entry.path, total))
            for batch in _batches(self.directory, entry, schema):
                offsets, address = _token_offsets(batch, self.directory / entry.path)
                lengths.append(np.diff(offsets))
                addresses.append(address + offsets[:-1].astype(np.uint64) * np.uint64(self.token_dtype.itemsize))
                self._batches.append(batch)
                total += batch.num_rows
                starts.append(total)
        self._starts: NDArray[np.int64] = np.array(starts, dtype=np.int64)
        self.documents = total
        """Number of documents, empty ones included."""
        self.lengths: NDArray[np.int64] = np.concatenate([np.empty(0, np.int32), *lengths]).astype(np.int64)
        """Tokens of every document, shape (documents,)."""
        self.addresses: NDArray[np.uint64] = np.concatenate([np.empty(0, np.uint64), *addresses])
        """Memory address of every document's first token, shape (documents,), for kernels.
        Valid while this object lives."""
        self.tokens_total = int(self.lengths.sum())
        self.lengths.flags.writeable = self.addresses.flags.writeable = False

    def tokens(self, i: int) -> NDArray[np.uint16] | NDArray[np.uint32]:
        """Token ids of document i: a read-only view into the shard. Raises IndexError outside [0, documents)."""
        column, span = self._locate("tokens", i)
        return _view(column.values)[span]

    def rare(self, i: int) -> RareSpans:
        """Rare-word spans of document i: read-only views. Raises IndexError outside [0, documents)."""
        column, span = self._locate("rare", i)
        return RareSpans(*(_view(column.values.field(name))[span] for name in RareSpans._fields))

    def where(self, i: int) -> str:
        """Shard and row of document i, for error messages: 'train/shard-00000-of-00002.arrow, row 17'."""
        path, first = next((p, f) for p, f in reversed(self._shards) if f <= i)
        return f"{path}, row {i - first}"

    def _locate(self, name: str, i: int) -> tuple[pa.ListArray, slice]:
        """The column that holds list i, and where its values lie in it."""
        if not 0 <= i < self.documents:
            raise IndexError(f"document {i} of {self.documents:,} in {self.directory}/{self.split}")
        k = int(np.searchsorted(self._starts, i, side="right")) - 1
        column = self._batches[k].column(name)
        first, last = _view(column.offsets)[i - self._starts[k] :][:2]
        return column, slice(int(first), int(last))


def _digest(entries: list[FileEntry]) -> str:
    lines = "".join(f"{e.sha256} {e.bytes} {e.rows} {e.tokens} {e.path}\n" for e in entries)
    return hashlib.sha256(lines.encode()).hexdigest()


def _batches(directory: Path, entry: FileEntry, schema: pa.Schema) -> list[pa.RecordBatch]:
    path = directory / entry.path
    try:
        reader = open_shard(path, schema)
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
    if column.null_count or column.values.null_count:
        raise CorpusError(f"{path}: nulls in 'tokens'; {_REPAIR}")
    try:
        offsets, values = _view(column.offsets), _view(column.values)
    except ValueError as error:  # np.frombuffer: the buffer is smaller than its array
        raise CorpusError(f"{path}: 'tokens' ends before its last value; {_REPAIR}") from error
    if len(offsets) and (offsets[0] < 0 or offsets[-1] > len(values) or (offsets[1:] < offsets[:-1]).any()):
        raise CorpusError(f"{path}: damaged offsets in 'tokens'; {_REPAIR}")
    return offsets, np.uint64(values.ctypes.data)


def _view(array: pa.Array) -> NDArray:
    """An Arrow array of integers as a read-only numpy view. (Array.to_numpy would import pandas: 0.2 s at start.)"""
    dtype = _DTYPES[array.type]
    buffer = array.buffers()[1]
    if buffer is None or len(array) == 0:
        return np.empty(0, dtype=dtype)
    return np.frombuffer(buffer, dtype=dtype, count=len(array), offset=array.offset * dtype.itemsize)
