"""Stage 4, count: kept documents -> token ids per split, and exact token, word and n-gram frequencies.

kept documents --tokenize--> tokens (train | valid | test by document hash; by source, too, for a mixture)
                         --> token counts; word and n-gram counts --combine--> frequency tables
                                           (where they do not fit: see pipeline.stages.heavy)
"""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any
from zlib import crc32

import apache_beam as beam
import numpy as np
import pyarrow as pa

from pipeline.config import PipelineConfig
from pipeline.io import filesystem
from pipeline.stages.kept import kept_documents
from pipeline.stages.parts import MakeParts, PartWriter, ReadTasks
from pipeline.stages.tables import CombineTables
from pipeline.stages.vocabulary import load_tokenizer
from pipeline.words.curves import running_words
from pipeline.words.frequency import STEPS, WORD_COUNTS, count_tokens, count_words, document_steps, merge_words
from pipeline.words.ngrams import count_ngrams
from pipeline.words.spans import word_spans
from pipeline.words.split import SPLITS, split_of
from schemas.arrow import token_type

STAGE = "count"
VERSION = 2
PARTITIONS = 16
KINDS = ("words", "ngrams")
"""What is counted under a string."""

TOKEN_COUNTS = pa.schema([pa.field("count", pa.uint64()), pa.field("documents", pa.uint64())])
"""One row per token id."""


def tokens_schema(vocabulary_size: int) -> pa.Schema:
    tokens = pa.list_(pa.field("item", token_type(vocabulary_size), nullable=False))
    return pa.schema([pa.field("doc_id", pa.string(), nullable=False), pa.field("tokens", tokens, nullable=False)])


def tokens_path(split: str, part: int, group: int = 0) -> str:
    """`group` numbers the sources of a mixture."""
    return f"stages/{STAGE}/{split}/{part:05d}" + (f"-{group:03d}" if group else "") + ".arrow"


def token_counts_path(part: int) -> str:
    return f"stages/{STAGE}/token_counts/{part:05d}.arrow"


def combined(kind: str) -> str:
    """The directory of the corpus's counts, one file per partition."""
    return f"stages/{STAGE}/{kind}"


@dataclass(frozen=True)
class CountsPath:
    """Where a kind's counts lie: of a part as found, or those that are left of them; or a partition of all."""

    kind: str
    which: str = ""

    def __call__(self, number: int) -> str:
        return f"{combined(self.kind)}{self.which}/{number:05d}.arrow"


def part_counts(kind: str) -> CountsPath:
    return CountsPath(kind, "_of_parts")


@dataclass(frozen=True)
class CountOptions:
    """What of the config decides the stage's bytes."""

    valid_share: float
    test_share: float = 0.0
    ngrams: int = 0
    sources: tuple[str, ...] = ()
    """Sources of a mixture, in the order of their groups; none: one group for all."""

    @classmethod
    def of(cls, config: PipelineConfig) -> "CountOptions":
        shards = config.shards
        return cls(shards.valid_share, shards.test_share, config.words.ngrams, tuple(sorted(config.mixture)))

    @property
    def splits(self) -> tuple[str, ...]:
        return SPLITS if self.test_share else SPLITS[:2]

    @property
    def groups(self) -> int:
        return max(len(self.sources), 1)

    @property
    def kinds(self) -> tuple[str, ...]:
        return KINDS if self.ngrams else KINDS[:1]


class _Sum:
    """Word counts of many batches, merged each time their rows have doubled."""

    def __init__(self) -> None:
        self._tables: list[pa.Table] = []
        self._rows = self._merged = 0

    def add(self, table: pa.Table) -> None:
        self._tables.append(table)
        self._rows += table.num_rows
        if self._rows > max(2 * self._merged, 1 << 18):
            self.total()

    def total(self) -> pa.Table:
        self._tables = [merge_words(self._tables)]
        self._rows = self._merged = self._tables[0].num_rows
        return self._tables[0]


