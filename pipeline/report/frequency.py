"""Vocabulary and words as the report shows them: read from frequency/, notes/ and the SentencePiece model."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import sentencepiece

from pipeline.report.examples import NAME_LIMIT, TEXT_LIMIT
from pipeline.report.facts import counting, rare_facts
from pipeline.report.model import Rare, RareWord, SourceTokens, Tokens, Window, Word, Words
from pipeline.report.visible import cut
from schemas.arrow import TOKEN_FREQUENCY, WORD_FREQUENCY, note
from schemas.manifest import Manifest, ManifestError
from schemas.shard import open_shard
from schemas.vocabulary import FIRST_ORDINARY

MODEL = "vocabulary/siliang.model"
SPLITS = ("train", "valid", "test")
FREQUENT_WORDS = 40
SHOWN_SOURCES = 200
RARE_WORDS = 300
WINDOWS = 2
ZIPF_POINTS = 64
BYTE_PIECE = r"^<0x[0-9A-F]{2}>$"
RESERVED_PIECE = r"^\[RESERVED[0-9]+\]$"


def _batches(directory: Path, path: str, schema: pa.Schema):  # type: ignore[no-untyped-def]
    reader = open_shard(directory / path, schema)
    return (reader.get_batch(index) for index in range(reader.num_record_batches))


def _listed(manifest: Manifest, path: str) -> bool:
    return any(entry.path == path for entry in manifest.files)


def tokens(directory: Path, manifest: Manifest, chars_kept: int) -> Tokens:
    """`chars_kept`: code points of the kept documents."""
    used_bytes = total = unused = 0
    path = "frequency/tokens.arrow"
    for batch in _batches(directory, path, TOKEN_FREQUENCY) if _listed(manifest, path) else ():
        is_byte = pc.match_substring_regex(batch["piece"], BYTE_PIECE)
        total += pc.sum(batch["count"]).as_py() or 0
        used_bytes += pc.sum(batch["count"].filter(is_byte)).as_py() or 0
        reserved = pc.match_substring_regex(batch["piece"], RESERVED_PIECE)
        ordinary = pc.and_(pc.greater_equal(batch["token_id"], FIRST_ORDINARY), pc.invert(pc.or_(is_byte, reserved)))
        unused += pc.sum(pc.and_(ordinary, pc.equal(batch["count"], 0))).as_py() or 0
    train, valid, test = (manifest.under(split) for split in SPLITS)
    return Tokens(
        train=sum(entry.tokens for entry in train),
        valid=sum(entry.tokens for entry in valid),
        train_documents=sum(entry.rows for entry in train),
        valid_documents=sum(entry.rows for entry in valid),
        test=sum(entry.tokens for entry in test),
        test_documents=sum(entry.rows for entry in test),
        by_source=tuple(
            SourceTokens(name=cut(name, NAME_LIMIT), **{split: found.get(split, 0) for split in SPLITS})
            for name, found in sorted(manifest.source_tokens.items(), key=_most_tokens)[:SHOWN_SOURCES]
        ),
        vocabulary_size=manifest.vocabulary_size,
        unused_pieces=unused,
        byte_fallback_share=used_bytes / total if total else 0.0,
        characters_per_token=chars_kept / manifest.tokens if manifest.tokens else None,
    )


def _most_tokens(item: tuple[str, dict[str, int]]) -> tuple[int, str]:
    name, found = item
    return -found.get("train", 0), name


def words(directory: Path, manifest: Manifest) -> Words:
    """The file is sorted by falling count, so a row's position is its rank."""
    path = "frequency/words.arrow"
    if not _listed(manifest, path):
        return Words(distinct=0, total=0)
    reader = open_shard(directory / path, WORD_FREQUENCY)
    distinct = total = 0
    frequent: list[Word] = []
    counts: dict[int, int] = {}
    # Ranks up to 10^9 stand on one grid, so that the grid does not depend on the number of words.
    grid = np.unique(np.geomspace(1, 1e9, ZIPF_POINTS * 2).astype(np.int64))
    for index in range(reader.num_record_batches):
        batch = reader.get_batch(index)
        here = batch["count"].to_numpy()
        for row in batch.slice(0, max(0, FREQUENT_WORDS - len(frequent))).to_pylist():
            frequent.append(Word(word=cut(row["word"], NAME_LIMIT), count=row["count"], documents=row["documents"]))
        ranks = grid[(grid > distinct) & (grid <= distinct + len(here))]
        counts.update(zip(ranks.tolist(), here[ranks - distinct - 1].tolist(), strict=True))
        distinct += len(here)
        total += int(here.sum())
    return Words(
        distinct=distinct,
        total=total,
        frequent=tuple(frequent),
        zipf=tuple(counts.items()),
        counting=counting(directory, manifest),
    )


def rare(directory: Path, manifest: Manifest) -> Rare:
    """Some rare words, evenly spaced over the notes, with decoded windows.

    Raises ManifestError where there are notes but no readable vocabulary.
    """
    files = [entry for entry in manifest.under("notes") if entry.rows]
    count = sum(entry.rows for entry in files)
    if not count:
        return Rare(words=0, occurrences=0, facts=rare_facts(directory, manifest))
    chosen = np.unique(np.linspace(0, count - 1, min(RARE_WORDS, count)).round().astype(np.int64))
    processor = _vocabulary(directory)
    schema = note(manifest.vocabulary_size)
    start = occurrences = 0
    shown: list[RareWord] = []
    for entry in files:
        for batch in _batches(directory, entry.path, schema):
            occurrences += pc.sum(batch["count"]).as_py() or 0
            here = chosen[(chosen >= start) & (chosen < start + len(batch))] - start
            for row in batch.take(pa.array(here)).to_pylist():
                windows = tuple(_window(context, processor) for context in row["contexts"][:WINDOWS])
                word = cut(row["word"], NAME_LIMIT)
                shown.append(RareWord(word=word, count=row["count"], documents=row["documents"], windows=windows))
            start += len(batch)
    facts = rare_facts(directory, manifest)
    return Rare(words=count, occurrences=occurrences, examples=tuple(shown), facts=facts)


def _vocabulary(directory: Path) -> sentencepiece.SentencePieceProcessor:
    path = directory / MODEL
    try:
        return sentencepiece.SentencePieceProcessor(model_proto=path.read_bytes())
    except (OSError, RuntimeError) as error:
        raise ManifestError(f"{path}: not a readable SentencePiece model; run `siliang-pipeline verify`") from error


def _window(context: dict, processor: sentencepiece.SentencePieceProcessor) -> Window:
    size = processor.get_piece_size()
    ids = context["tokens"]
    left, word, right = (
        _decode(processor, [token for token in part if token < size])
        for part in (ids[: context["start"]], ids[context["start"] : context["end"]], ids[context["end"] :])
    )
    if word.startswith(" "):
        left, word = left + " ", word[1:]
    half = TEXT_LIMIT // 2
    return Window(
        doc_id=cut(context["doc_id"], NAME_LIMIT),
        left=left if len(left) <= half else "…" + left[1 - half :],
        word=cut(word, NAME_LIMIT),
        right=cut(right, half),
    )


def _decode(processor: sentencepiece.SentencePieceProcessor, ids: Sequence[int]) -> str:
    """Text of a run of tokens. Decoding drops a leading space, which the middle of a text needs: put it back."""
    text = processor.decode(list(ids))
    if ids and processor.id_to_piece(ids[0]).startswith("▁") and not text.startswith(" "):
        return " " + text
    return text
