"""How fast a config trains here, and where the time of a step goes. No shards needed: rows are made up."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import median

import numpy as np
import torch

from schemas.vocabulary import CLS, FIRST_ORDINARY, MASK, SEP
from trainer.compiling import compile_or_eager
from trainer.config import TrainConfig
from trainer.data.batch import Batch, RowRange
from trainer.data.rare import visible_words
from trainer.loop import Trainer
from trainer.optim import clip_gradients
from trainer.precision import autocast, be_deterministic, choose, measure, resolve_device
from trainer.tasks.build import build_task

MADE_UP_WORDS = 10_000


@dataclass(frozen=True)
class Bench:
    tokens_per_second: float
    mfu: float
    precision: str
    compiled: bool
    parameters: int
    step_seconds: float
    """Median of a step on a micro-batch of the config."""
    shares: dict[str, float]
    """forward, backward, clip, update (of the notes too): shares of the step's time."""
    matmul_gflops: dict[str, float]
    threads: int


def made_up_batch(rows: int, length: int, vocabulary_size: int, mask_rate: float, seed: int = 0) -> Batch:
    """Full rows of one document each, uniform ids; masks drawn once."""
    draw = np.random.default_rng(seed)
    tokens = draw.integers(FIRST_ORDINARY, vocabulary_size, (rows, length))
    tokens[:, 0], tokens[:, -1] = CLS, SEP
    places = np.sort(draw.choice(rows * length, max(1, int(rows * length * mask_rate)), replace=False))
    places = places[(places % length != 0) & (places % length != length - 1)]
    target = tokens.reshape(-1)[places].copy()
    tokens.reshape(-1)[places] = MASK
    return Batch(
        tokens_BT=torch.from_numpy(tokens),
        segments_BT=torch.ones(rows, length, dtype=torch.int64),
        positions_BT=torch.arange(length).expand(rows, length).contiguous(),
        target_index_M=torch.from_numpy(places),
        target_M=torch.from_numpy(target),
        source=(RowRange(0, 0, 0, rows),),
        token_count=rows * length,
    )


def with_made_up_words(batch: Batch, words: int, half_window: int, seed: int = 0) -> Batch:
    """The batch with a rare word of two pieces at every twentieth: a tenth of the tokens, as the pipeline chooses."""
    rows, width = batch.tokens_BT.shape
    row, start = (grid.ravel() for grid in np.meshgrid(np.arange(rows), np.arange(9, width - 3, 20), indexing="ij"))
    word = np.random.default_rng(seed).integers(0, words, len(row))
    first, last = np.maximum(start - half_window, 1), np.minimum(start + 2 + half_window, width - 1)
    found = np.stack([word, row, start, start + 2, first, last])
    return replace(batch, words=visible_words(found, batch.target_index_M.numpy(), width))


def bench(
    config: TrainConfig,
    vocabulary_size: int = 8192,
    seconds: float = 10.0,
    note: Callable[[str], None] = lambda text: None,
) -> Bench:
    """Steps on one micro-batch of the config for about `seconds`, after a warm-up of three. With notes they are read
    and written, of MADE_UP_WORDS words."""
    if config.system.threads:
        torch.set_num_threads(config.system.threads)
    device = resolve_device(config.system.device)
    be_deterministic(device, config.system.deterministic)
    rates = measure(device)
    precision = choose(config.system.precision, rates)
    torch.manual_seed(config.system.seed)
    model = build_task(config, config.encoder(vocabulary_size, MADE_UP_WORDS)).to(device)
    model.set_recompute(config.system.recompute)
    trainer = Trainer(model, config, device, precision)
    data = config.data
    batch = made_up_batch(config.micro_rows, data.sequence_length, vocabulary_size, data.mask_rate)
    if config.notes.enabled:
        batch = with_made_up_words(batch, MADE_UP_WORDS, config.notes.half_window)
    batch = model.prepare(batch).to(device)
    forward: Callable = model
    if config.system.compile:
        forward = compile_or_eager(model, batch, device, precision, note)
    model.train()

    def now() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter()

    def step() -> list[float]:
        times = [now()]
        for optimizer in trainer.optimizers:
            optimizer.zero_grad(set_to_none=True)
        with autocast(device, precision):
            output = forward(batch)
        times.append(now())
        output.loss.backward()
        times.append(now())
        clip_gradients(model.parameters(), config.optimizer.clip_norm)
        times.append(now())
        for optimizer in trainer.optimizers:
            optimizer.step()
        if trainer.notes is not None:
            trainer.notes.update([(batch, output.notes_ND)])
        times.append(now())
        return times

    for _ in range(3):
        step()
    taken, end = [step()], time.perf_counter() + seconds
    while time.perf_counter() < end:
        taken.append(step())
    whole = median(times[-1] - times[0] for times in taken)
    parts = [median(times[i + 1] - times[i] for times in taken) for i in range(4)]
    speed = batch.token_count / whole
    return Bench(
        tokens_per_second=speed,
        mfu=speed * model.flops_per_token(data.sequence_length, data.mask_rate) / (rates[precision] * 1e9),
        precision=precision,
        compiled=forward is not model,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        step_seconds=whole,
        shares={
            name: part / sum(parts) for name, part in zip(("forward", "backward", "clip", "update"), parts, strict=True)
        },
        matmul_gflops={str(name): rate for name, rate in rates.items()},
        threads=torch.get_num_threads(),
    )
