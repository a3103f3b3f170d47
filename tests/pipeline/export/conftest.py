"""A small corpus with documents of every kind an exporter meets: empty, long, without a rare word, with all bytes."""

import random
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pytest
import sentencepiece

from pipeline.config import PipelineConfig
from schemas.arrow import example, note
from schemas.manifest import Counts, FileEntry, Manifest, file_digest, write_manifest
from schemas.vocabulary import SPECIAL_PIECES

TEXT = "The harpooner's lantern swung low over the cold water while the captain read the chart. "
HOSTILE = 'Call me \x1b[31mred\x07 \u202egnihtemos\u202c "quoted" \\ <b>鲸</b> \U0001f40b\u2028\x85 end'


class Made(NamedTuple):
    """A prepared directory and what was put into it."""

    path: Path
    manifest: Manifest
    rows: dict[str, list[dict[str, Any]]]
    """Split -> rows of the shards, in order, with `text`."""


def _model(path: Path) -> sentencepiece.SentencePieceProcessor:
    path.parent.mkdir(parents=True)
    with path.open("wb") as out:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter([TEXT, TEXT[30:], TEXT.lower(), TEXT[::2]]),
            model_writer=out,
            vocab_size=330,
            byte_fallback=True,
            pad_id=0,
            unk_id=1,
            bos_id=-1,
            eos_id=-1,
            pad_piece=SPECIAL_PIECES[0],
            unk_piece=SPECIAL_PIECES[1],
            control_symbols=list(SPECIAL_PIECES[2:]),
            normalization_rule_name="identity",
            hard_vocab_limit=False,
            num_threads=1,
            minloglevel=2,
        )
    return sentencepiece.SentencePieceProcessor(model_proto=path.read_bytes())


def _row(model: sentencepiece.SentencePieceProcessor, text: str, number: int, chance: random.Random) -> dict[str, Any]:
    tokens = model.encode(text)
    cuts = sorted(chance.sample(range(len(tokens)), min(len(tokens) // 8, 3) * 2))
    pairs = zip(cuts[::2], cuts[1::2], strict=True)
    rare = [{"start": start, "end": end, "word": start % 7} for start, end in pairs]
    return {"doc_id": f"{number:032x}", "tokens": tokens, "rare": rare, "text": model.decode(tokens)}


def _write(path: Path, schema: pa.Schema, rows: list[dict[str, Any]], batch: int) -> None:
    path.parent.mkdir(exist_ok=True)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        for start in range(0, len(rows), batch):
            part = [{name: row[name] for name in schema.names} for row in rows[start : start + batch]]
            writer.write_batch(pa.RecordBatch.from_pylist(part, schema=schema))


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    root = tmp_path_factory.mktemp("export") / "data"
    model = _model(root / "vocabulary/siliang.model")
    schema = example(model.get_piece_size())
    chance = random.Random(0)
    texts = ["", HOSTILE, TEXT * 900, TEXT[:40], "word " * 255, "a" * 256, *(TEXT[i:] * (i % 5) for i in range(60))]
    rows = [_row(model, text, number, chance) for number, text in enumerate(texts)]
    shards = {
        "train/shard-00000-of-00002.arrow": rows[:40],
        "train/shard-00001-of-00002.arrow": rows[40:55],
        "test/shard-00000-of-00001.arrow": rows[55:],
    }
    for name, part in shards.items():
        _write(root / name, schema, part, 16)
    windows = [{"doc_id": "0" * 32, "tokens": rows[3]["tokens"], "start": 1, "end": 2}]
    notes = [
        {"word_id": i, "word": f"word{i}", "count": 3, "documents": 2, "contexts": windows, "family": [6 - i]}
        for i in range(7)
    ]
    _write(root / "notes/notes-00000-of-00001.arrow", note(model.get_piece_size()), notes, 4)
    files = []
    for name, part in sorted({**shards, "notes/notes-00000-of-00001.arrow": notes}.items()):
        path = root / name
        tokens = sum(len(row.get("tokens", ())) for row in part)
        files.append(
            FileEntry(path=name, sha256=file_digest(path), bytes=path.stat().st_size, rows=len(part), tokens=tokens)
        )
    manifest = Manifest(
        config=PipelineConfig().model_dump(mode="json"),
        versions={},
        fingerprints={},
        counts=Counts(input=len(rows), kept=len(rows)),
        sources={},
        rules={},
        files=files,
        vocabulary_size=model.get_piece_size(),
        tokens=sum(entry.tokens for entry in files),
    )
    write_manifest(root, manifest)
    return Made(root, manifest, {"train": rows[:55], "test": rows[55:]})
