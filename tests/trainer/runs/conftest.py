"""A prepared corpus of real sample text with its vocabulary, and tiny training runs on it."""

import itertools
import json
import multiprocessing
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import sentencepiece
import torch
from typer.testing import CliRunner

import schemas.arrow
from trainer.cli import app
from trainer.train import train

ROOT = Path(__file__).parents[3]
TINY = {
    "model.layers": 2,
    "model.width": 16,
    "model.heads": 2,
    "model.feed_forward": 32,
    "data.sequence_length": 32,
    "data.batch_rows": 8,
    "data.window_documents": 32,
    "schedule.steps": 24,
    "evaluate.every_steps": 10,
    "evaluate.rows": 16,
    "checkpoint.every_steps": 6,
    "system.log_every": 1,
    "system.precision": "fp32",
    "system.threads": 1,
    "system.device": "cpu",
}
"""Settings of a run that takes about a second."""


def settings(**changes: object) -> list[str]:
    """TINY with changes, as `--set` values; '__' in a name stands for the dot."""
    values = {**TINY, **{key.replace("__", "."): value for key, value in changes.items()}}
    return [f"{key}={json.dumps(value)}" for key, value in values.items()]


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "trainer", *map(str, arguments)]


def train_command(shards: Path, run: Path, *flags: str, **changes: object) -> list[str]:
    options = [part for value in settings(**changes) for part in ("--set", value)]
    return command("train", shards, "--output", run, *options, *flags)


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"}


def run_command(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(arguments, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=120)


def signal_at_step(arguments: list[str], run: Path, step: int, number: signal.Signals) -> tuple[int, str]:
    """Starts a run in its own process, sends the signal when its log shows the step; (exit code, stderr)."""
    process = subprocess.Popen(arguments, cwd=ROOT, env=environment(), stderr=subprocess.PIPE, text=True)
    log = run / "log.jsonl"
    mark = f'"step": {step},'
    while process.poll() is None and not (log.is_file() and mark in log.read_text(encoding="utf-8")):
        time.sleep(0.002)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    return process.returncode, errors


def one_of_two(rank: int, port: int, shards: Path, run: Path, overrides: list[str]) -> None:
    """A process as torchrun would start it, but forked: torch is imported already. What it says goes beside the run."""
    with open(f"{run}.rank-{rank}.txt", "wb") as told:
        os.dup2(told.fileno(), 2)
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1",
                   "MASTER_PORT": str(port)}  # fmt: skip
    train(shards, run, overrides=overrides)


