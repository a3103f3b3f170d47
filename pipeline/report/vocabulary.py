"""How well the vocabulary fits the corpus, as the report shows it: from vocabulary/ and frequency/."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from pipeline.report.examples import NAME_LIMIT
from pipeline.report.model import Vocabulary
from pipeline.report.visible import cut
from pipeline.words.quality import fertility, pieces
from pipeline.words.tokenizer import Tokenizer
from pipeline.words.vocabulary import VocabularyError
from schemas.arrow import TOKEN_FREQUENCY, WORD_FREQUENCY
from schemas.manifest import Manifest, ManifestError
from schemas.shard import open_shard

MODEL = "vocabulary/siliang.model"
FACTS = "vocabulary/vocabulary.json"
TOKENS = "frequency/tokens.arrow"
WORDS = "frequency/words.arrow"


def vocabulary_quality(directory: Path, manifest: Manifest) -> dict[str, Any]:
    """JSON values.

    `size`, `given`, `note`, `words` (what counts as a word), `sample` (per source and language), `languages` and
    `total` (pipeline.words.quality.Tally.row, over the sample), `pieces` (unused and longest, over the whole corpus),
    `fertility` (by frequency of the word, over the whole corpus). Raises ManifestError.
    """
    listed = {entry.path for entry in manifest.files}
    missing = sorted({MODEL, FACTS, TOKENS, WORDS} - listed)
    if missing:
        raise ManifestError(f"{directory}: the manifest lists no {missing[0]}; run `siliang-pipeline prepare` again")
    try:
        facts = orjson.loads((directory / FACTS).read_bytes())
        tokenizer = Tokenizer(directory / MODEL)
    except (OSError, orjson.JSONDecodeError, VocabularyError) as error:
        raise ManifestError(f"{directory}: {error}; run `siliang-pipeline verify`") from error
    counts = open_shard(directory / TOKENS, TOKEN_FREQUENCY).read_all()["count"].to_numpy().astype(np.int64)
    reader = open_shard(directory / WORDS, WORD_FREQUENCY)

    def words() -> Iterator[pa.RecordBatch]:
        return (reader.get_batch(number) for number in range(reader.num_record_batches))

    return {**facts, "pieces": pieces(tokenizer, counts), "fertility": fertility(tokenizer, words)}


def reported(directory: Path, manifest: Manifest) -> Vocabulary | None:
    """`vocabulary_quality` as part of the report, or None for a corpus of a version that told nothing of it."""
    if not any(entry.path == FACTS for entry in manifest.files):
        return None
    found = vocabulary_quality(directory, manifest)
    for item in found["pieces"]["longest"]:
        item["piece"] = cut(item["piece"], NAME_LIMIT)
    found["pieces"]["unused_examples"] = [cut(piece, NAME_LIMIT) for piece in found["pieces"]["unused_examples"]]
    return Vocabulary.model_validate(found)
