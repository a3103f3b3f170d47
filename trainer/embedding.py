"""Texts as vectors: the mean of an encoder's states over a text's pieces, in an Arrow stream.

Shape suffixes: B rows, T positions, D width.
"""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from trainer.finetune.directory import TASK, load_classifier, task_of
from trainer.finetune.examples import Encoding, Example, collate, scoring_batches
from trainer.finetune.note_finder import NoteFinder
from trainer.finetune.table import Row, TableError
from trainer.model.encoder import Encoder
from trainer.run import RunDirectory, RunInUseError, load_encoder
from trainer.tokenizer import Tokenizer

CHUNK = 1024
"""Texts of a record batch. They are held, so that those of like length can share a batch of the encoder."""
BATCH_TOKENS = 1 << 14


@dataclass(frozen=True)
class Embedder:
    """An encoder of a run of any task, or a classifier's."""

    encoder: Encoder
    tokenizer: Tokenizer
    longest: int
    """Pieces of a text, [CLS] and [SEP] included; longer ones are cut."""
    finder: NoteFinder | None = None
    """Of words with notes, where a classifier keeps them. A run's are not read: its texts come with the pipeline's list
    of rare words."""

    @property
    def schema(self) -> pa.Schema:
        return pa.schema(
            [
                pa.field("row", pa.uint64(), nullable=False),
                pa.field("id", pa.string()),
                pa.field("pieces", pa.uint32(), nullable=False),
                pa.field("cut", pa.bool_(), nullable=False),
                pa.field("embedding", pa.list_(pa.float32(), self.encoder.config.width), nullable=False),
            ]
        )

    def batches(self, rows: Iterable[Row], refuse_long: bool = False) -> Iterator[pa.RecordBatch]:
        """A record batch for each CHUNK of rows, in order. `Row.label` is the id.

        Raises TableError naming file and line.
        """
        encoding = Encoding(self.tokenizer, "classification", self.longest, False, refuse_long)
        rows, first = iter(rows), 0
        while chunk := list(islice(rows, CHUNK)):
            examples = [encoding.encode(row) for row in chunk]
            means = self._means(examples)
            columns = [
                pa.array(range(first, first + len(chunk)), pa.uint64()),
                pa.array([_id(row) for row in chunk], pa.string()),
                pa.array([len(example.ids) - 2 for example in examples], pa.uint32()),
                pa.array([example.cut for example in examples], pa.bool_()),
                pa.FixedSizeListArray.from_arrays(pa.array(means.ravel()), means.shape[1]),
            ]
            yield pa.RecordBatch.from_arrays(columns, schema=self.schema)
            first += len(chunk)

    @torch.inference_mode()
    def _means(self, examples: list[Example]) -> NDArray[np.float32]:
        """[texts, width]; of a text without pieces zeros."""
        found = np.zeros((len(examples), self.encoder.config.width), dtype=np.float32)
        for numbers in scoring_batches(examples, BATCH_TOKENS):
            batch = collate(examples, numbers, self.encoder.config.max_length, self.finder)
            h_BTD = self.encoder(batch.tokens_BT, batch.segments_BT, batch.positions_BT, batch.words)
            place_T = torch.arange(h_BTD.shape[1])
            length_B1 = batch.segments_BT.sum(1, keepdim=True)
            text_BT1 = ((place_T > 0) & (place_T < length_B1 - 1)).unsqueeze(-1)
            sums_BD = torch.where(text_BT1, h_BTD.float(), 0.0).sum(1)
            found[numbers] = (sums_BD / text_BT1.sum(1).clamp(min=1)).numpy()
        return found


def _id(row: Row) -> str | None:
    if isinstance(row.label, list):
        raise TableError(f"{row.where}: the id is a list; text or a number is wanted")
    return row.label


def open_embedder(path: str | Path) -> Embedder:
    """Raises RunError, CheckpointError, TokenizerError where nothing sound is there."""
    if task_of(path) == TASK:
        loaded = load_classifier(path)
        return Embedder(loaded.model.encoder, loaded.tokenizer, loaded.head.max_length, loaded.finder)
    encoder = load_encoder(path)
    return Embedder(encoder, Tokenizer(RunDirectory(path).vocabulary), encoder.config.max_length)


def write_embeddings(
    path: str | Path, rows: Iterable[Row], output: str | Path, refuse_long: bool = False
) -> tuple[int, int]:
    """(texts, how many were cut). OUTPUT is an Arrow IPC stream that appears when it is whole; its memory is that of
    one record batch.

    Raises RunInUseError where OUTPUT exists, TableError, RunError, CheckpointError, TokenizerError, OSError.
    """
    output = Path(output)
    if output.exists():
        raise RunInUseError(f"{output}: is there already; name another --output, or remove it")
    embedder = open_embedder(path)
    texts, cut = 0, 0
    output.absolute().parent.mkdir(parents=True, exist_ok=True)
    beside = output.with_name(f".{output.name}.partial")
    try:
        with pa.OSFile(str(beside), "wb") as sink, pa.ipc.new_stream(sink, embedder.schema) as writer:
            for batch in embedder.batches(rows, refuse_long):
                writer.write_batch(batch)
                texts += len(batch)
                cut += batch.column("cut").true_count
        with open(beside, "rb") as file:
            os.fsync(file.fileno())
        os.replace(beside, output)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    return texts, cut
