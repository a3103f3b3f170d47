"""A small output directory as `clean` leaves it, and the deduplicate stage run on it step by step."""

import hashlib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from pipeline.config import PipelineConfig
from pipeline.dedup.decide import KINDS, Drops
from pipeline.dedup.refs import parts_of, rows_of
from pipeline.io.sink import ArrowSink
from pipeline.runner import Execution, run_job
from pipeline.settle_duplicates import Deduplication
from pipeline.stages.chain import Step, build_chain
from pipeline.stages.clean import signature_rows, signature_schema
from pipeline.stages.layout import documents_path, signatures_path
from pipeline.stages.parts import PartRecord, PartWriter, collect_parts, finished_part, sidecar_path, write_tasks
from schemas.arrow import DOCUMENTS


def id_of(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def write_corpus(
    output: Path, parts: list[list[str]], config: PipelineConfig, quality: dict[str, int] | None = None
) -> dict[int, int]:
    """Documents and signatures of each part; the source of a document is "s". Returns documents by part."""
    for number, texts in enumerate(parts):
        rows = pa.table(
            [
                pa.array([id_of(text) for text in texts], pa.string()),
                pa.array([f"f{number}#{row}" for row in range(len(texts))], pa.string()),
                pa.array(["s"] * len(texts), pa.string()),
                pa.array(["en"] * len(texts), pa.string()),
                pa.array(texts, pa.string()),
            ],
            schema=DOCUMENTS,
        )
        documents = ArrowSink(str(output / documents_path(number)), DOCUMENTS)
        signed = ArrowSink(str(output / signatures_path(number)), signature_schema(config.deduplicate.signature_width))
        for batch in rows.combine_chunks().to_batches(max_chunksize=10_000):
            documents.write(batch)
            broken = [(quality or {}).get(text, 0) for text in batch["text"].to_pylist()]
            signed.write(signature_rows(batch, config, np.array(broken, np.uint16)))
        documents.close()
        signed.close()
    return {number: len(texts) for number, texts in enumerate(parts)}


def run_directly(output: Path):
    """Steps without a runner: each part made in this process, unless it is there."""

    def run(name: str, steps: list[Step]) -> dict[str, list[PartRecord]]:
        for step in steps:
            for task in step.tasks:
                if finished_part(str(output), step.name, task) is None:
                    writer = PartWriter(str(output), task.index)
                    facts = step.make(task.spec, writer)
                    record = PartRecord(task.index, task.key, writer.entries(), facts)
                    path = Path(sidecar_path(str(output), step.name, task.index))
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(record.to_bytes())
        return {step.name: collect_parts(str(output), step.name, step.tasks) for step in steps}

    return run


def run_as_jobs(output: Path, execution: Execution):
    def run(name: str, steps: list[Step]) -> dict[str, list[PartRecord]]:
        made = [(step.name, write_tasks(str(output), step.name, step.tasks), step.make) for step in steps]
        run_job(name, lambda p: build_chain(p, str(output), made), execution, 99)
        return {step.name: collect_parts(str(output), step.name, step.tasks) for step in steps}

    return run


def deduplication(
    output: Path, parts: list[list[str]], config: PipelineConfig, quality: dict[str, int] | None = None
) -> Deduplication:
    documents = write_corpus(output, parts, config, quality)
    return Deduplication(str(output), config.deduplicate, documents, "fingerprint", run_directly(output))


def told(drops: Drops, parts: list[list[str]]) -> dict[tuple[int, int], tuple[str, float, str]]:
    """(part, row) of each drop -> (twin's text, Jaccard, kind)."""

    def places(refs: np.ndarray) -> list[tuple[int, int]]:
        return list(zip(parts_of(refs).tolist(), rows_of(refs).tolist(), strict=True))

    return {
        gone: (parts[twin[0]][twin[1]], jaccard, KINDS[kind])
        for gone, twin, jaccard, kind in zip(
            places(drops.ref), places(drops.twin), drops.jaccard.tolist(), drops.kind.tolist(), strict=True
        )
    }


@pytest.fixture
def duplicates() -> SimpleNamespace:
    """The functions of this file, for tests of the deduplicate stage."""
    return SimpleNamespace(
        id_of=id_of,
        write_corpus=write_corpus,
        run_as_jobs=run_as_jobs,
        run_directly=run_directly,
        deduplication=deduplication,
        told=told,
    )
