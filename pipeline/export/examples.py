"""The rows of a split as they are exported, batch by batch."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from pipeline.words.tokenizer import Tokenizer
from schemas.arrow import example
from schemas.manifest import FileEntry, Manifest, ManifestError
from schemas.shard import open_shard


def example_batches(
    directory: Path, entry: FileEntry, manifest: Manifest, tokenizer: Tokenizer | None
) -> Iterator[pa.RecordBatch]:
    """The batches of one shard, with the decoded text as a last column `text` where a tokenizer is given.

    Raises SchemaError for a file that is no shard, ManifestError for one that is not the manifest's.
    """
    path = directory / entry.path
    reader = open_shard(path, example(manifest.vocabulary_size))
    rows = 0
    for number in range(reader.num_record_batches):
        batch = reader.get_batch(number)
        rows += batch.num_rows
        yield batch if tokenizer is None else batch.append_column("text", _texts(batch, tokenizer, path))
    if rows != entry.rows:
        raise ManifestError(f"{path}: {rows:,} rows, the manifest says {entry.rows:,}; run `siliang-pipeline verify`")


def _texts(batch: pa.RecordBatch, tokenizer: Tokenizer, path: Path) -> pa.StringArray:
    try:
        # Row by row: as Python integers, the ids of a whole batch would take 30 times their bytes.
        return pa.array([tokenizer.decode(row.values.to_numpy()) for row in batch["tokens"]], pa.string())
    except (IndexError, ValueError) as error:
        raise ManifestError(f"{path}: ids that are not in the vocabulary; run `siliang-pipeline verify`") from error