class MakeTokens:
    """Tokenizes a part once and counts what it holds."""

    def __init__(self, output: str, model: str, options: CountOptions) -> None:
        self._output = output
        self._model = model
        self._options = options

    def setup(self) -> None:
        self._tokenizer = load_tokenizer(self._model)

    def __call__(self, spec: dict[str, Any], part: PartWriter) -> dict[str, Any]:
        size, options = self._tokenizer.size, self._options
        count, documents = np.zeros(size, np.uint64), np.zeros(size, np.uint64)
        sums = {kind: _Sum() for kind in options.kinds}
        running = np.zeros(STEPS, np.int64)
        source_tokens: dict[str, dict[str, int]] = {}
        schema = tokens_schema(size)
        paths = {
            (split, group): tokens_path(split, part.index, group)
            for split in options.splits
            for group in range(options.groups)
        }
        with ExitStack() as stack:
            sinks = {key: stack.enter_context(part.sink(path, schema, compressed=False)) for key, path in paths.items()}
            for batch in kept_documents(self._output, part.index):
                encoded = self._tokenizer.encode(batch["text"].to_pylist())
                split = split_of(batch["doc_id"], options.valid_share, options.test_share)
                group = self._group(batch["source"])
                rows = pa.table([batch["doc_id"], encoded.to_arrow()], schema=schema)
                for (name, number), sink in sinks.items():
                    sink.write(rows.filter(pa.array((split == SPLITS.index(name)) & (group == number))))
                _add_sources(source_tokens, batch["source"], split, np.diff(encoded.offsets))

                more, in_documents = count_tokens(encoded, size)
                count += more
                documents += in_documents
                spans = word_spans(encoded, self._tokenizer.piece_kinds)
                steps = document_steps(batch["doc_id"])
                running += np.array(running_words(steps, np.bincount(spans.document, minlength=len(steps))))
                sums["words"].add(count_words(self._tokenizer, encoded, spans, steps))
                if options.ngrams:
                    sums["ngrams"].add(count_ngrams(self._tokenizer, encoded, spans, options.ngrams))
        with part.sink(token_counts_path(part.index), TOKEN_COUNTS) as sink:
            sink.write(pa.table([count, documents], schema=TOKEN_COUNTS))
        distinct = {}
        for kind, total in sums.items():
            with part.sink(part_counts(kind)(part.index), WORD_COUNTS) as sink:
                sink.write(total.total())
                distinct[kind] = sink.rows
        batches = {
            split: [batch_sizes(filesystem.join(self._output, paths[split, group])) for group in range(options.groups)]
            for split in options.splits
        }
        return {
            "batches": batches,
            "distinct": distinct,
            "running": running.tolist(),
            "source_tokens": source_tokens,
        }

    def _group(self, source: pa.Array) -> np.ndarray:
        """int64 [n]: the group of each document."""
        if not self._options.sources:
            return np.zeros(len(source), np.int64)
        number = {name: i for i, name in enumerate(self._options.sources)}
        return np.array([number[name] for name in source.to_pylist()], np.int64)


def _add_sources(into: dict[str, dict[str, int]], source: pa.Array, split: np.ndarray, tokens: np.ndarray) -> None:
    names = source.dictionary_encode()
    sums = np.zeros((len(names.dictionary), len(SPLITS)), np.int64)
    np.add.at(sums, (names.indices.to_numpy(), split), tokens)
    for name, row in zip(names.dictionary.to_pylist(), sums.tolist(), strict=True):
        mine = into.setdefault(name, dict.fromkeys(SPLITS, 0))
        for key, value in zip(SPLITS, row, strict=True):
            mine[key] += value


def total_source_tokens(parts: Sequence[dict[str, dict[str, int]]]) -> dict[str, dict[str, int]]:
    """Sums over parts, sources sorted."""
    total: dict[str, dict[str, int]] = {}
    for part in parts:
        for source, splits in part.items():
            mine = total.setdefault(source, dict.fromkeys(SPLITS, 0))
            for split, tokens in splits.items():
                mine[split] += tokens
    return dict(sorted(total.items()))


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
    return merge_words([words])


def combine_counts(output: str, kind: str, parts: CountsPath) -> CombineTables:
    """Parts' counts of a kind -> the corpus's, by hash of the word."""
    return CombineTables(output, WORD_COUNTS, _merge_words, _word_place, parts, CountsPath(kind))


def build(
    pipeline: beam.Pipeline,
    output: str,
    tasks: str,
    model: str,
    options: CountOptions,
    combine: tuple[str, ...] = KINDS[:1],
) -> None:
    """The stage's graph; of the kinds in `combine` the parts' counts are combined at once."""
    parts = pipeline | ReadTasks(tasks) | "Tokens" >> MakeParts(output, STAGE, MakeTokens(output, model, options))
    for kind in combine:
        parts | f"Combine {kind}" >> combine_counts(output, kind, part_counts(kind))


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
