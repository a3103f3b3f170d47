"""What a teacher says of the rows of a stream, stored once: its likeliest pieces at each predicted position.

DIR/store.json  source-00/part-00000.arrow  part-00001.arrow ...

Rows lie in the order of their source's stream, from its first one on, so a row is found by its address (epoch, window,
row); a digest of what is predicted in it tells whether it is the same row with the same masks.
Shapes: M predicted positions, K pieces.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from hashlib import blake2b
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor

import schemas.arrow
from schemas.shard import SchemaError, open_shard
from trainer.config import ConfigError
from trainer.data.batch import Batch, RowRange
from trainer.data.corpus_error import CorpusError

if TYPE_CHECKING:
    from trainer.data.stream import Stream
    from trainer.sections.distillation import DistillationConfig

FILE = "store.json"
ROWS_A_FILE = 1 << 16
ROWS_A_BATCH = 1024


class StoreManifest(BaseModel):
    """store.json."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    schema_: Literal["siliang-teacher/1"] = Field(default="siliang-teacher/1", alias="schema")
    teacher: str
    """Digest of its weights."""
    vocabulary: str | None
    """sha256."""
    vocabulary_size: int = Field(ge=1)
    temperature: float = Field(gt=0)
    top_k: int = Field(ge=1)
    identity: dict[str, Any]
    """Of the stream and its masks; see `identity_of`."""
    rows: list[int]
    """Of each source."""


def identity_of(stream: "Stream") -> dict[str, Any]:
    """What decides the rows and masks of a stream, as JSON holds it."""
    return json.loads(json.dumps(stream.identity() | {"masking": asdict(stream.masking)}))


def arrow_schema(vocabulary_size: int) -> pa.Schema:
    """One row of a stream. float16 holds logarithms of probabilities within 0.1 % of the probability above 1e-3."""
    piece = pa.field("item", schemas.arrow.token_type(vocabulary_size), nullable=False)
    fields = {
        "epoch": pa.int32(),
        "window": pa.int32(),
        "row": pa.int32(),
        "masks": pa.uint64(),
        "pieces": pa.list_(piece),
        "log_shares": pa.list_(pa.field("item", pa.float16(), nullable=False)),
    }
    return pa.schema([pa.field(name, kind, nullable=False) for name, kind in fields.items()])


@dataclass(frozen=True)
class RowTargets:
    """What is predicted in the rows of a batch."""

    first_B: NDArray[np.int64]
    """Number of each row's first predicted position among the batch's M; one more at the end."""
    digests_B: NDArray[np.uint64]

    @classmethod
    def of(cls, batch: Batch) -> "RowTargets":
        rows, width = batch.tokens_BT.shape
        index, target = batch.target_index_M.cpu().numpy(), batch.target_M.cpu().numpy()
        first = np.searchsorted(index, np.arange(rows + 1) * width)
        digests = [
            blake2b(np.stack([index[a:b] - k * width, target[a:b]]).tobytes(), digest_size=8).digest()
            for k, (a, b) in enumerate(pairwise(first))
        ]
        return cls(first, np.frombuffer(b"".join(digests), dtype="<u8").astype(np.uint64))


def _ranges(batch: Batch) -> Iterator[tuple[RowRange, int]]:
    """The batch's runs of rows, and the number of each one's first row in the batch."""
    first = 0
    for part in batch.source:
        yield part, first
        first += part.last - part.first


class StoreWriter:
    """Writes into a directory that nobody reads yet."""

    def __init__(self, directory: Path, sources: int, vocabulary_size: int) -> None:
        self.directory, self.schema = directory, arrow_schema(vocabulary_size)
        self.rows = [0] * sources
        self._held: list[list[dict[str, Any]]] = [[] for _ in range(sources)]
        self._files: list[pa.RecordBatchFileWriter | None] = [None] * sources

    def add(self, batch: Batch, pieces_MK: Tensor, log_shares_MK: Tensor) -> None:
        targets = RowTargets.of(batch)
        pieces = pieces_MK.cpu().numpy()
        log_shares = log_shares_MK.float().cpu().numpy().astype(np.float16)
        for part, first in _ranges(batch):
            for k in range(part.last - part.first):
                a, b = targets.first_B[first + k : first + k + 2]
                row: dict[str, Any] = {"epoch": part.epoch, "window": part.window, "row": part.first + k}
                row |= {"masks": targets.digests_B[first + k], "pieces": pieces[a:b].ravel()}
                self._held[part.source].append(row | {"log_shares": log_shares[a:b].ravel()})
            if len(self._held[part.source]) >= ROWS_A_BATCH:
                self._flush(part.source)

    def _flush(self, source: int) -> None:
        held, self._held[source] = self._held[source], []
        if not held:
            return
        file = self._files[source]
        if file is None:
            path = self.directory / f"source-{source:02d}" / f"part-{self.rows[source] // ROWS_A_FILE:05d}.arrow"
            path.parent.mkdir(exist_ok=True)
            file = self._files[source] = pa.ipc.new_file(str(path), self.schema)
        columns = [pa.array([row[f.name] for row in held], type=f.type) for f in self.schema]
        file.write_batch(pa.record_batch(columns, schema=self.schema))
        before = self.rows[source] // ROWS_A_FILE
        self.rows[source] += len(held)
        if self.rows[source] // ROWS_A_FILE > before:
            file.close()
            self._files[source] = None

    def close(self, manifest: StoreManifest) -> None:
        """The manifest comes last; its `rows` are filled in."""
        for source, held in enumerate(self._held):
            if held:
                self._flush(source)
            if (file := self._files[source]) is not None:
                file.close()
        told = manifest.model_copy(update={"rows": self.rows})
        (self.directory / FILE).write_text(told.model_dump_json(by_alias=True, indent=1) + "\n", encoding="utf-8")


