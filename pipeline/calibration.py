"""How fast this machine cleans: a text that is the same everywhere, and a little of the input itself."""

import time

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.config import PipelineConfig
from pipeline.io.inputs import InputFile
from pipeline.io.read import read_files
from pipeline.records import RECORDS
from pipeline.stages import clean

WORDS = "the of a to in light water old never house under because morning 1868 stone reading carried people"
SAMPLE_BYTES = 2 << 20
SAMPLE_SECONDS = 3.0
SAMPLE_FILES = 16


def _fixed_text() -> pa.RecordBatch:
    """1 MB of sentences, the same everywhere."""
    words = WORDS.split()
    texts = []
    for document in range(200):
        picks = [words[(document * 7 + k * k + k // 5) % len(words)] for k in range(900)]
        lines = [" ".join(picks[k : k + 12]).capitalize() + "." for k in range(0, len(picks), 12)]
        texts.append("\n".join(lines))
    rows = len(texts)
    columns = {
        "record": [f"fixed#{k}" for k in range(rows)],
        "source": ["fixed"] * rows,
        "media": ["text"] * rows,
        "doc_id": [f"{k:032x}" for k in range(rows)],
        "text": texts,
        "chars_in": [len(text) for text in texts],
        "repairs": [[] for _ in texts],
        "quarantine": [None] * rows,
        "detail": [None] * rows,
    }
    arrays = [pa.array(columns[field.name], field.type) for field in RECORDS]
    return pa.RecordBatch.from_arrays(arrays, schema=RECORDS)


def measured_clean_mb_s() -> float:
    """MB per second of CPU of `clean_batch` on the fixed text with the default rules."""
    batch, plain = _fixed_text(), PipelineConfig()
    clean.clean_batch(batch.slice(0, 2), plain)  # compiles kernels, where they are not on the disk yet
    started = time.process_time()
    clean.clean_batch(batch, plain)
    return batch["text"].nbytes / 1e6 / max(time.process_time() - started, 1e-6)


def rate_of_input(files: list[InputFile], config: PipelineConfig) -> float | None:
    """MB of text per second of the first records of files spread over the input; None where none can be read."""
    usable = [file for file in files if file.problem is None and file.size > 0]
    size, started = 0, time.perf_counter()
    for file in usable[:: max(1, len(usable) // SAMPLE_FILES)]:
        for batch in read_files([file], config.input):
            size += batch["text"].nbytes
            rows = clean.clean_batch(batch, config)
            kept = rows.filter(pc.equal(rows["verdict"], "kept"))
            clean.signature_rows(kept, config)
            break
        if size > SAMPLE_BYTES or time.perf_counter() - started > SAMPLE_SECONDS:
            break
    return size / 1e6 / (time.perf_counter() - started) if size > SAMPLE_BYTES / 10 else None
