"""The stream of batches: speed on one core beside other loaders, start and resume on a large corpus, padding, shuffle.

    python benchmarks/stream.py [--data SHARDS] [--quick] [--peers PYTHON] [--mosaic PYTHON]

Without --data the corpus is made: documents of 200 to 3,000 tokens (median 1,200) of Zipfian ids. `start_s` and
`resume_s` are taken on sparse shards of 1e9 tokens (5e7 with --quick) in a process of its own: from the opening of the
corpus to the first batch, at the beginning and in the middle of the third epoch. Rates of this stream are those of
shuffled, packed, masked int64 batches of 64 rows, without workers, on one core; the peers hand out int64 batches of the
same tokens in rows of T made beforehand, without masks. The rates that are compared are tokens per second of CPU time.

Peers: PYTHON -m pip install datasets litdata torch (or $SILIANG_PEERS_STREAM); mosaicml-streaming wants older packages
and an interpreter of its own (or $SILIANG_PEERS_MOSAIC); what is missing gives null.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import pyarrow as pa
import torch

import schemas.arrow
from schemas.manifest import Counts, FileEntry, Manifest, write_manifest
from trainer.data.marks import END, START, Marks
from trainer.data.masking import Masking
from trainer.data.order import make_order
from trainer.data.quality import ShuffleQuality, order_quality, permutation_quality
from trainer.data.shards import Corpus
from trainer.data.stream import Stream, StreamState

VOCABULARY = 8192
BATCH = 64
PEERS = {"mosaic": "mosaic", "hf": "stream", "hf_map": "stream", "litdata": "stream", "memmap": "stream"}


def write_shard(path: Path, lengths: np.ndarray, tokens: np.ndarray | None, batch_rows: int = 1000) -> None:
    """One shard; without tokens they are zeros that take no room on the disk."""
    schema = schemas.arrow.example(VOCABULARY)
    path.parent.mkdir(parents=True, exist_ok=True)
    ends = np.concatenate([[0], np.cumsum(lengths)])
    with path.open("wb") as raw, pa.ipc.new_file(pa.PythonFile(_Sparse(raw), mode="w"), schema) as writer:
        for first in range(0, len(lengths), batch_rows):
            rows = len(lengths[first : first + batch_rows])
            low, high = ends[first], ends[first + rows]
            values = np.zeros(high - low, dtype=np.uint16) if tokens is None else tokens[low:high]
            offsets = pa.array((ends[first : first + rows + 1] - low).astype(np.int32))
            columns = [
                pa.array([f"{k:032x}" for k in range(first, first + rows)]),
                pa.ListArray.from_arrays(offsets, pa.array(values)).cast(schema.field("tokens").type),
                pa.array([[]] * rows, type=schema.field("rare").type),
            ]
            writer.write_batch(pa.record_batch(columns, schema=schema))


class _Sparse:
    """A file that leaves holes where zeros are written."""

    closed = False

    def __init__(self, raw) -> None:  # type: ignore[no-untyped-def]
        self.raw = raw

    def write(self, data) -> int:  # type: ignore[no-untyped-def]
        view = memoryview(data).cast("B")
        if len(view) > 4096 and not np.frombuffer(view, dtype=np.uint8).any():
            self.raw.seek(len(view), os.SEEK_CUR)
            return len(view)
        return self.raw.write(view)

    def tell(self) -> int:
        return self.raw.tell()

    def flush(self) -> None:
        self.raw.flush()

    def close(self) -> None:
        self.raw.truncate(self.raw.tell())


def make_corpus(directory: Path, tokens: int, shards: int, sparse: bool) -> Path:
    """A corpus of about `tokens` tokens."""
    rng = np.random.default_rng(0)
    entries, total = [], 0
    for k in range(shards):
        lengths = np.clip(rng.lognormal(7.1, 0.5, tokens // shards // 1375), 200, 3000).astype(np.int64)
        count = int(lengths.sum())
        ids = None if sparse else (6 + rng.zipf(1.3, count) % (VOCABULARY - 6)).astype(np.uint16)
        path = directory / "train" / f"shard-{k:05d}-of-{shards:05d}.arrow"
        write_shard(path, lengths, ids)
        name = path.relative_to(directory).as_posix()
        entries.append(
            FileEntry(path=name, sha256="0" * 64, bytes=path.stat().st_size, rows=len(lengths), tokens=count)
        )
        total += count
    counts = Counts(input=sum(e.rows for e in entries), kept=sum(e.rows for e in entries))
    write_manifest(
        directory,
        Manifest(
            config={}, versions={}, fingerprints={}, counts=counts, sources={"made": counts}, rules={}, files=entries,
            vocabulary_size=VOCABULARY, tokens=total,
        ),
    )  # fmt: skip
    return directory


def speed(corpus: Corpus, length: int, seconds: float, masking: Masking, **options) -> dict[str, float]:  # type: ignore[no-untyped-def]
    """Rates of the stream without workers; every token counts, padding does not."""
    stream = Stream(corpus, length, BATCH, 1, masking, **options)
    batches = stream.batches()
    next(batches)
    count, wall, cpu = 0, time.perf_counter(), time.process_time()
    for batch, _ in batches:
        count += batch.token_count
        if time.perf_counter() - wall > seconds:
            break
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {"tokens_s": count / wall, "cpu_tokens_s": count / cpu}


def made_marks() -> Marks:
    """For made corpora: two thirds of the ids begin a word, and one that 4 % of the tokens have ends a sentence."""
    flags = np.where(np.arange(VOCABULARY) % 3 != 1, START, 0).astype(np.uint8)
    flags[10] = END
    return Marks(flags)


def padding(corpus: Corpus, length: int, windows: int = 50) -> float:
    stream = Stream(corpus, length, BATCH, 1, Masking())
    plans = [stream.plan(0, window) for window in range(min(windows, stream.windows))]
    return 1 - sum(plan.token_count for plan in plans) / sum(plan.rows * length for plan in plans)


def starts(directory: str) -> None:
    """Prints seconds to the first batch at the start, on a resume in the third epoch, and to the steps of an epoch."""
    warm = tempfile.mkdtemp()
    small = Corpus(make_corpus(Path(warm), 200_000, 1, sparse=False))
    next(Stream(small, 512, BATCH, 1, Masking()).batches())  # kernels from their cache
    told = {}
    for name, state in (("start_s", None), ("resume_s", StreamState(2, -1, 3))):
        begun = time.perf_counter()
        stream = Stream(Corpus(directory), 512, BATCH, 1, Masking())
        if state is not None:
            state = StreamState(2, stream.windows // 2, 3)
        next(stream.batches(state))
        told[name] = time.perf_counter() - begun
    begun = time.perf_counter()
    stream.steps(1)
    told["steps_s"] = time.perf_counter() - begun
    print(json.dumps(told))


def peer(name: str, python: str | None, tokens: Path, length: int, work: Path, seconds: float) -> dict | None:
    if python is None:
        return None
    command = [python, str(Path(__file__).with_name("stream_peers.py")), name, str(tokens), str(length), str(work)]
    try:
        done = subprocess.run([*command, str(seconds)], capture_output=True, text=True, timeout=600)
        return json.loads(done.stdout.strip().splitlines()[-1])
    except (IndexError, json.JSONDecodeError, subprocess.TimeoutExpired, OSError) as error:
        print(f"{name}: {error!r} {done.stderr[-400:] if 'done' in locals() else ''}", file=sys.stderr)
        return None


def shuffle_table(corpus: Corpus) -> None:
    shards = corpus.shard_numbers(np.arange(corpus.documents))
    rows: list[tuple[str, ShuffleQuality]] = [
        ("full", order_quality(make_order(1, corpus.lengths), 0, shards)),
        ("blocks of 256", order_quality(make_order(1, corpus.lengths, "blocks", 256), 0, shards)),
        ("true permutation", permutation_quality(1, shards)),
    ]
    names = list(rows[0][1].to_json())
    print(f"\nshuffle of {corpus.documents:,} documents in {shards.max() + 1} shards")
    print(f"{'order':18s}" + "".join(f"{name:>20s}" for name in names))
    for name, quality in rows:
        print(f"{name:18s}" + "".join(f"{value:20.5f}" for value in quality.to_json().values()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="output of siliang-pipeline prepare")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--peers", default=os.environ.get("SILIANG_PEERS_STREAM"))
    parser.add_argument("--mosaic", default=os.environ.get("SILIANG_PEERS_MOSAIC"))
    parser.add_argument("--starts", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.starts:
        starts(arguments.starts)
        return
    seconds = 2.0 if arguments.quick else 8.0
    with tempfile.TemporaryDirectory(prefix="siliang-stream-") as temporary:
        room = Path(temporary)
        place = arguments.data or make_corpus(room / "made", 4_000_000 if arguments.quick else 40_000_000, 16, False)
        corpus = Corpus(place)
        if arguments.data is None:
            corpus.marks = made_marks()
        print(f"{corpus.documents:,} documents, {corpus.tokens_total:,} tokens, digest {corpus.digest[:16]}")
        rates = {
            "piece": speed(corpus, 512, seconds, Masking()),
            "T = 128": speed(corpus, 128, seconds, Masking()),
        }
        if corpus.marks.words:
            rates["word"] = speed(corpus, 512, seconds, Masking(unit="word"))
            rates["span"] = speed(corpus, 512, seconds, Masking(unit="span"))
        for name, rate in rates.items():
            print(f"siliang, {name:10s} {rate['cpu_tokens_s'] / 1e6:8.1f} M tokens/s of CPU")
        ours = rates["piece"]

        tokens = np.concatenate([corpus.tokens(i) for i in range(corpus.documents)])[:15_000_000].astype(np.uint16)
        np.save(room / "tokens.npy", tokens)
        pythons = {"stream": arguments.peers, "mosaic": arguments.mosaic}
        found = {}
        for name, kind in PEERS.items():
            found[name] = peer(name, pythons[kind], room / "tokens.npy", 512, room / name, seconds)
            told = found[name]
            print(
                f"{name:19s} " + ("not measured; see --help" if told is None else
                f"{told['cpu_tokens_s'] / 1e6:8.1f} M tokens/s of CPU ({told['version']})")
            )  # fmt: skip
        shuffle_table(corpus)

        large = make_corpus(room / "large", 50_000_000 if arguments.quick else 1_000_000_000, 64, sparse=True)
        command = [sys.executable, __file__, "--starts", str(large)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        times = json.loads(done.stdout.strip().splitlines()[-1])

        def versus(name: str) -> float | None:
            told = found[name]
            return None if told is None else round(ours["cpu_tokens_s"] / told["cpu_tokens_s"], 2)

        pads = {f"padding_{length}": round(padding(corpus, length), 4) for length in (128, 512)}
        result = {
            "tokens_s": round(ours["cpu_tokens_s"]),
            "vs_mosaic": versus("mosaic"),
            "vs_hf": versus("hf"),
            "vs_hf_map": versus("hf_map"),
            "vs_litdata": versus("litdata"),
            "vs_memmap": versus("memmap"),
            **{name: round(value, 3) for name, value in times.items()},
            "padding": max(pads.values()),
            **pads,
            "tokens_s_128": round(rates["T = 128"]["cpu_tokens_s"]),
            "corpus": corpus.digest[:16],
            "torch": torch.__version__,
            "machine": platform.machine(),
        }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
