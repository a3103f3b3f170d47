"""Stage 4, count: kept documents -> token ids per split, and exact token and word frequencies.

kept documents --tokenize--> tokens (train | valid by document hash)
                         --> token counts, word counts --combine--> frequency tables
"""

from dataclasses import dataclass
from typing import Any
from zlib import crc32

import apache_beam as beam
import numpy as np
import pyarrow as pa

from pipeline.io import filesystem
from pipeline.stages.kept import kept_documents
from pipeline.stages.parts import MakeParts, PartWriter, ReadTasks
from pipeline.stages.tables import CombineTables
from pipeline.stages.vocabulary import load_tokenizer
from pipeline.words.frequency import count_tokens, count_words, merge_words
from pipeline.words.spans import word_spans
from pipeline.words.split import share_mask
from schemas.arrow import WORD_FREQUENCY, token_type

STAGE = "count"
VERSION = 1
SPLITS = ("train", "valid")
PARTITIONS = 16
WORDS = f"stages/{STAGE}/words"

TOKEN_COUNTS = pa.schema([pa.field("count", pa.uint64()), pa.field("documents", pa.uint64())])
"""One row per token id."""


def tokens_schema(vocabulary_size: int) -> pa.Schema:
    tokens = pa.list_(pa.field("item", token_type(vocabulary_size), nullable=False))
    return pa.schema([pa.field("doc_id", pa.string(), nullable=False), pa.field("tokens", tokens, nullable=False)])


def tokens_path(split: str, part: int) -> str:
    return f"stages/{STAGE}/{split}/{part:05d}.arrow"


def token_counts_path(part: int) -> str:
    return f"stages/{STAGE}/token_counts/{part:05d}.arrow"


def word_counts_path(part: int) -> str:
    return f"stages/{STAGE}/word_counts/{part:05d}.arrow"


def words_path(partition: int) -> str:
    return f"{WORDS}/{partition:05d}.arrow"


class MakeTokens:
    """Tokenizes a part once and counts what it holds."""

    def __init__(self, output: str, model: str, valid_share: float) -> None:
        self._output = output
        self._model = model
        self._valid_share = valid_share

    def setup(self) -> None:
        self._tokenizer = load_tokenizer(self._model)

    def __call__(self, spec: dict[str, Any], part: PartWriter) -> dict[str, Any]:
        size = self._tokenizer.size
        count, documents = np.zeros(size, np.uint64), np.zeros(size, np.uint64)
        words: list[pa.Table] = []
        batches: dict[str, list[list[int]]] = {split: [] for split in SPLITS}
        schema = tokens_schema(size)
        with (
            part.sink(tokens_path("train", part.index), schema, compressed=False) as train,
            part.sink(tokens_path("valid", part.index), schema, compressed=False) as valid,
        ):
            for batch in kept_documents(self._output, part.index):
                encoded = self._tokenizer.encode(batch["text"].to_pylist())
                held_out = share_mask(batch["doc_id"], self._valid_share, "valid")
                rows = pa.table([batch["doc_id"], encoded.to_arrow()], schema=schema)
                train.write(rows.filter(pa.array(~held_out)))
                valid.write(rows.filter(pa.array(held_out)))
                more, in_documents = count_tokens(encoded, size)
                count += more
                documents += in_documents
                words.append(count_words(self._tokenizer, encoded, word_spans(encoded, self._tokenizer.piece_kinds)))
        with part.sink(token_counts_path(part.index), TOKEN_COUNTS) as sink:
            sink.write(pa.table([count, documents], schema=TOKEN_COUNTS))
        with part.sink(word_counts_path(part.index), WORD_FREQUENCY) as sink:
            if words:
                sink.write(merge_words(words).cast(WORD_FREQUENCY))
        for split in SPLITS:
            batches[split] = batch_sizes(filesystem.join(self._output, tokens_path(split, part.index)))
        return {"batches": batches}


def batch_sizes(path: str) -> list[list[int]]:
    """[rows, tokens] of each record batch, from the list offsets alone."""
    reader = filesystem.open_arrow(path)
    sizes = []
    for number in range(reader.num_record_batches):
        batch = reader.get_batch(number)
        offsets = batch["tokens"].offsets
        sizes.append([batch.num_rows, offsets[-1].as_py() - offsets[0].as_py()])
    return sizes


def _word_place(words: pa.Table) -> np.ndarray:
    return np.array([crc32(word.encode()) % PARTITIONS for word in words["word"].to_pylist()], np.int64)


def _merge_words(words: pa.Table) -> pa.Table:
    return merge_words([words]).cast(WORD_FREQUENCY)


def build(pipeline: beam.Pipeline, output: str, tasks: str, model: str, valid_share: float) -> None:
    """The stage's graph."""
    (
        pipeline
        | ReadTasks(tasks)
        | "Tokens" >> MakeParts(output, STAGE, MakeTokens(output, model, valid_share))
        | "Words" >> CombineTables(output, WORD_FREQUENCY, _merge_words, _word_place, word_counts_path, words_path)
    )


@dataclass(frozen=True)
class TokenTotals:
    count: np.ndarray
    documents: np.ndarray


def token_totals(output: str, parts: int, size: int) -> TokenTotals:
    """Sums the parts' token counts; uint64 [size] each."""
    count, documents = np.zeros(size, np.uint64), np.zeros(size, np.uint64)
    for part in range(parts):
        table = filesystem.open_arrow(filesystem.join(output, token_counts_path(part))).read_all()
        count += table["count"].to_numpy()
        documents += table["documents"].to_numpy()
    return TokenTotals(count, documents)
