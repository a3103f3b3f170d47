"""The processes of test_notes_ranks: forks so many ranks and prints what each of them holds at the end.

python notes_ranks.py WORLD STRATEGY ACCUMULATE SHARDS
"""

import hashlib
import json
import os
import socket
import sys
from itertools import islice

import torch
from torch import multiprocessing

from trainer.config import build_config
from trainer.data.masking import Masking
from trainer.data.rare import NoteWindow
from trainer.data.shards import Corpus
from trainer.data.stream import Stream
from trainer.distributed import World, joined, replicate, shard
from trainer.loop import Trainer
from trainer.model.config import ModelConfig
from trainer.model.note_config import NoteConfig
from trainer.model.notes import NoteTable
from trainer.notes import NoteTaker
from trainer.tasks.masked_lm import MaskedLM
from trainer.warm_notes import fill_notes, read_windows

V, T, WORDS, ROWS = 300, 24, 12, 8


def digest(*tensors: torch.Tensor) -> str:
    return hashlib.sha256(b"".join(tensor.numpy().tobytes() for tensor in tensors)).hexdigest()


def run(rank: int, size: int, port: int, strategy: str, accumulate: int, shards: str, results) -> None:
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    with joined() as world:
        results.put((rank, work(world, strategy, accumulate, shards)))


def work(world: World, strategy: str, accumulate: int, shards: str) -> dict:
    corpus = Corpus(shards)
    settings = [
        "notes.enabled=true", 'notes.start="warm"', "notes.warm_step=2", "notes.half_window=3", "schedule.steps=6",
        f"data.batch_rows={ROWS}", f"system.accumulate={accumulate}",
    ]  # fmt: skip
    config = build_config(overrides=settings)
    window = NoteWindow(WORDS, 3)
    stream = Stream(
        corpus, T, config.micro_rows, seed=1, masking=Masking(), rank=world.rank, world=world.size, notes=window
    )

    # What is seen told from outside: nothing but the order of the sums could differ between numbers of processes.
    made_up = NoteTable(NoteConfig(words=WORDS), 16)
    taker = NoteTaker(made_up, 0.1, world)
    batches = stream.batches()
    for _ in range(4):
        parts = [batch for batch, _ in islice(batches, accumulate)]
        taker.update([(b, (b.words.word_N[:, None] + b.target_M.new_tensor(range(16))).sin() / 3) for b in parts])

    torch.manual_seed(0)
    fields = {"layers": 1, "width": 16, "heads": 2, "feed_forward": 32, "max_length": T, "vocabulary_size": V}
    model = MaskedLM(ModelConfig(**fields, notes=NoteConfig(words=WORDS)))
    if world.size > 1 and strategy == "fsdp":
        shard(model, model.sharded(), torch.device("cpu"))
    trainer = Trainer(model, config, torch.device("cpu"), "fp32", world)
    if world.size > 1 and strategy == "ddp":
        trainer.forward = replicate(model)
    windows = read_windows(corpus, config.notes, T)
    trainer.warm = lambda: fill_notes(trainer, windows)
    batches = stream.batches()
    for _ in range(config.schedule.steps):
        trainer.take_step([batch for batch, _ in islice(batches, accumulate)])
    notes = model.encoder.notes
    return {
        "made_up": digest(made_up.table_WD, made_up.taken_W),
        "trained": digest(notes.table_WD, notes.taken_W),
        "table": notes.table_WD.tolist(),
        "taken": notes.taken_W.tolist(),
    }


def main() -> None:
    size, strategy, accumulate, shards = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # Forked before torch has computed anything: one import for all of them.
    context = multiprocessing.get_context("fork")
    results = context.SimpleQueue()
    arguments = (size, port, strategy, accumulate, shards, results)
    processes = [context.Process(target=run, args=(rank, *arguments)) for rank in range(size)]
    for process in processes:
        process.start()
    found = dict(results.get() for _ in processes)
    for process in processes:
        process.join()
    print(json.dumps([found[rank] for rank in range(size)]))


if __name__ == "__main__":
    main()