class Store:
    """Reads what was stored, memory-mapped."""

    def __init__(self, path: str | Path) -> None:
        """Raises CorpusError where it is damaged, or none."""
        self.path = Path(path)
        try:
            self.manifest = StoreManifest.model_validate_json((self.path / FILE).read_bytes())
        except OSError as error:
            raise CorpusError(f"{path}: no stored logits here; `siliang-trainer compress teach` makes them") from error
        except ValidationError as error:
            raise CorpusError(f"{self.path / FILE}: damaged ({error.errors()[0]['msg']})") from error
        schema, self._tables, self._starts = arrow_schema(self.manifest.vocabulary_size), [], []
        for source, rows in enumerate(self.manifest.rows):
            parts = sorted((self.path / f"source-{source:02d}").glob("part-*.arrow"))
            try:
                read = [open_shard(part, schema).read_all() for part in parts]
            except (SchemaError, pa.ArrowInvalid) as error:
                raise CorpusError(f"{error}; run `siliang-trainer compress teach` again") from error
            table = pa.concat_tables([schema.empty_table(), *read])
            if len(table) != rows:
                raise CorpusError(f"{path}: {len(table):,} rows of source {source}, {FILE} says {rows:,}; teach again")
            self._tables.append(table)
            self._starts.append(_starts(table))

    @property
    def digest(self) -> str:
        """Of the teacher's weights."""
        return self.manifest.teacher

    def check(self, stream: "Stream", config: "DistillationConfig", vocabulary: str | None) -> None:
        """Raises ConfigError, naming what differs, where this was not taught for the stream's rows and masks."""
        held, key = self.manifest, f"key 'distillation.logits': {self.path}"
        identity = identity_of(stream)
        if held.vocabulary != vocabulary or held.vocabulary_size != stream.corpus.vocabulary_size:
            raise ConfigError(f"{key}: taught on another vocabulary than these shards have")
        if differing := sorted(
            k for k in identity.keys() | held.identity.keys() if identity.get(k) != held.identity.get(k)
        ):
            raise ConfigError(
                f"{key}: taught for other rows or masks ({', '.join(differing)} differ from this run's); teach again "
                "with this run's config"
            )
        if held.temperature != config.temperature:
            raise ConfigError(
                f"{key}: taught at temperature {held.temperature:g}; distillation.temperature is {config.temperature:g}"
            )
        if config.top_k not in (0, held.top_k):
            raise ConfigError(f"{key}: holds top_k = {held.top_k}; distillation.top_k is {config.top_k}")

    def fill(self, batch: Batch) -> Batch:
        """With `pieces_MK` and `log_shares_MK`. Raises CorpusError where a row is not here, or has other masks."""
        targets, count = RowTargets.of(batch), self.manifest.top_k
        pieces: list[NDArray[Any]] = []
        log_shares: list[NDArray[Any]] = []
        for part, first in _ranges(batch):
            table = self._rows(part)
            rows = len(table)
            if not np.array_equal(table["masks"].to_numpy(), targets.digests_B[first : first + rows]):
                raise CorpusError(
                    f"{self.path}: holds other masks than {batch.describe()}; teach again with this config"
                )
            for column, held in (("pieces", pieces), ("log_shares", log_shares)):
                held.append(table[column].combine_chunks().flatten().to_numpy())
        pieces_MK = torch.from_numpy(np.concatenate(pieces).astype(np.int64)).view(-1, count)
        log_shares_MK = torch.from_numpy(np.concatenate(log_shares).astype(np.float32)).view(-1, count)
        return replace(batch, pieces_MK=pieces_MK, log_shares_MK=log_shares_MK)

    def _rows(self, part: RowRange) -> pa.Table:
        starts = self._starts[part.source] if part.source < len(self._starts) else {}
        first, end = starts.get((part.epoch, part.window), (0, 0))
        if first + part.last > end:
            raise CorpusError(
                f"{self.path}: epoch {part.epoch}, window {part.window}, row {part.last - 1} is not stored; teach more "
                "steps (`siliang-trainer compress teach --steps`)"
            )
        return self._tables[part.source].slice(first + part.first, part.last - part.first)


def _starts(table: pa.Table) -> dict[tuple[int, int], tuple[int, int]]:
    """(epoch, window) -> (its first row's place, the place behind its last)."""
    epochs, windows = table["epoch"].to_numpy(), table["window"].to_numpy()
    changes = np.flatnonzero((np.diff(epochs) != 0) | (np.diff(windows) != 0)) + 1 if len(table) else np.empty(0, int)
    firsts = [0, *changes.tolist()] if len(table) else []
    ends = [*firsts[1:], len(table)]
    return {(int(epochs[a]), int(windows[a])): (a, b) for a, b in zip(firsts, ends, strict=True)}
