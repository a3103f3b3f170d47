"""Small real corpora for the trainer's tests: Arrow shards and a manifest, written as the pipeline writes them."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa
import pytest

import schemas.arrow
from schemas.manifest import Counts, FileEntry, Manifest, file_digest, write_manifest

Documents = Sequence[Sequence[int]]
Spans = Sequence[Sequence[tuple[int, int, int]]]
Contexts = Sequence[Sequence[tuple[Sequence[int], int, int]]]


def write_shard(path: Path, documents: Documents, rare: Spans, vocabulary_size: int, batch_rows: int) -> None:
    """One Arrow IPC file of examples; `rare` holds (start, end, word) spans per document."""
    schema = schemas.arrow.example(vocabulary_size)
    path.parent.mkdir(parents=True, exist_ok=True)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        for first in range(0, len(documents), batch_rows):
            chunk = slice(first, first + batch_rows)
            columns = [
                [hashlib.md5(f"{path.name} {first + i}".encode()).hexdigest() for i in range(len(documents[chunk]))],
                [list(document) for document in documents[chunk]],
                [[{"start": s, "end": e, "word": w} for s, e, w in spans] for spans in rare[chunk]],
            ]
            arrays = [pa.array(c, type=field.type) for c, field in zip(columns, schema, strict=True)]
            writer.write_batch(pa.record_batch(arrays, schema=schema))


def write_notes(path: Path, contexts: Contexts, vocabulary_size: int, first: int) -> None:
    """One notes file of words `first`, `first` + 1, ...; each with its windows (tokens, start, end)."""
    schema = schemas.arrow.note(vocabulary_size)
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [
        {
            "word_id": first + k, "word": f"w{first + k:05d}", "count": 3, "documents": 2, "family": None,
            "contexts": [{"doc_id": "0" * 32, "tokens": list(t), "start": s, "end": e} for t, s, e in windows],
        }
        for k, windows in enumerate(contexts)
    ]  # fmt: skip
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        writer.write_batch(pa.RecordBatch.from_pylist(rows, schema=schema))


def write_corpus(
    directory: Path,
    documents: Documents,
    vocabulary_size: int = 512,
    valid: Documents = (),
    rare: Spans | None = None,
    shards: int = 2,
    batch_rows: int = schemas.arrow.BATCH_ROWS,
    valid_rare: Spans | None = None,
    contexts: Contexts = (),
) -> Path:
    """Writes DIRECTORY/{train,valid}/shard-*.arrow and manifest.json; returns DIRECTORY.

    Documents are dealt to `shards` shards in contiguous runs, so document i of the corpus is documents[i].
    `rare` belongs to the training documents. `contexts` are the windows of word 0, 1, ...: notes in two files.
    """
    directory = Path(directory)
    entries = []
    for split, rows in (("train", documents), ("valid", valid)):
        spans = (rare if split == "train" else valid_rare) or [()] * len(rows)
        count = min(shards, len(rows))
        for k in range(count):
            path = directory / split / f"shard-{k:05d}-of-{count:05d}.arrow"
            run = slice(k * len(rows) // count, (k + 1) * len(rows) // count)
            write_shard(path, rows[run], spans[run], vocabulary_size, batch_rows)
            entries.append(
                FileEntry(
                    path=path.relative_to(directory).as_posix(),
                    sha256=file_digest(path),
                    bytes=path.stat().st_size,
                    rows=len(rows[run]),
                    tokens=sum(map(len, rows[run])),
                )
            )
    for k in range(2 if contexts else 0):
        path, first = directory / "notes" / f"notes-{k:05d}-of-00002.arrow", k * (len(contexts) // 2)
        run = contexts[first : None if k else len(contexts) // 2]
        write_notes(path, run, vocabulary_size, first)
        name, size = path.relative_to(directory).as_posix(), path.stat().st_size
        entries.append(FileEntry(path=name, sha256=file_digest(path), bytes=size, rows=len(run)))
    kept = len(documents) + len(valid)
    manifest = Manifest(
        config={},
        versions={},
        fingerprints={},
        counts=Counts(input=kept, kept=kept),
        sources={"test": Counts(input=kept, kept=kept)},
        rules={},
        files=sorted(entries, key=lambda entry: entry.path),
        vocabulary_size=vocabulary_size,
        tokens=sum(entry.tokens for entry in entries),
    )
    write_manifest(directory, manifest)
    return directory


@pytest.fixture(scope="session")
def make_corpus() -> Callable[..., Path]:
    """`make_corpus(directory, documents, vocabulary_size=512, valid=(), ...) -> directory`; see `write_corpus`."""
    return write_corpus
