"""The deduplication of this project alone, run by benchmarks/dedup.py as a process of its own: all its CPU counts.

    python dedup_ours.py SHARDS OUTPUT

Reading, digests, signatures and documents as `clean` writes them, without rules and repair, then the deduplicate stage
as `prepare` runs it, one worker: its Beam jobs, exact verification, resolution. Prints one JSON object.
"""

import json
import os
import sys
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")

import pyarrow as pa

from pipeline.config import PipelineConfig, make_config
from pipeline.io.inputs import InputFile, list_inputs
from pipeline.io.read import read_batches
from pipeline.records import with_columns
from pipeline.runner import Execution, quiet_logs, run_job
from pipeline.settle_duplicates import Deduplication
from pipeline.stages.chain import Step, build_chain
from pipeline.stages.clean import signature_rows, signature_schema
from pipeline.stages.layout import documents_path, signatures_path
from pipeline.stages.parts import PartRecord, PartWriter, collect_parts, write_tasks
from schemas.arrow import DOCUMENTS


def sign(files: list[InputFile], config: PipelineConfig, output: str) -> dict[int, int]:
    """Documents and signatures of every file as one part; returns part -> documents."""
    rows = {}
    for index, file in enumerate(files):
        part = PartWriter(output, index)
        schema = signature_schema(config.deduplicate.signature_width)
        with (
            part.sink(documents_path(index), DOCUMENTS, batch_bytes=8 << 20) as documents,
            part.sink(signatures_path(index), schema, compressed=False) as signed,
        ):
            for raw in read_batches(file, config.input):
                batch = with_columns(raw, {"language": pa.repeat("und", raw.num_rows)}).select(DOCUMENTS.names)
                documents.write(batch.cast(DOCUMENTS))
                signed.write(signature_rows(batch, config))
        rows[index] = documents.rows
    return rows


def main(shards: str, output: str) -> None:
    quiet_logs()
    config = make_config({})
    started = time.process_time()
    documents = sign(list_inputs([shards]), config, output)
    signed = time.process_time()

    def run(name: str, steps: list[Step]) -> dict[str, list[PartRecord]]:
        made = [(step.name, write_tasks(output, step.name, step.tasks), step.make) for step in steps]
        run_job(name, lambda p: build_chain(p, output, made), Execution(), sum(len(step.tasks) for step in steps))
        return {step.name: collect_parts(output, step.name, step.tasks) for step in steps}

    stage = Deduplication(output, config.deduplicate, documents, "benchmark", run)
    drops, facts = stage.decide()
    stage.write_decisions(drops)
    ended = time.process_time()
    print(
        json.dumps(
            {"documents": sum(documents.values()), "drops": len(drops.ref), "sign": signed - started}
            | {"deduplicate": ended - signed, "start": started, "facts": facts}
        )
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
