"""A small prepared directory made by hand: every verdict, several files, and texts that want to do harm."""

import hashlib
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import orjson
import pyarrow as pa
import pytest
import sentencepiece

from pipeline.config import make_config
from schemas.arrow import AUDIT, BATCH_ROWS, TOKEN_FREQUENCY, VERDICTS, WORD_FREQUENCY, example, note
from schemas.manifest import Counts, FileEntry, Manifest, file_digest, write_manifest
from schemas.vocabulary import SPECIAL_PIECES

HOSTILE = {
    "script": "<script>alert(1)</script>",
    "handler": '"><img src=x onerror=alert(1)>',
    "link": '<a href="javascript:alert(1)">x</a> https://evil.example/x.js',
    "style": "</style><style>*{display:none}</style>",
    "template": "{{ 7*7 }}{% raw %}",
    "override": "abc \u202edef\u2066 \u200b\ufeff",
    "control": "a\x00b\x07c\x1b[31mred\x7f\x9b",
    "word": "x" * (1 << 20),
    "mathtext": r"$\frac{1}{2}$ _first \1 \g<0> ]]> & &amp;",
    "zalgo": "Z" + "\u0300\u0301\u0302" * 60,
}
TEXT = (
    "The whale swam far under the cold water. A sailor watched the sea from the deck while the captain slept. "
    "No harpoon was thrown that day, and the lantern burned until morning came over the quiet harbour. "
)


CONFIG = make_config(
    {
        "rules": {
            "sets": [],
            "custom": [
                {"name": "words", "statistic": "words", "comparison": "min", "limit": 50},
                {"name": "symbols", "statistic": "hash_ratio", "comparison": "max", "limit": 0.1},
                {"name": "calm", "statistic": "ellipsis_ratio", "comparison": "max", "limit": 0.9},
            ],
        }
    }
)


@dataclass(frozen=True)
class Prepared:
    """The directory, and the rows that its audit holds."""

    path: Path
    rows: list[dict]
    manifest: Manifest


def _row(number: int, rng: random.Random) -> dict:
    verdict = rng.choices(VERDICTS, (60, 22, 12, 6))[0]
    source = rng.choice(("books", "wiki", "mail"))
    if source == "mail" and verdict == "kept" and rng.random() < 0.8:
        verdict = "filtered"
    content = f"{TEXT[: rng.randrange(20, len(TEXT))]} {rng.randrange(1500)}"
    words = rng.randrange(50, 200) if verdict != "filtered" else rng.choice((rng.randrange(50), 80))
    symbols = rng.random() * 0.1 if words < 50 or verdict != "filtered" else 0.1 + rng.random()
    if verdict == "filtered" and rng.random() < 0.3:
        symbols = 0.5  # broken as well, but words decide
    row = {
        "record": f"{source}/file-{number % 7}.txt#{number + 1}",
        "doc_id": hashlib.blake2b(content.encode(), digest_size=16).hexdigest(),
        "source": source,
        "verdict": verdict,
        "scores": [
            {"rule": "custom.words", "score": float(words), "limit": 50.0},
            {"rule": "custom.symbols", "score": symbols, "limit": 0.1},
            {"rule": "custom.calm", "score": rng.random() * 0.5, "limit": 0.9},
        ],
        "rule": None,
        "detail": None,
        "duplicate_of": None,
        "duplicate_record": None,
        "jaccard": None,
        "kind": None,
        "language": rng.choice(("en", "en", "de", "und")),
        "language_score": 0.9,
        "repairs": rng.choice(([], [], ["mojibake"], ["controls", "mojibake"])),
        "chars_in": len(content) + 10,
        "chars_out": len(content),
        "excerpt": content,
    }
    if verdict == "filtered":
        row["rule"] = "custom.words" if words < 50 else "custom.symbols"
    elif verdict == "quarantined":
        row.update(rule=rng.choice(("bad_json", "truncated")), detail="byte 17", scores=[], excerpt="", repairs=[])
        row.update(language=None, language_score=None, chars_out=0)
    return row