def train_on_two(shards: Path, run: Path, overrides: list[str]) -> None:
    """A run on two processes over gloo."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    fork = multiprocessing.get_context("fork")
    both = [fork.Process(target=one_of_two, args=(rank, port, shards, run, overrides)) for rank in (0, 1)]
    for process in both:
        process.start()
    for process in both:
        process.join(120)
    assert [process.exitcode for process in both] == [0, 0], Path(f"{run}.rank-0.txt").read_text(encoding="utf-8")


def rare_spans(
    documents: list[list[int]], tokenizer: sentencepiece.SentencePieceProcessor
) -> tuple[list[list[tuple[int, int, int]]], list[list[tuple[list[int], int, int]]]]:
    """(rare spans of each document, windows of each rare word): runs of pieces from one '▁' to the next that occur 3 to
    15 times, with up to 3 windows of 16 tokens on each side; the last word has none, as if only held out."""
    starts = {i for i in range(len(tokenizer)) if tokenizer.id_to_piece(i).startswith("▁")}
    words = []
    for document in documents:
        edges = [k for k, piece in enumerate(document) if piece in starts] + [len(document)]
        words.append([(a, b, tuple(document[a:b])) for a, b in itertools.pairwise(edges)])
    counts = Counter(word for found in words for _, _, word in found)
    ids = {word: k for k, word in enumerate(sorted(word for word, n in counts.items() if 3 <= n <= 15))}
    spans = [[(a, b, ids[word]) for a, b, word in found if word in ids] for found in words]
    contexts: list[list[tuple[list[int], int, int]]] = [[] for _ in ids]
    for document, found in zip(documents, spans, strict=True):
        for a, b, word in found:
            first = max(a - 16, 0)
            if len(contexts[word]) < 3 and word + 1 < len(ids):
                contexts[word].append((document[first : b + 16], a - first, b - first))
    return spans, contexts


@pytest.fixture(scope="session")
def prepared(make_corpus: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards, vocabulary and frequencies as `siliang-pipeline prepare` leaves them: chapters of Moby-Dick."""
    directory = tmp_path_factory.mktemp("prepared")
    model = directory / "vocabulary" / "siliang.model"
    model.parent.mkdir()
    texts = [path.read_text(encoding="utf-8") for path in sorted((ROOT / "samples" / "moby-dick").glob("*.txt"))]
    passages = [passage for text in texts for passage in text.split("\n") if len(passage) > 40]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(passages), model_prefix=str(model.with_suffix("")), vocab_size=600, byte_fallback=True,
        pad_id=0, unk_id=1, bos_id=2, eos_id=3, pad_piece="[PAD]", unk_piece="[UNK]", bos_piece="[CLS]",
        eos_piece="[SEP]", control_symbols=["[MASK]", "[NEITHER]"], minloglevel=2, num_threads=1,
    )  # fmt: skip
    tokenizer = sentencepiece.SentencePieceProcessor(model_file=str(model))
    documents = tokenizer.encode(passages)
    valid, train = documents[::10], [d for i, d in enumerate(documents) if i % 10]
    spans, contexts = rare_spans(documents, tokenizer)
    rare = [s for i, s in enumerate(spans) if i % 10]
    make_corpus(
        directory, train, vocabulary_size=len(tokenizer), valid=valid, rare=rare, valid_rare=spans[::10],
        contexts=contexts,
    )  # fmt: skip
    counts = np.bincount(np.concatenate(documents), minlength=len(tokenizer))
    holding = np.bincount(np.concatenate([np.unique(d) for d in documents]), minlength=len(tokenizer))
    pieces = [tokenizer.id_to_piece(i) for i in range(len(tokenizer))]
    columns = [np.arange(len(tokenizer)), pieces, counts, holding]
    schema = schemas.arrow.TOKEN_FREQUENCY
    arrays = [pa.array(c, type=field.type) for c, field in zip(columns, schema, strict=True)]
    (directory / "frequency").mkdir()
    with (
        pa.OSFile(str(directory / "frequency" / "tokens.arrow"), "wb") as sink,
        pa.ipc.new_file(sink, schema) as writer,
    ):
        writer.write_batch(pa.record_batch(arrays, schema=schema))
    return directory


class Tools:
    """What the tests of runs share."""

    settings = staticmethod(settings)
    command = staticmethod(command)
    train_command = staticmethod(train_command)
    run_command = staticmethod(run_command)
    signal_at_step = staticmethod(signal_at_step)
    train_on_two = staticmethod(train_on_two)
    environment = staticmethod(environment)
    root = ROOT
    copy_tree = staticmethod(shutil.copytree)
    train = staticmethod(train)

    @staticmethod
    def sets(overrides: list[str]) -> list[str]:
        return [part for value in overrides for part in ("--set", value)]

    @staticmethod
    def invoke_output(*arguments: object) -> tuple[int, str, str]:
        """(exit code, stderr, stdout) of the command in this process."""
        done = CliRunner(env={"COLUMNS": "200", "TERM": "dumb"}).invoke(app, [str(argument) for argument in arguments])
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done.exit_code, done.stderr, done.stdout

    def invoke(self, *arguments: object) -> tuple[int, str]:
        return self.invoke_output(*arguments)[:2]


@pytest.fixture(scope="session")
def tools() -> Tools:
    return Tools()


@pytest.fixture(scope="session")
def finished_run(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 24 steps; tests must not change it."""
    run = tmp_path_factory.mktemp("finished") / "run"
    train(prepared, run, overrides=settings())
    return run


@pytest.fixture(autouse=True)
def _restore_torch() -> Iterator[None]:
    """Runs in this process set torch's threads and determinism."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(False)
