"""Stage 3, vocabulary: a hash-chosen sample of the kept text -> a SentencePiece model, trained in the driver.

kept documents --share by hash of doc_id--> sample parts --> SentencePiece (this process)
"""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow as pa

from pipeline.io import filesystem
from pipeline.stages.kept import kept_documents
from pipeline.stages.parts import MakeParts, PartWriter, ReadTasks
from pipeline.words.split import share_mask
from pipeline.words.tokenizer import Tokenizer

STAGE = "vocabulary"
VERSION = 1

MODEL = "vocabulary/siliang.model"
SAMPLE = pa.schema([pa.field("text", pa.string(), nullable=False)])


def load_tokenizer(path: str) -> Tokenizer:
    """The tokenizer of a model anywhere; SentencePiece itself reads local files only."""
    with tempfile.TemporaryDirectory() as directory:
        return Tokenizer(filesystem.local_copy(path, Path(directory)))


def sample_path(part: int) -> str:
    return f"stages/{STAGE}/sample/{part:05d}.arrow"


@dataclass(frozen=True)
class MakeSample:
    """The part's share of the text that the vocabulary is learnt from."""

    output: str
    share: float

    def __call__(self, spec: dict[str, Any], part: PartWriter) -> dict[str, Any]:
        with part.sink(sample_path(part.index), SAMPLE, batch_bytes=8 << 20) as sink:
            for batch in kept_documents(self.output, part.index):
                chosen = share_mask(batch["doc_id"], self.share, "vocabulary")
                sink.write(batch.select(["text"]).filter(pa.array(chosen)))
        return {"documents": sink.rows}


def sample_texts(output: str, parts: int) -> Iterator[str]:
    """The sampled texts, in part order."""
    for part in range(parts):
        reader = filesystem.open_arrow(filesystem.join(output, sample_path(part)))
        for number in range(reader.num_record_batches):
            yield from reader.get_batch(number)["text"].to_pylist()


def build(pipeline: beam.Pipeline, output: str, tasks: str, share: float) -> None:
    """The stage's graph."""
    pipeline | ReadTasks(tasks) | "Sample" >> MakeParts(output, STAGE, MakeSample(output, share))
