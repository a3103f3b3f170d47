"""Audit rows by record, doc_id or reason, reading only the columns and batches that are needed."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.report.audit import select
from schemas.manifest import read_manifest


def find(
    directory: str | Path, record: str | None = None, doc: str | None = None, rule: str | None = None, limit: int = 20
) -> list[dict[str, Any]]:
    """At most `limit` audit rows that meet every filter given, in audit order; reading stops when they are found.

    record: a whole record name, or all of it before '#' (then every record of that file); doc: a prefix of doc_id;
    rule: what decided (a rule, 'exact', 'near', or a quarantine reason). Without a filter dropped records come first
    and kept ones fill what is left.

    Raises ManifestError where the directory is not a finished one, SchemaError for a damaged file.
    """
    root = Path(directory)
    files = read_manifest(root).under("audit")
    filters = {"record": record, "doc_id": doc, "rule": rule}
    columns = [name for name, value in filters.items() if value is not None]

    def taken(condition: Any, names: list[str], count: int) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        if count > 0:
            for table in select(root, files, names, condition):
                rows += table.slice(0, count - len(rows)).to_pylist()
                if len(rows) >= count:
                    break
        return rows

    if columns:
        return taken(lambda batch: chosen(batch, record, doc, rule), columns, limit)
    dropped = taken(lambda batch: pc.not_equal(batch["verdict"], "kept"), ["verdict"], limit)
    return dropped + taken(lambda batch: pc.equal(batch["verdict"], "kept"), ["verdict"], limit - len(dropped))


def chosen(
    rows: pa.RecordBatch | pa.Table, record: str | None, doc: str | None, rule: str | None = None
) -> pa.BooleanArray:
    """Which rows meet the filters of `find`; a filter that is None asks for nothing, not even for its column."""
    mask = pa.array([True] * len(rows))
    if record is not None:
        same = pc.or_(pc.equal(rows["record"], record), pc.starts_with(rows["record"], record + "#"))
        mask = pc.and_(mask, same)
    if doc is not None:
        mask = pc.and_(mask, pc.starts_with(rows["doc_id"], doc.lower()))
    if rule is not None:
        mask = pc.and_(mask, pc.fill_null(pc.equal(rows["rule"], rule), False))
    return mask
