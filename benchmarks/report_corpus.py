"""A prepared directory of N audit rows without a text to prepare: what `report` reads, as `prepare` would write it.

Scores are drawn around each rule's limit as ratios of small numbers, so that their digits are as hard to compress as
real ones; every row has a doc_id, an excerpt and the 55 scores of the default config. Same N, same bytes.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import sentencepiece

from pipeline.config import PipelineConfig
from pipeline.text.rules import deciding, limit_of, scored
from schemas.arrow import AUDIT, BATCH_ROWS, TOKEN_FREQUENCY, VERDICTS, WORD_FREQUENCY, example, note
from schemas.manifest import Counts, FileEntry, Manifest, write_manifest
from schemas.vocabulary import SPECIAL_PIECES

FILE_ROWS = 50_000
"""Rows of a file: the documents of a work unit of some 100 MB."""
VERDICT_SHARES = (0.62, 0.24, 0.13, 0.01)
LANGUAGES = ("en", "en", "en", "en", "de", "fr", "zh", "und")
SOURCES = tuple(f"crawl-{number:02}" for number in range(24))
REPAIRS = ((), (), (), ("mojibake",), ("whitespace", "controls"), ("mask_email",))
KINDS = ("exact", "near", "contained")
WORDS, RARE_WORDS, CONTEXTS = 1_000_000, 50_000, 4
VALID_SHARE = 0.01
TEXT = (
    "The whale swam far under the cold water. A sailor watched the sea from the deck while the captain slept. "
    "No harpoon was thrown that day, and the lantern burned until morning came over the quiet harbour of the town. "
)
CONFIG = PipelineConfig()


@dataclass
class Told:
    """What the manifest says of the rows."""

    sources: dict[str, Counter[str]]
    rules: Counter[str]


def make_corpus(directory: Path, rows: int) -> Manifest:
    """Writes what the report reads, and the manifest last."""
    directory.mkdir(parents=True)
    told = Told({name: Counter() for name in SOURCES}, Counter())
    processor = _vocabulary(directory / "vocabulary/siliang.model")
    size = processor.get_piece_size()
    files = [_entry(directory, "vocabulary/siliang.model"), _facts(directory, size)]
    count = -(-rows // FILE_ROWS)
    for number in range(count):
        start = number * FILE_ROWS
        table = _rows(number, min(FILE_ROWS, rows - start), told)
        files.append(_write(directory, f"audit/audit-{number:05}-of-{count:05}.arrow", table))
        kept = table.filter(pa.compute.equal(table["verdict"], "kept"))["doc_id"].combine_chunks()
        held = int(len(kept) * VALID_SHARE)
        for split, ids in (("valid", kept[:held]), ("train", kept[held:])):
            files.append(_shard(directory, f"{split}/shard-{number:05}-of-{count:05}.arrow", ids, size))
    files += _frequencies(directory, processor, size)
    sources = {name: _counts(counter) for name, counter in told.sources.items()}
    manifest = Manifest(
        config=CONFIG.model_dump(mode="json"),
        versions={"pyarrow": pa.__version__},
        fingerprints={},
        counts=_counts(sum(told.sources.values(), Counter())),
        sources=sources,
        rules={rule.name: 0 for rule in deciding(CONFIG.rules)} | dict(told.rules),
        files=sorted(files, key=lambda entry: entry.path),
        vocabulary_size=size,
        tokens=sum(entry.tokens for entry in files),
    )
    write_manifest(directory, manifest)
    return manifest


def _counts(counter: Counter[str]) -> Counts:
    return Counts(input=counter.total(), **{verdict: counter[verdict] for verdict in VERDICTS})


def _entry(root: Path, name: str, rows: int = 0, tokens: int = 0) -> FileEntry:
    # `report` does not check digests: `verify` does.
    return FileEntry(path=name, sha256="0" * 64, bytes=(root / name).stat().st_size, rows=rows, tokens=tokens)


def _write(root: Path, name: str, table: pa.Table, compression: str | None = "zstd", tokens: int = 0) -> FileEntry:
    path = root / name
    path.parent.mkdir(exist_ok=True)
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema, options=options) as writer:
        writer.write_table(table, max_chunksize=BATCH_ROWS)
    return _entry(root, name, len(table), tokens)


def _doc_ids(rng: np.random.Generator, count: int) -> pa.Array:
    digits = np.frombuffer(b"0123456789abcdef", np.uint8)[rng.integers(0, 16, 32 * count, np.uint8)]
    return pa.StringArray.from_buffers(
        count, pa.py_buffer(np.arange(0, 32 * count + 1, 32, dtype=np.int32)), pa.py_buffer(digits)
    )


def _scores(rng: np.random.Generator, verdict: npt.NDArray[np.int64]) -> tuple[pa.Array, npt.NDArray[np.int64]]:
    """The column `scores`, and the rule (number among the scored) that decided against each row, -1 for none."""
    rules, decisive = scored(CONFIG.rules), {rule.name for rule in deciding(CONFIG.rules)}
    rows, width = len(verdict), len(rules)
    limits = np.array([limit_of(rule, CONFIG.rules) for rule in rules])
    sign = np.array([1.0 if rule.comparison == "min" else -1.0 for rule in rules])
    whole = limits == np.floor(limits)
    words = rng.integers(20, 4000, (rows, 1))
    # Passing scores: well on the right side of the limit.
    share = rng.beta(1.0, 6.0, (rows, width))
    scores = np.where(sign > 0, limits + share * (np.abs(limits) * 20 + 1), limits * (1 - share**0.25))
    may = [number for number, rule in enumerate(rules) if rule.name in decisive and rule.unit == "page"]
    decider = np.where(verdict == 1, np.array(may)[rng.integers(0, len(may), rows)], -1)
    wrong = np.flatnonzero(decider >= 0)
    chosen = decider[wrong]
    off = rng.beta(1.0, 4.0, len(wrong)) * (np.abs(limits[chosen]) + 1)
    scores[wrong, chosen] = limits[chosen] - sign[chosen] * (off + 1e-6)
    scores = np.where(whole, np.floor(scores), np.round(scores * words) / words)
    scores[wrong, chosen] = np.where(whole[chosen], limits[chosen] - sign[chosen] * np.ceil(off), scores[wrong, chosen])
    sound = np.flatnonzero(verdict != 3)
    lengths = np.where(verdict == 3, 0, width)
    names = pa.array([rule.name for rule in rules]).take(pa.array(np.tile(np.arange(width), len(sound))))
    values = [names, pa.array(scores[sound].ravel()), pa.array(np.tile(limits, len(sound)))]
    kind = AUDIT.field("scores").type
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))
    return pa.ListArray.from_arrays(
        offsets, pa.StructArray.from_arrays(values, fields=list(kind.value_type)), kind
    ), decider


def _rows(number: int, rows: int, told: Told) -> pa.Table:
    rng = np.random.default_rng(number)
    verdict = rng.choice(4, rows, p=VERDICT_SHARES)
    source = rng.integers(0, len(SOURCES), rows)
    scores, decider = _scores(rng, verdict)
    doc_ids = _doc_ids(rng, rows)
    kept, copies = np.flatnonzero(verdict == 0), np.flatnonzero(verdict == 2)
    # A tenth of the copies are of one document of each file.
    twin = kept[np.where(rng.random(len(copies)) < 0.1, 0, rng.integers(0, len(kept), len(copies)))]
    kind = rng.integers(0, len(KINDS), len(copies))
    jaccard = np.where(kind == 0, 1.0, np.round(rng.uniform(0.8, 1.0, len(copies)), 3))
    rule_names = np.array([rule.name for rule in scored(CONFIG.rules)] + ["bad_json", *KINDS], object)
    rule = decider.copy()
    rule[verdict == 3] = len(rule_names) - 1 - len(KINDS)
    rule[copies] = len(rule_names) - len(KINDS) + kind
    record = pa.array([f"{SOURCES[source[row]]}/part-{number:05}.jsonl.gz#{row + 1}" for row in range(rows)])
    starts = rng.integers(0, len(TEXT), rows)
    excerpt = pa.array([f"{TEXT[start:]}{TEXT}{row}"[:240] for row, start in enumerate(starts.tolist())])
    repairs = rng.integers(0, len(REPAIRS), rows)
    chars = np.exp(rng.normal(7.5, 1.2, rows)).astype(np.uint64) + np.uint64(1)
    for name in range(len(SOURCES)):
        mine = np.bincount(verdict[source == name], minlength=4).tolist()
        told.sources[SOURCES[name]].update(dict(zip(VERDICTS, mine, strict=True)))
    told.rules.update(Counter(rule_names[rule[rule >= 0]].tolist()))

    def spread(values: pa.Array) -> pa.Array:
        """Values of the copies at their rows."""
        places = np.full(rows, -1)
        places[copies] = np.arange(len(copies))
        return values.take(pa.array(places, mask=places < 0))

    columns = {
        "record": record,
        "doc_id": doc_ids,
        "source": pa.array(SOURCES).take(pa.array(source)),
        "verdict": pa.array(VERDICTS).take(pa.array(verdict)),
        "scores": scores,
        "rule": pa.array(rule_names.tolist()).take(pa.array(rule, mask=rule < 0)),
        "detail": pa.array([None, "masked: 2 email"]).take(pa.array((repairs == len(REPAIRS) - 1).astype(np.int64))),
        "duplicate_of": spread(doc_ids.take(pa.array(twin))),
        "duplicate_record": spread(record.take(pa.array(twin))),
        "jaccard": spread(pa.array(jaccard)),
        "kind": spread(pa.array(KINDS).take(pa.array(kind))),
        "language": pa.array(LANGUAGES).take(pa.array(rng.integers(0, len(LANGUAGES), rows))),
        "language_score": pa.array(np.round(rng.uniform(0.3, 1, rows), 3)),
        "repairs": pa.array([list(some) for some in REPAIRS], pa.list_(pa.string())).take(pa.array(repairs)),
        "chars_in": pa.array(chars + np.uint64(9)),
        "chars_out": pa.array(chars),
        "excerpt": excerpt,
    }
    return pa.table([columns[name] for name in AUDIT.names], schema=AUDIT)


def _shard(root: Path, name: str, ids: pa.Array, size: int) -> FileEntry:
    """Eight tokens a document: the report reads ids alone."""
    schema = example(size)
    offsets = pa.array(np.arange(0, 8 * len(ids) + 1, 8, dtype=np.int32))
    values = pa.array(np.arange(8 * len(ids)) % size, schema.field("tokens").type.value_type)
    tokens = pa.ListArray.from_arrays(offsets, values, schema.field("tokens").type)
    rare = pa.array([[]] * len(ids), schema.field("rare").type)
    return _write(root, name, pa.table([ids, tokens, rare], schema=schema), None, 8 * len(ids))


def _vocabulary(path: Path) -> sentencepiece.SentencePieceProcessor:
    path.parent.mkdir(parents=True)
    with path.open("wb") as out:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter([TEXT, TEXT[40:], TEXT.lower()]),
            model_writer=out,
            vocab_size=400,
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


def _facts(root: Path, size: int) -> FileEntry:
    (root / "vocabulary/vocabulary.json").write_bytes(orjson.dumps({"size": size, "languages": [], "sample": []}))
    return _entry(root, "vocabulary/vocabulary.json")


def _letters(number: int) -> str:
    text = ""
    while number:
        number, digit = divmod(number, 26)
        text += chr(97 + digit)
    return text or "a"


def _frequencies(root: Path, processor: sentencepiece.SentencePieceProcessor, size: int) -> Iterator[FileEntry]:
    pieces = [
        {"token_id": i, "piece": processor.id_to_piece(i), "count": 1 + i % 5, "documents": 1} for i in range(size)
    ]
    yield _write(root, "frequency/tokens.arrow", pa.Table.from_pylist(pieces, schema=TOKEN_FREQUENCY))
    count = np.maximum(1, 40_000_000 // np.arange(1, WORDS + 1)).astype(np.uint64)
    words = [pa.array([_letters(i) for i in range(WORDS)]), pa.array(count), pa.array(np.minimum(count, 9_000_000))]
    yield _write(root, "frequency/words.arrow", pa.table(words, schema=WORD_FREQUENCY))
    ids = processor.encode(TEXT)
    contexts = [{"doc_id": f"{i:032x}", "tokens": ids[i : i + 24], "start": 9, "end": 11} for i in range(CONTEXTS)]
    notes = [
        {"word_id": i, "word": _letters(i), "count": 200, "documents": 90, "contexts": contexts, "family": None}
        for i in range(RARE_WORDS)
    ]
    yield _write(root, "notes/notes-00000-of-00001.arrow", pa.Table.from_pylist(notes, schema=note(size)))
