"""A prepared corpus in the formats of other trainers."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from pipeline.export.directory import ExportError, whole_directory
from pipeline.export.examples import example_batches
from pipeline.export.jsonl import write_jsonl
from pipeline.export.mds import MdsWriter
from pipeline.export.parquet import write_parquet
from pipeline.meter import tell
from pipeline.words.tokenizer import Tokenizer
from schemas.arrow import example, note
from schemas.manifest import FileEntry, Manifest, read_manifest
from schemas.shard import open_shard

FORMATS = ("parquet", "jsonl", "mds")
SPLITS = ("train", "valid", "test")
MODEL = "vocabulary/siliang.model"


@dataclass(frozen=True)
class Exported:
    """What one split came to."""

    split: str
    files: int
    documents: int
    tokens: int


def export(
    directory: str | Path, output: str | Path, form: str, splits: Sequence[str] = (), text: bool = False
) -> list[Exported]:
    """Writes OUTPUT/SPLIT/... of the given splits (all that have documents, by default), one shard after the other.

    Beside them the vocabulary, and the notes (as Parquet) that the rare spans point to; jsonl is text alone. OUTPUT is
    there whole or not at all. Equal corpora and equal library versions give equal bytes.
    Raises ExportError for what cannot be asked for, ManifestError and SchemaError for a damaged corpus.
    """
    root = Path(directory)
    if form not in FORMATS:
        raise ExportError(f"--format {form}: choose one of {', '.join(FORMATS)}")
    if unknown := sorted(set(splits) - set(SPLITS)):
        raise ExportError(f"--split {unknown[0]}: choose of {', '.join(SPLITS)}")
    manifest = read_manifest(root)
    filled = [split for split in SPLITS if any(entry.rows for entry in manifest.under(split))]
    if empty := sorted(set(splits) - set(filled)):
        there = ", ".join(filled) or "no split"
        raise ExportError(f"--split {empty[0]}: {root} has no document there, only in {there}")
    tokenizer = Tokenizer(root / MODEL) if text or form == "jsonl" else None
    with whole_directory(output) as target:
        chosen = [split for split in filled if not splits or split in splits]
        whole = sum(entry.rows for split in chosen for entry in manifest.under(split))
        rows = 0

        def counted(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            for batch in batches:
                yield batch
                nonlocal rows
                rows += batch.num_rows
                tell(rows, whole, "documents")

        done = [_split(root, manifest, split, target, form, tokenizer, counted) for split in chosen]
        if form != "jsonl":
            shutil.copyfile(root / MODEL, target / "siliang.model")
            for entry in manifest.under("notes"):
                reader = open_shard(root / entry.path, note(manifest.vocabulary_size))
                batches = (reader.get_batch(number) for number in range(reader.num_record_batches))
                write_parquet(_named(target, entry, "parquet"), reader.schema, batches)
    return done


def _split(
    root: Path,
    manifest: Manifest,
    split: str,
    target: Path,
    form: str,
    tokenizer: Tokenizer | None,
    counted: Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]],
) -> Exported:
    entries = manifest.under(split)
    schema = example(manifest.vocabulary_size)
    if tokenizer is not None:
        schema = schema.append(pa.field("text", pa.string()))

    def batches(entry: FileEntry) -> Iterator[pa.RecordBatch]:
        return counted(example_batches(root, entry, manifest, tokenizer))

    if form == "mds":
        writer = MdsWriter(target / split, schema)
        for entry in entries:
            writer.write(batches(entry))
        writer.close()
    for entry in entries if form == "parquet" else ():
        write_parquet(_named(target, entry, "parquet"), schema, batches(entry))
    for entry in entries if form == "jsonl" else ():
        write_jsonl(_named(target, entry, "jsonl"), batches(entry))
    files = sum(path.name != "index.json" for path in (target / split).iterdir())
    return Exported(split, files, sum(e.rows for e in entries), sum(e.tokens for e in entries))


def _named(target: Path, entry: FileEntry, suffix: str) -> Path:
    """train/shard-00000-of-00004.arrow as train/shard-00000-of-00004.SUFFIX."""
    return (target / entry.path).with_suffix(f".{suffix}")
