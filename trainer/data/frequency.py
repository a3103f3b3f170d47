"""How often the pieces of a vocabulary occur in a corpus, and bands of them."""

from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

import schemas.arrow
from schemas.shard import SchemaError, open_shard
from schemas.vocabulary import FIRST_ORDINARY
from trainer.data.corpus_error import CorpusError


def token_counts(directory: str | Path, vocabulary_size: int) -> NDArray[np.int64]:
    """Occurrences of every id in the kept documents, shape (vocabulary_size,). Raises CorpusError."""
    path = Path(directory) / "frequency" / "tokens.arrow"
    try:
        table = open_shard(path, schemas.arrow.TOKEN_FREQUENCY).read_all()
    except (SchemaError, pa.ArrowInvalid) as error:
        raise CorpusError(f"{error}; run `siliang-pipeline prepare` again") from error
    ids = table.column("token_id").to_numpy()
    if len(ids) != vocabulary_size or not np.array_equal(ids, np.arange(vocabulary_size)):
        raise CorpusError(f"{path}: {len(ids):,} ids, expected each of {vocabulary_size:,} once, in order")
    return table.column("count").to_numpy().astype(np.int64)


def band_tickets(counts: NDArray[np.int64], bands: tuple[int, ...]) -> NDArray[np.uint8]:
    """Tickets of every id, uint8 [V]. An id is in the band that the middle of its share of the tokens falls in, ids in
    the order of falling counts (of equal ones the lower id first)."""
    counts = counts.astype(np.int64)
    counts[:FIRST_ORDINARY] = 0
    order = np.argsort(-counts, kind="stable")
    middles = 2 * np.cumsum(counts[order]) - counts[order]
    total = max(2 * int(counts.sum()), 1)
    band = np.minimum(middles * len(bands) // total, len(bands) - 1)
    tickets = np.empty(len(counts), dtype=np.uint8)
    tickets[order] = np.array(bands, dtype=np.uint8)[band]
    return tickets
