"""Words, tokens and notes: MB/s of the encode, count and notes work on one core, and the memory of a whole run.

    python benchmarks/words.py [--data DIR] [--mb N] [--quick]

Without --data it takes the text files of samples/, over and over until there are --mb megabytes (copies under another
first line). Kernels are compiled before anything is timed; times are seconds of CPU of this process, the least of
several runs. The last line is one JSON object:

- encode_mb_s: texts -> token ids -> word spans -> rare-word spans -> a shard on disk
- encode_vs_sentencepiece: its speed / SentencePiece's batched encoder alone, over the same batches
- count_mb_s: token counts, word spans, word counts and their merge, from token ids
- notes_mb_s: finding rare words, choosing windows, cutting them, and the notes table, from token ids and word spans
- peak_mb: most memory of `prepare` and its two workers together over the same text
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import psutil
import pyarrow as pa

from pipeline.config import VocabularyConfig
from pipeline.stages.parts import PartWriter
from pipeline.words.frequency import count_tokens, count_words, document_steps, merge_words
from pipeline.words.notes import CANDIDATES, best_candidates, cut_windows, note_candidates, notes_table
from pipeline.words.rare import RareWords, rare_spans, select_rare
from pipeline.words.spans import word_spans
from pipeline.words.tokenizer import Tokenizer
from pipeline.words.vocabulary import train_vocabulary
from schemas.arrow import example

ROOT = Path(__file__).parent.parent
CHARACTERS = 4000
BATCH = 1024
CONTEXTS, HALF_WINDOW = 8, 16


def texts(data: Path, megabytes: float) -> list[str]:
    """Documents of CHARACTERS code points, so many megabytes of them."""
    paths = sorted(path for path in data.rglob("*") if path.suffix in (".txt", ".md"))
    whole = [path.read_bytes().decode("utf-8", "replace") for path in paths]
    if not whole:
        raise SystemExit(f"{data}: no .txt or .md files")
    found: list[str] = []
    size, turn = 0, 0
    while True:
        for text in whole:
            for start in range(0, len(text), CHARACTERS):
                found.append(f"Copy {turn}.\n" * bool(turn) + text[start : start + CHARACTERS])
                size += len(found[-1].encode())
                if size >= megabytes * 1e6:
                    return found
        turn += 1


def least(work: Callable[[], object], repeats: int) -> float:
    best = float("inf")
    for _ in range(repeats):
        started = time.process_time()
        work()
        best = min(best, time.process_time() - started)
    return best


class Work:
    """The steps over batches held in memory."""

    def __init__(self, documents: list[str], tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.batches = [documents[i : i + BATCH] for i in range(0, len(documents), BATCH)]
        self.doc_ids = [
            pa.array([hashlib.blake2b(f"{i} {j}".encode(), digest_size=16).hexdigest() for j in range(len(batch))])
            for i, batch in enumerate(self.batches)
        ]
        self.encoded = [tokenizer.encode(batch) for batch in self.batches]
        self.spans = [word_spans(encoded, tokenizer.piece_kinds) for encoded in self.encoded]

    def sentencepiece(self) -> None:
        for batch in self.batches:
            self.tokenizer._model.encode(batch, return_type="numpy", num_threads=1)

    def encode(self, rare: pa.Table) -> None:
        schema, words = example(self.tokenizer.size), RareWords(rare)
        with tempfile.TemporaryDirectory() as folder, PartWriter(folder, 0).sink("t", schema, compressed=False) as sink:
            for batch, doc_ids in zip(self.batches, self.doc_ids, strict=True):
                encoded = self.tokenizer.encode(batch)
                spans = word_spans(encoded, self.tokenizer.piece_kinds)
                found = rare_spans(self.tokenizer, encoded, spans, words)
                sink.write(pa.table([doc_ids, encoded.to_arrow(), found.to_arrow()], schema=schema))

    def count(self) -> pa.Table:
        tables = []
        for encoded, doc_ids in zip(self.encoded, self.doc_ids, strict=True):
            count_tokens(encoded, self.tokenizer.size)
            spans = word_spans(encoded, self.tokenizer.piece_kinds)
            tables.append(count_words(self.tokenizer, encoded, spans, document_steps(doc_ids)))
        return merge_words(tables)

    def notes(self, rare: pa.Table) -> pa.Table:
        words, best, first = RareWords(rare), CANDIDATES.empty_table(), 0
        parts = []
        for encoded, spans, doc_ids in zip(self.encoded, self.spans, self.doc_ids, strict=True):
            found = rare_spans(self.tokenizer, encoded, spans, words)
            ref = np.arange(first, first + len(encoded), dtype=np.uint64)
            first += len(encoded)
            chosen = note_candidates(found, encoded, doc_ids, ref, CONTEXTS)
            best = best_candidates(pa.concat_tables([best, chosen]), CONTEXTS)
            parts.append((encoded, doc_ids, ref))
        windows = pa.concat_tables([cut_windows(best, *part, HALF_WINDOW) for part in parts])
        return notes_table(rare, windows, self.tokenizer.size)


def peak_of_prepare(documents: list[str], work: Path) -> float:
    """MB of the command and its workers together, sampled 20 times a second."""
    (work / "input").mkdir()
    with open(work / "input" / "documents.jsonl", "w", encoding="utf-8") as file:
        for text in documents:
            file.write(json.dumps({"text": text}) + "\n")
    command = [sys.executable, "-m", "pipeline", "prepare", str(work / "input"), "--output", str(work / "output")]
    process = subprocess.Popen([*command, "--workers", "2"], cwd=ROOT, stdout=subprocess.DEVNULL)
    peak = 0.0

    def watch() -> None:
        nonlocal peak
        parent = psutil.Process(process.pid)
        while process.poll() is None:
            total = 0
            for one in (parent, *_children(parent)):
                try:
                    total += one.memory_info().rss
                except psutil.NoSuchProcess:
                    continue
            peak = max(peak, total / 1e6)
            time.sleep(0.05)

    watcher = threading.Thread(target=watch)
    watcher.start()
    code = process.wait()
    watcher.join()
    if code:
        raise SystemExit(f"prepare ended with {code}")
    return peak


def _children(parent: psutil.Process) -> list[psutil.Process]:
    try:
        return list(parent.children(recursive=True))
    except psutil.NoSuchProcess:
        return []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT / "samples")
    parser.add_argument("--mb", type=float, help="megabytes of text; 32, or 4 with --quick")
    parser.add_argument("--quick", action="store_true", help="less text, and no whole run: peak_mb is null")
    arguments = parser.parse_args()
    pa.set_cpu_count(1)
    repeats = 2 if arguments.quick else 5
    documents = texts(arguments.data, arguments.mb or (4.0 if arguments.quick else 32.0))
    size = sum(len(text.encode()) for text in documents) / 1e6
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "siliang.model"
        train_vocabulary(documents[:: max(1, int(size / 2))], model, VocabularyConfig(size=8192, threads=1))
        work = Work(documents, Tokenizer(model))
        counts = work.count()
        rare = select_rare(counts, 3, 15).table
        notes = work.notes(rare)  # and everything is compiled
        print(f"{size:.1f} MB in {len(documents):,} documents, {len(counts):,} distinct words")
        print(f"{len(rare):,} rare words, {sum(map(len, notes['contexts'].to_pylist())):,} windows\n")

        seconds = {
            "SentencePiece alone": least(work.sentencepiece, repeats),
            "encode": least(lambda: work.encode(rare), repeats),
            "count": least(work.count, repeats),
            "notes": least(lambda: work.notes(rare), repeats),
        }
        for name, value in seconds.items():
            print(f"{name:<20} {value:8.3f} s {size / value:8.1f} MB/s")
        peak = None if arguments.quick else round(peak_of_prepare(documents, Path(folder)), 1)
    result = {
        "encode_mb_s": round(size / seconds["encode"], 1),
        "encode_vs_sentencepiece": round(seconds["SentencePiece alone"] / seconds["encode"], 3),
        "count_mb_s": round(size / seconds["count"], 1),
        "notes_mb_s": round(size / seconds["notes"], 1),
        "peak_mb": peak,
        "mb": round(size, 1),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
