"""The clean texts of records, read back from the documents that `prepare` left among its stages."""

from collections.abc import Iterable
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.io import filesystem
from pipeline.report.audit import tables
from pipeline.stages.documents import EARLIER, FIRST_EARLIER, document_batches, record_prefix
from pipeline.stages.layout import documents_path
from schemas.manifest import ManifestError, read_manifest

Key = tuple[str, str]
"""(record, doc_id): a record of an earlier run may have the name of one of this run."""


def texts_of(root: Path, wanted: Iterable[Key]) -> dict[Key, str]:
    """Clean texts as they were compared, less what was cut; of a run that no longer has its documents none.

    Looks into the earlier runs that the corpus was deduplicated against for what this one does not hold. Reads one
    batch at a time, and only of the parts that hold a wanted record.
    """
    missing = set(wanted)
    found: dict[Key, str] = {}
    for directory, prefix in ((root, ""), *_earlier(root)):
        here = {(record[len(prefix) :], doc_id) for record, doc_id in missing if record.startswith(prefix)}
        if here:
            found |= {(prefix + record, doc_id): text for (record, doc_id), text in _read(directory, here).items()}
            missing -= found.keys()
    return found


def _earlier(root: Path) -> list[tuple[Path, str]]:
    """Directories of earlier runs, and what stands before the names of their records."""
    path = root / EARLIER
    if not path.exists():
        return []
    first: dict[str, int] = {}
    for part, (directory, _, _) in enumerate(orjson.loads(path.read_bytes())):
        first.setdefault(directory, FIRST_EARLIER + part)
    return [(Path(directory), record_prefix(str(root), part)) for directory, part in first.items()]


def _read(root: Path, wanted: set[Key]) -> dict[Key, str]:
    try:
        files = read_manifest(root).under("audit")
    except ManifestError:
        return {}
    names = pa.array(sorted({record for record, _ in wanted}), pa.string())
    found: dict[Key, str] = {}
    for entry in files:
        part = int(Path(entry.path).stem.split("-")[1])
        if not filesystem.exists(filesystem.join(str(root), documents_path(part))):
            continue
        mine = {
            key
            for table in tables(root, [entry], ["record", "doc_id"])
            for key in _keys(table.filter(pc.is_in(table["record"], value_set=names)))
        } & wanted
        for batch in document_batches(str(root), part) if mine else ():
            some = batch.filter(pc.is_in(batch["record"], value_set=names))
            found |= {key: text for key, text in zip(_keys(some), some["text"].to_pylist(), strict=True) if key in mine}
            if mine <= found.keys():
                break
    return found


def _keys(rows: pa.Table | pa.RecordBatch) -> list[Key]:
    return list(zip(rows["record"].to_pylist(), rows["doc_id"].to_pylist(), strict=True))
