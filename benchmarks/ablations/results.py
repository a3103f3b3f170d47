"""Results on disk: one JSON file a job, written as its runs end, and one Arrow table of all of them.

They are the queue's whole memory: a job is done when its file holds a run that counts. Failed runs stay in the file.
"""

import json
import math
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa

from benchmarks.ablations.plan import Job, Place
from benchmarks.ablations.prices import Bill

SCHEMA = "siliang-ablation/2"
Record = dict[str, Any]
"""{schema, digest, job: Job's fields, runs: [{failed, diverged, loss, curve, ...}]}"""


def write_json(path: Path, value: Any) -> None:
    """Atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(json.dumps(value, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    os.replace(temporary, path)


def counts(run: Record) -> bool:
    return not run.get("failed")


def run_loss(run: Record) -> float:
    """Infinite where the run diverged."""
    return math.inf if run["loss"] is None else float(run["loss"])


def as_job(fields: Record) -> Job:
    return Job(**{**fields, "place": Place(**fields["place"]), "bought": Bill(**fields["bought"])})


class Results:
    """A directory of records."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.records: dict[str, Record] = {}
        for file in sorted(path.glob("*.json")):
            record = json.loads(file.read_bytes())
            if record.get("schema") == SCHEMA:
                self.records[record["digest"]] = record

    def add(self, job: Job, run: Record) -> None:
        """Keeps a run of a job, and writes the job's file."""
        record = self.records.setdefault(
            job.digest, {"schema": SCHEMA, "digest": job.digest, "job": asdict(job), "runs": []}
        )
        # A job that two arms share keeps the name it was first run under.
        name = as_job(record["job"]).name
        record["runs"].append(run)
        write_json(self.path / f"{name}.json", record)

    def tell(self, digest: str, measures: Record) -> None:
        """Adds measures to a job's last run that counts."""
        run = self.good(digest)
        assert run is not None
        run["measures"] = run.get("measures", {}) | measures
        record = self.records[digest]
        write_json(self.path / f"{as_job(record['job']).name}.json", record)

    def jobs(self) -> dict[str, Job]:
        return {digest: as_job(record["job"]) for digest, record in self.records.items()}

    def good(self, digest: str) -> Record | None:
        """The last run of a job that counts."""
        runs = self.records.get(digest, {"runs": []})["runs"]
        return next((run for run in reversed(runs) if counts(run)), None)

    def losses(self) -> dict[str, float]:
        """Digest -> loss in nats, of the jobs that are done."""
        found = {digest: self.good(digest) for digest in self.records}
        return {digest: run_loss(run) for digest, run in found.items() if run is not None}

    def failures(self, digest: str) -> int:
        return sum(not counts(run) for run in self.records.get(digest, {"runs": []})["runs"])


COLUMNS = pa.schema(
    [
        ("digest", pa.string()),
        ("setting", pa.string()),
        ("arm", pa.string()),
        ("choice", pa.string()),
        ("kind", pa.string()),
        ("rate", pa.float64()),
        ("seed", pa.int64()),
        ("share", pa.float64()),
        ("seconds", pa.float64()),
        ("machine", pa.string()),
        ("data", pa.string()),
        ("precision", pa.string()),
        ("threads", pa.int64()),
        ("failed", pa.string()),
        ("loss", pa.float64()),
        ("steps", pa.int64()),
        ("tokens", pa.int64()),
        ("flops", pa.float64()),
        ("tokens_per_second", pa.float64()),
        ("ran_on", pa.string()),
        ("wall_seconds", pa.float64()),
        ("curve", pa.list_(pa.struct([(n, pa.float64()) for n in ("step", "seconds", "tokens", "flops", "loss")]))),
        ("config", pa.string()),
    ]
)
"""One row a run, failed ones included. `seconds` are at the prices of `machine`, `wall_seconds` what the run took where
it `ran_on`; `config` is the values as JSON."""


def table(results: Results) -> pa.Table:
    rows = []
    for digest, record in sorted(results.records.items(), key=lambda pair: as_job(pair[1]["job"]).name):
        job = as_job(record["job"])
        for run in record["runs"]:
            told = run.get("result") or {}
            fields = {
                **{name: getattr(job, name) for name in COLUMNS.names if hasattr(job, name)},
                **{name: getattr(job.place, name) for name in ("machine", "data", "precision")},
                **{name: told.get(name) for name in ("steps", "tokens", "flops")},
                **{name: run.get(name) for name in ("failed", "loss", "curve", "wall_seconds")},
                "ran_on": run.get("machine"),
                "tokens_per_second": told.get("priced_tokens_per_second"),
                "digest": digest,
                "config": json.dumps(job.values, sort_keys=True),
            }
            rows.append({name: fields.get(name) for name in COLUMNS.names})
    return pa.Table.from_pylist(rows, schema=COLUMNS)


def write_table(results: Results, path: Path) -> None:
    """As an Arrow file, atomically."""
    temporary = path.with_name(f".{path.name}.tmp")
    found = table(results)
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.OSFile(str(temporary), "wb") as sink, pa.ipc.new_file(sink, COLUMNS, options=options) as writer:
        writer.write_table(found)
    os.replace(temporary, path)


def read_table(path: Path) -> pa.Table:
    with pa.memory_map(str(path)) as source:
        return pa.ipc.open_file(source).read_all()
