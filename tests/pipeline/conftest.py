"""Finished outputs of hand-made audit rows, for the commands that read nothing else."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from schemas.arrow import AUDIT, VERDICTS
from schemas.manifest import Counts, FileEntry, Manifest, write_manifest

Rows = list[dict[str, Any]]


def _counts(rows: Rows) -> Counts:
    return Counts(input=len(rows), **{verdict: sum(row["verdict"] == verdict for row in rows) for verdict in VERDICTS})


@pytest.fixture(scope="session")
def audit_row() -> Callable[..., dict[str, Any]]:
    """record, text -> a row of the audit; keywords overwrite its columns."""

    def make(record: str, doc_id: str, verdict: str = "kept", **columns: Any) -> dict[str, Any]:
        row = dict.fromkeys(AUDIT.names) | {
            "record": record,
            "doc_id": doc_id,
            "source": record.split("/")[0],
            "verdict": verdict,
            "scores": [{"rule": "words", "score": 40.0, "limit": 50.0}],
            "repairs": [],
            "language": "en",
            "language_score": 0.9,
            "chars_in": 110,
            "chars_out": 100,
            "excerpt": f"The text of {record}.",
        }
        return row | columns

    return make


@pytest.fixture(scope="session")
def audited() -> Callable[..., Path]:
    """path, rows -> an output with these rows in several audit files and batches, and what the manifest says of it."""

    def write(path: Path, rows: Rows, batch: int = 10, file: int = 40, **fields: Any) -> Path:
        (path / "audit").mkdir(parents=True)
        files = []
        for number, first in enumerate(range(0, max(len(rows), 1), file)):
            name = f"audit/audit-{number:05}.arrow"
            table = pa.Table.from_pylist(rows[first : first + file], schema=AUDIT)
            options = pa.ipc.IpcWriteOptions(compression="zstd")
            with pa.OSFile(str(path / name), "wb") as sink, pa.ipc.new_file(sink, AUDIT, options=options) as writer:
                writer.write_table(table, max_chunksize=batch)
            size = (path / name).stat().st_size
            files.append(FileEntry(path=name, sha256="0" * 64, bytes=size, rows=len(table)))
        sources = sorted({row["source"] for row in rows})
        settled = {
            "config": {"rules": {"sets": ["siliang"]}},
            "versions": {"pyarrow": "25"},
            "fingerprints": {},
            "counts": _counts(rows),
            "sources": {name: _counts([row for row in rows if row["source"] == name]) for name in sources},
            "rules": dict(Counter(row["rule"] for row in rows if row["rule"])),
            "vocabulary_size": 1000,
            "tokens": 0,
        }
        write_manifest(path, Manifest(**(settled | fields), files=files))
        return path

    return write
