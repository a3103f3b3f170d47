"""How documents were held out, and whether any of them can be met in training."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa

from pipeline.report.audit import read_table
from pipeline.report.model import Check, Split, Splits
from pipeline.report.rows import identities
from schemas.arrow import example, note
from schemas.manifest import FileEntry, Manifest
from schemas.shard import open_shard

NAMES: tuple[Literal["train", "valid", "test"], ...] = ("train", "valid", "test")
HELD_OUT: tuple[Literal["valid", "test"], ...] = ("valid", "test")


def splits(root: Path, manifest: Manifest) -> Splits:
    """Looks at the doc_ids of all shards and notes; a check whose shards are not there (of a remote output the train
    shards stay where they are) is told as not made. Memory: 48 bytes for each held-out document.

    Raises SchemaError for a damaged shard.
    """
    files = {name: manifest.under(name) for name in NAMES}
    schema, notes = example(manifest.vocabulary_size), note(manifest.vocabulary_size)
    there = {name: all((root / entry.path).exists() for entry in entries) for name, entries in files.items()}
    held = {name: Documents(_ids(root, files[name], schema)) for name in HELD_OUT if there[name]}
    found = windows = leaked = 0
    if all(there.values()):
        found = sum(part.among(ids) for ids in _ids(root, files["train"], schema) for part in held.values())
        found += sum(held["valid"].among(ids) for ids in _ids(root, files["test"], schema))
    if len(held) == len(HELD_OUT):
        for ids in _contexts(root, manifest.under("notes"), notes):
            windows += len(ids)
            leaked += sum(part.among(ids) for part in held.values())
    return Splits(
        splits=tuple(
            Split(
                name=name,
                documents=sum(entry.rows for entry in entries),
                tokens=sum(entry.tokens for entry in entries),
                files=len(entries),
            )
            for name, entries in files.items()
            if entries
        ),
        checks=(
            Check(
                name="documents",
                title="No document is in two splits",
                looked_at=sum(entry.rows for entries in files.values() for entry in entries)
                if all(there.values())
                else None,
                found=found,
                detail="doc_ids of all shards" if all(there.values()) else "the train shards are not at hand",
            ),
            Check(
                name="notes",
                title="No note shows a held-out document",
                looked_at=windows if len(held) == len(HELD_OUT) else None,
                found=leaked,
                detail="doc_ids of the rare words' context windows",
            ),
        ),
    )


class Documents:
    """The documents of a split by their ids."""

    def __init__(self, parts: Iterator[pa.Array]) -> None:
        found = [identities(part) for part in parts]
        self._high = np.concatenate([np.empty(0, np.uint64), *(high for high, _ in found)])
        self._low = np.concatenate([np.empty(0, np.uint64), *(low for _, low in found)])
        self._sorted = np.unique(self._high)

    def among(self, doc_ids: pa.Array) -> int:
        """How many of these ids are in the split."""
        if not len(self._sorted) or not len(doc_ids):
            return 0
        high, low = identities(doc_ids)
        place = np.minimum(np.searchsorted(self._sorted, high), len(self._sorted) - 1)
        hits = np.flatnonzero(self._sorted[place] == high)
        if not len(hits):
            return 0
        # Half an id met: rare without a leak, so that the other half may be compared one by one.
        mine = np.flatnonzero(np.isin(self._high, high[hits]))
        whole = set(zip(self._high[mine].tolist(), self._low[mine].tolist(), strict=True))
        return sum(pair in whole for pair in zip(high[hits].tolist(), low[hits].tolist(), strict=True))


def _open(root: Path, entry: FileEntry, schema: pa.Schema, column: str) -> pa.ipc.RecordBatchFileReader:
    path = root / entry.path
    open_shard(path, schema)
    options = pa.ipc.IpcReadOptions(included_fields=[schema.get_field_index(column)])
    return pa.ipc.open_file(pa.OSFile(str(path)), options=options)


def _ids(root: Path, files: Sequence[FileEntry], schema: pa.Schema) -> Iterator[pa.Array]:
    """doc_ids, batch by batch. Shards are not compressed: nothing else is read."""
    for entry in files:
        reader = _open(root, entry, schema, "doc_id")
        for index in range(reader.num_record_batches):
            yield read_table(reader, [index], root / entry.path).column(0).combine_chunks()


def _contexts(root: Path, files: Sequence[FileEntry], schema: pa.Schema) -> Iterator[pa.Array]:
    for entry in files:
        reader = _open(root, entry, schema, "contexts")
        for index in range(reader.num_record_batches):
            contexts = read_table(reader, [index], root / entry.path).column(0).combine_chunks()
            yield contexts.flatten().field("doc_id")