def _rows() -> list[dict]:
    rng = random.Random(7)
    rows = [_row(number, rng) for number in range(2600)]
    kept = [row for row in rows if row["verdict"] == "kept"]
    for row in rows:
        if row["verdict"] == "duplicate":
            twin = kept[min(rng.randrange(len(kept)), rng.randrange(60))]
            kind = rng.choices(("exact", "near", "contained", "protected"), (40, 40, 12, 8))[0]
            jaccard = {"exact": 1.0, "near": round(rng.uniform(0.8, 1), 3), "contained": 0.25, "protected": None}[kind]
            row.update(rule=kind, kind=kind, jaccard=jaccard)
            if kind == "protected":
                row.update(verdict="filtered", detail="shares 13 words with quiz.jsonl#3")
            else:
                row.update(duplicate_of=twin["doc_id"], duplicate_record=twin["record"])
    # Kept in an earlier run: no row of this audit.
    for row in [row for row in rows if row["kind"] == "exact"][:40]:
        row.update(duplicate_of="f" * 32, duplicate_record="old/first.txt#1")
    seen = set()
    for row in kept:  # one kept record for each doc_id, as exact deduplication leaves it
        if row["doc_id"] in seen:
            row["doc_id"] = hashlib.blake2b(row["record"].encode(), digest_size=16).hexdigest()
        seen.add(row["doc_id"])
    by_record = {row["record"]: row["doc_id"] for row in kept}
    for row in rows:
        if row["duplicate_record"] in by_record:
            row["duplicate_of"] = by_record[row["duplicate_record"]]
    targets = {row["duplicate_of"] for row in rows}
    for number, (name, text) in enumerate(HOSTILE.items()):
        # Nearest the limit on each side, so that each is sure to be shown; names of people's files are hostile too.
        row = _row(9000 + number, random.Random(number))
        row.update(
            record=f"{text[:200]}/{name}#1",
            doc_id=f"{number:032x}",
            source=f"bad {text[:300]}",
            verdict="quarantined" if number % 3 == 0 else "filtered",
            rule=f"rule {text[:50]}" if number % 3 else "bad_json",
            detail=text,
            excerpt=text,
            language=text[:20],
            repairs=[text[:40]],
            scores=[{"rule": f"rule {text[:50]}", "score": 0.5, "limit": 0.6}],
        )
        rows.append(row)
    wicked = next(row for row in rows if row["doc_id"] in targets)
    wicked["excerpt"] = HOSTILE["script"] + HOSTILE["override"]
    rng.shuffle(rows)
    return rows


def write_arrow(path: Path, schema: pa.Schema, rows: list[dict], compression: str | None = "zstd") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    options = pa.ipc.IpcWriteOptions(compression=compression)
    table = pa.Table.from_pylist(rows, schema=schema)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schema, options=options) as writer:
        for batch in table.to_batches(max_chunksize=BATCH_ROWS):
            writer.write_batch(batch)


def _vocabulary(path: Path) -> sentencepiece.SentencePieceProcessor:
    path.parent.mkdir(parents=True)
    with path.open("wb") as out:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter([TEXT, TEXT[40:], TEXT.lower(), "harpoon lantern captain"]),
            model_writer=out,
            vocab_size=340,
            byte_fallback=True,
            pad_id=0,
            unk_id=1,
            bos_id=-1,
            eos_id=-1,
            pad_piece=SPECIAL_PIECES[0],
            unk_piece=SPECIAL_PIECES[1],
            control_symbols=list(SPECIAL_PIECES[2:]),
            hard_vocab_limit=False,
            num_threads=1,
            minloglevel=2,
        )
    return sentencepiece.SentencePieceProcessor(model_proto=path.read_bytes())


def _frequencies(root: Path, processor: sentencepiece.SentencePieceProcessor) -> None:
    size = processor.get_piece_size()
    pieces = [
        {"token_id": i, "piece": processor.id_to_piece(i), "count": i % 5, "documents": min(i % 5, 3)}
        for i in range(size)
    ]
    write_arrow(root / "frequency/tokens.arrow", TOKEN_FREQUENCY, pieces)
    words = [{"word": f"word{i}", "count": 5000 // (i + 1), "documents": 5} for i in range(1500)]
    words[1]["word"] = HOSTILE["script"]
    words[2]["word"] = HOSTILE["override"]
    write_arrow(root / "frequency/words.arrow", WORD_FREQUENCY, words)
    ids = processor.encode(TEXT)
    contexts = [{"doc_id": "0" * 32, "tokens": ids[i : i + 24], "start": 9, "end": 11} for i in range(3)]
    notes = [
        {"word_id": i, "word": f"rare{i}", "count": i + 1, "documents": 1, "contexts": contexts} for i in range(90)
    ]
    notes[0]["word"] = HOSTILE["handler"]
    write_arrow(root / "notes/notes-00000-of-00002.arrow", note(size), notes[:50])
    write_arrow(root / "notes/notes-00001-of-00002.arrow", note(size), notes[50:])


def prepare(root: Path, rows: list[dict], audit_files: int = 3) -> Prepared:
    """Writes the directory as `prepare` would leave it, `rows` spread over `audit_files` files."""
    processor = _vocabulary(root / "vocabulary/siliang.model")
    _frequencies(root, processor)
    for split, first, last in (("train", 0, 1400), ("valid", 1400, 1404)):
        shard = [{"doc_id": f"{number:032x}", "tokens": [9], "rare": []} for number in range(first, last)]
        write_arrow(root / f"{split}/shard-00000-of-00001.arrow", example(processor.get_piece_size()), shard, None)
    step = -(-len(rows) // audit_files)
    for number in range(audit_files):
        name = f"audit/audit-{number:05}-of-{audit_files:05}.arrow"
        write_arrow(root / name, AUDIT, rows[number * step : (number + 1) * step])
    files = []
    for path in sorted(root.rglob("*.*")):
        name = path.relative_to(root).as_posix()
        count = pa.ipc.open_file(pa.memory_map(str(path))).read_all().num_rows if name.endswith(".arrow") else 0
        files.append(FileEntry(path=name, sha256=file_digest(path), bytes=path.stat().st_size, rows=count))
    tokens = {"train": 50_000, "valid": 120}
    files = [entry.model_copy(update={"tokens": tokens.get(entry.path.partition("/")[0], 0)}) for entry in files]

    def counts(some: list[dict]) -> Counts:
        numbers = {verdict: sum(row["verdict"] == verdict for row in some) for verdict in VERDICTS}
        return Counts(input=len(some), **numbers)

    decided = {row["rule"] for row in rows if row["rule"]}
    manifest = Manifest(
        config=CONFIG.model_dump(mode="json"),
        versions={"pyarrow": pa.__version__},
        fingerprints={"clean": "ab" * 32},
        counts=counts(rows),
        sources={name: counts([r for r in rows if r["source"] == name]) for name in {r["source"] for r in rows}},
        rules={"custom.calm": 0} | {rule: sum(row["rule"] == rule for row in rows) for rule in sorted(decided)},
        files=sorted(files, key=lambda entry: entry.path),
        vocabulary_size=processor.get_piece_size(),
        tokens=50_120,
    )
    write_manifest(root, manifest)
    return Prepared(root, rows, manifest)


RUN = {
    "workers": 2,
    "runner": "FnApiRunner",
    "stages": [
        {"name": "clean", "seconds": 4.0, "input_bytes": 8_000_000, "units": 3, "resumed_units": 1, "peak_mb": 512.5},
        {"name": "encode <b>", "seconds": 1.5, "unheard_of": 1},
    ],
    "python": "3.11.2",
}


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    made = prepare(tmp_path_factory.mktemp("prepared"), _rows())
    (made.path / "report").mkdir()
    (made.path / "report/run.json").write_bytes(orjson.dumps(RUN))
    return made


@pytest.fixture(scope="session")
def prepare_directory() -> Callable[..., Prepared]:
    """(directory, rows, number of audit files) -> Prepared."""
    return prepare
