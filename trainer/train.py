"""One training run from its shards to its result: builds the parts, or takes them up again, and lets the loop run."""

from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from trainer.base import Base, load_base
from trainer.checkpoint import (
    Checkpoint,
    CheckpointError,
    RunState,
    clean,
    load_checkpoint,
    load_newest,
    random_state,
    restore_random_state,
)
from trainer.compiling import compile_or_eager, forget_compiled
from trainer.config import TrainConfig, build_config, to_toml
from trainer.data.frequency import token_counts
from trainer.data.held_out import held_out
from trainer.data.open import Shards
from trainer.data.rare import NoteWindow, note_words
from trainer.data.shards import Corpus
from trainer.data.stream import StreamState
from trainer.deepen import deepen
from trainer.distillation.teaching import Teaching
from trainer.distributed import World, check_divides, joined, laid_out_like, replicate, shard, whole
from trainer.evaluate.held_out import HeldOutLosses, held_out_losses, unigram_entropy, unigram_logs
from trainer.evaluate.samples import Samples
from trainer.growth import Spent
from trainer.guard import DivergedError
from trainer.log import RunLog, SilentLog
from trainer.loop import Hooks, StopRequest, Trainer, fit
from trainer.notes import start_notes
from trainer.optim import load_optimizer_tensors, optimizer_tensors
from trainer.precision import be_deterministic, choose, measure, resolve_device
from trainer.progress import ProgressLine
from trainer.result import run_result
from trainer.resume import check_compatible, data_identity, finished
from trainer.run import RunDirectory, load_weights, write_atomic
from trainer.source import source_digest, versions
from trainer.tasks.build import build_task, task_flops
from trainer.warm_notes import fill_notes, read_windows
from trainer.writer import CheckpointWriter


@dataclass(frozen=True)
class Outcome:
    """result.json of a finished run, or None and the step at which a signal stopped it."""

    result: dict[str, Any] | None
    step: int


class Session:
    """The parts of a run, put together once: corpora, stream, model, trainer."""

    def __init__(
        self,
        shards: str | Path | Sequence[str | Path],
        run: RunDirectory,
        config: TrainConfig,
        checkpoint: Checkpoint | None,
        line: ProgressLine,
        world: World | None = None,
    ) -> None:
        data, system = config.data, config.system
        self.run, self.config, self.line = run, config, line
        self.world = world = world or World()
        opened = Shards(shards, data)
        corpora, directory = (opened.corpora("train"), opened.corpora("valid")), opened.directories[0]
        # Vocabulary and held-out rows are those of the shards named on the command line.
        train, valid = corpora[0][0], corpora[1][0]
        words = note_words(corpora[0]) if config.notes.enabled else None
        window = None if words is None else NoteWindow(words, config.notes.half_window)
        self.final_config = config.encoder(train.vocabulary_size, words)
        self.identity = data_identity(directory, *corpora)
        base: Base | None = None
        layers = config.growth.stages(self.final_config.layers)[0][1]
        if checkpoint is not None:
            check_compatible(checkpoint.state, config, self.final_config, self.identity, str(run.path))
            layers = checkpoint.state.model["layers"]
        elif config.growth.base:
            base = load_base(config, self.final_config, self.identity)
            layers = base.layers

        if system.threads:
            torch.set_num_threads(system.threads)
        self.device = resolve_device(system.device, world.local_rank if world.size > 1 else None)
        be_deterministic(self.device, system.deterministic)
        torch.manual_seed(system.seed)
        check_divides(world, config.micro_rows)
        masking = data.masking()
        self.stream = opened.stream(system.seed, config.micro_rows, world.rank, world.size, window)
        self.teaching: Teaching | None = None
        if config.distillation.enabled:
            fresh = checkpoint is None
            self.teaching = Teaching(config, self.final_config, self.identity, self.stream, fresh)
        rows = config.micro_rows, config.evaluate.masking(masking), config.evaluate.rows
        self.held_out = list(held_out(valid, data.sequence_length, *rows, notes=window))
        self.counts = token_counts(directory, train.vocabulary_size)
        self.entropy = unigram_entropy(valid)
        self.samples = Samples(config, valid, directory, window)
        self.held_out_parts: dict[str, float] = {}
        self._flops: dict[int, float] = {}

        self.rates = world.agree(measure(self.device))
        self.precision = choose(system.precision, self.rates)
        if checkpoint is not None and system.precision == "auto" and checkpoint.state.device == self.device.type:
            # The measurement may tip over between two starts; the run's numbers must not.
            self.precision = choose(checkpoint.state.precision, self.rates)
        self.build(layers)
        if checkpoint is not None:
            load_weights(self.model, checkpoint.model, checkpoint.path)
        elif base is not None:
            load_weights(self.model, base.weights, config.growth.base)
        elif self.teaching is not None and (taken := self.teaching.start(self.model_config)):
            load_weights(self.model, self.model.state_dict() | taken, config.distillation.teacher)
        self.settle()
        self.trainer = Trainer(self.model, config, self.device, self.precision, world)
        self.place, self.start_loss = StreamState(), float("nan")
        if checkpoint is not None:
            self._restore(checkpoint)
        elif base is not None:
            load_optimizer_tensors(self.model, *self.trainer.optimizers, tensors=base.optimizer)
            self.trainer.growth.base_flops = base.flops
        elif (notes := self.model.encoder.notes) is not None:
            start_notes(notes, config.notes, system.seed)
        if config.notes.warm_steps and words is not None:
            windows = read_windows(train, config.notes, self.final_config.max_length)
            self.trainer.warm = lambda: fill_notes(self.trainer, windows, line.note)
        checkpoints = config.checkpoint
        self.writer = CheckpointWriter(run.checkpoints, checkpoints.keep, checkpoints.best, line.note)
        if world.main:
            run.begin(train, directory)
        self._describe(train)

    def build(self, layers: int) -> None:
        """A fresh model of this depth, on the CPU."""
        self.model_config = self.final_config.model_copy(update={"layers": layers})
        shape, teaching = self.model_config, self.teaching
        self.model = build_task(self.config, shape) if teaching is None else teaching.task(shape)
        self.model.set_output_bias(unigram_logs(self.counts))
        self.model.set_recompute(self.config.system.recompute)
        self.parameters = sum(parameter.numel() for parameter in self.model.parameters())
        self.flops = self.flops_at(layers)

    def settle(self) -> None:
        """To the device and, where the strategy says so, into shards."""
        for module in (self.model, *self.model.beside()):
            module.to(self.device)
        if self.world.size > 1 and self.config.system.strategy == "fsdp":
            shard(self.model, self.model.sharded(), self.device)

    def connect(self) -> None:
        """What the trainer calls: the model, compiled and replicated as the config says."""
        system = self.config.system
        forward: Any = self.model
        if system.compile:
            forget_compiled()
            # A training row: of held-out ones no logits are stored.
            example = self.model.prepare(next(self.stream.batches(self.place))[0]).to(self.device)
            forward = compile_or_eager(self.model, example, self.device, self.precision, self.line.note)
        self.trainer.forward = replicate(forward) if self.world.size > 1 and system.strategy == "ddp" else forward

    def flops_at(self, layers: int) -> float:
        """Of one token at a depth."""
        if self.teaching is not None:
            # With the teacher's; and a student keeps its depth.
            return self.model.flops_per_token(self.config.data.sequence_length, self.config.data.mask_rate)
        if layers not in self._flops:
            self._flops[layers] = task_flops(self.config, self.final_config.model_copy(update={"layers": layers}))
        return self._flops[layers]

    @property
    def spent_flops(self) -> float:
        """Of all tokens so far, each at the depth that it was trained at."""
        return sum(depth["flops"] for depth in self.trainer.growth.ledger(self.flops_at))

    def _restore(self, checkpoint: Checkpoint) -> None:
        """Everything but the weights, which go into the model before it is sharded."""
        state, trainer = checkpoint.state, self.trainer
        try:
            load_optimizer_tensors(self.model, *trainer.optimizers, tensors=checkpoint.optimizer)
            if trainer.averages is not None:
                trainer.averages.load(checkpoint.averages)
        except KeyError as error:
            raise CheckpointError(f"{checkpoint.path}: state lacks or has an unknown parameter {error}") from error
        trainer.step, trainer.tokens, trainer.targets = state.step, state.tokens, state.targets
        trainer.seconds = state.seconds
        trainer.guard.load(state.guard)
        # Of a checkpoint of before there was growth, which holds no ledger.
        trainer.growth.spent = [Spent(state.model["layers"], state.step, state.tokens, state.seconds)]
        if unknown := sorted(state.methods.keys() - trainer.methods.keys()):
            raise CheckpointError(f"{checkpoint.path}: holds the state of unknown methods: {', '.join(unknown)}")
        for name, method_state in state.methods.items():
            trainer.methods[name].load(method_state)
        self.place, self.start_loss = StreamState.from_json(state.stream), state.held_out_start

    @torch.no_grad()
    def roll_back(self, reason: str) -> None:
        """Back to the newest checkpoint; the stream goes on behind the bad batches, the clock too."""
        trainer, guard = self.trainer, self.trainer.guard
        advice = "lower optimizer.learning_rate or look at these rows; the last checkpoint is kept"
        if guard.rolled_back >= guard.config.rollbacks:
            raise DivergedError(
                f"{reason}; {guard.skipped} steps were skipped, {guard.rolled_back} roll-backs; {advice}"
            )
        self.writer.wait()
        checkpoint = self._newest()
        if checkpoint is None:
            raise DivergedError(f"{reason}; there is no checkpoint to go back to; {advice}")
        self.line.note(f"goes back to {checkpoint.path}; {guard.skipped} steps were skipped so far")
        if checkpoint.state.model["layers"] != self.model_config.layers:
            self.build(checkpoint.state.model["layers"])
            self.settle()
            trainer.adopt(self.model)
            with torch.enable_grad():
                self.connect()
        weights = dict(self.model.named_parameters()) | dict(self.model.named_buffers())
        for name, tensor in checkpoint.model.items():
            weights[name].copy_(laid_out_like(tensor, weights[name]))
        seconds, skipped, rolled_back = trainer.seconds, guard.skipped, guard.rolled_back
        self._restore(checkpoint)
        trainer.growth.spent[-1].seconds += seconds - trainer.seconds
        trainer.seconds, guard.skipped, guard.rolled_back, guard.in_a_row = seconds, skipped, rolled_back + 1, 0

    def _newest(self) -> Checkpoint | None:
        """The checkpoint that rank 0 finds, on every process."""
        return newest(self.run, self.world, self.line)

    def _describe(self, train: Corpus) -> None:
        rates = ", ".join(f"{name} {rate:,.0f}" for name, rate in self.rates.items())
        world = self.world
        processes = f" · {world.size} processes, {self.config.system.strategy}" if world.size > 1 else ""
        self.line.note(
            f"{self.parameters / 1e6:.1f} M parameters · {train.tokens_total:,} tokens, vocabulary "
            f"{train.vocabulary_size:,} · {self.device.type}, {self.precision} (matmul GFLOP/s: {rates}){processes}"
        )
        if self.config.schedule.by == "seconds":
            self.line.note("the learning rate follows the clock, so this run cannot be reproduced bit for bit")

    def mfu(self, tokens_per_second: float) -> float:
        """Model FLOPs utilisation: share of the measured matmul rate in the run's precision, of all processes."""
        return tokens_per_second * self.flops / self.peak_flops

    @property
    def peak_flops(self) -> float:
        """Operations per second: the measured matmul rate in the run's precision, of all processes."""
        return self.rates[self.precision] * 1e9 * self.world.size

    def held_out_now(self) -> HeldOutLosses:
        """Of the average, where there is one."""
        trainer = self.trainer
        with trainer.averages.in_place() if trainer.averages is not None else nullcontext():
            return held_out_losses(self.model, self.held_out, self.device, self.precision, self.world)

    def evaluate(self, log: RunLog | SilentLog) -> float:
        trainer, found = self.trainer, self.held_out_now()
        numbers = {"loss": found.loss, "tokens": trainer.tokens, "seconds": trainer.seconds}
        log.write("held_out", trainer.step, **numbers, **found.parts)
        told = f"unigram entropy {self.entropy:.4f}" if self.model.kind == "masked-lm" else found.told(self.model.shown)
        self.line.note(f"step {trainer.step:,}: held-out loss {found.loss:.4f} ({told})")
        self.samples.log(self, log)
        if trainer.notes is not None:
            log.write("notes", trainer.step, **trainer.notes.numbers())
        self.held_out_parts = found.parts
        if recovery := trainer.growth.recovery(found.loss):
            log.write("recovery", trainer.step, layers=trainer.growth.layers, **asdict(recovery))
        return found.loss

    def weights(self) -> dict[str, torch.Tensor]:
        """Whole, by name. A collective where the model is sharded."""
        return {name: whole(tensor) for name, tensor in self.model.state_dict().items()}

    def averages(self) -> dict[str, torch.Tensor]:
        """The EMA by parameter name, whole; empty without one."""
        averages = self.trainer.averages
        return {} if averages is None else {name: whole(tensor) for name, tensor in averages.tensors.items()}

    def save(self, place: StreamState, held_out: float | None = None, wait: bool = True) -> None:
        """Rank 0 writes; the others help to gather. With `wait`, raises OSError where it could not be written."""
        trainer = self.trainer
        tensors = self.weights(), optimizer_tensors(self.model, *trainer.optimizers), self.averages()
        if not self.world.main:
            return
        state = RunState(
            step=trainer.step,
            stream=place.to_json(),
            tokens=trainer.tokens,
            targets=trainer.targets,
            seconds=trainer.seconds,
            held_out_start=self.start_loss,
            held_out=held_out,
            guard=trainer.guard.state(),
            methods={name: method.state() for name, method in trainer.methods.items()},
            source=source_digest(),
            device=self.device.type,
            precision=self.precision,
            config=self.config.model_dump(mode="json"),
            model=self.model_config.model_dump(mode="json"),
            data=self.identity,
            versions=versions(),
            random=random_state(self.device),
        )
        self.writer.submit(state, *tensors)
        if wait:
            self.writer.wait(strict=True)

    def fit(self, checkpoint: Checkpoint | None, stop: StopRequest) -> float | None:
        """The held-out loss at the end, or None where a signal stopped the run."""
        trainer, world = self.trainer, self.world
        if world.main:
            self.run.forget_result()
            clean(self.run.checkpoints)
            write_atomic(self.run.config, to_toml(self.config))
        self.connect()
        log: RunLog | SilentLog = SilentLog()
        if world.main:
            log = RunLog(self.run.path, trainer.step, resumed=checkpoint is not None, failed=self.line.note)
        with log, self.line:
            if checkpoint is not None:
                self.line.note(f"goes on from {checkpoint.path}")
                restore_random_state(checkpoint.state.random, self.device)
            else:
                self.start_loss = self.evaluate(log)
            grow = partial(deepen, self, log)
            hooks = Hooks(lambda: self.evaluate(log), self.save, grow, self.roll_back, log, self.line, stop, self.mfu)
            try:
                return fit(trainer, self.stream.batches(self.place), self.place, hooks)
            finally:
                # DDP's reducer must go before its process group: its destructor, which ends gloo's threads, holds the
                # GIL that they may wait for (seen: a run that never returned, on a busy machine).
                trainer.forward = self.model
                self.writer.wait()

    def finish(self, end_loss: float) -> dict[str, Any]:
        """Writes the final weights and result.json; returns the latter."""
        weights = self.weights() | self.averages()
        result = run_result(self, end_loss)
        if self.world.main:
            self.run.finish(weights, self.model_config, self.config.task, result)
        return result


def newest(run: RunDirectory, world: World, line: ProgressLine) -> Checkpoint | None:
    """The newest sound checkpoint as rank 0 finds it, on every process. Raises CheckpointError."""
    if world.size == 1:
        return load_newest(run.checkpoints, warn=line.note)
    found = load_newest(run.checkpoints, warn=line.note) if world.main else None
    path = world.agree(found.path if found else None)
    return found if world.main or path is None else load_checkpoint(path)


def train(
    shards: str | Path | Sequence[str | Path],
    output: str | Path,
    config_path: str | Path | None = None,
    preset: str | None = None,
    overrides: Iterable[str] = (),
    resume: bool = False,
    line: ProgressLine | None = None,
    stop: StopRequest | None = None,
) -> Outcome:
    """Trains a masked language model on a prepared corpus; RUN/result.json holds the numbers.

    With `resume` the newest sound checkpoint goes on; without `config_path` and `preset` it keeps its config.
    Raises ConfigError and RunInUseError (wrong use); CorpusError, ManifestError, CheckpointError, DivergedError and
    OSError (failed).
    """
    with joined() as world, stop or StopRequest() as stop:
        run = RunDirectory(output)
        if line is None or not world.main:
            line = ProgressLine(quiet=not world.main)
        checkpoint = newest(run, world, line) if resume else None
        if checkpoint is None:
            run.check_free()
        stored = checkpoint.state.config if checkpoint and config_path is None and preset is None else None
        config = build_config(config_path, preset, overrides, base=stored)
        world.wait()
        session = Session(shards, run, config, checkpoint, line, world)
        if checkpoint is not None and finished(checkpoint.state, config) and (result := run.read_result()):
            line.note(f"{output}: finished already, at step {checkpoint.state.step:,}")
            return Outcome(result, checkpoint.state.step)
        end_loss = session.fit(checkpoint, stop)
        if end_loss is not None:
            return Outcome(session.finish(end_loss), session.trainer.step)
    line.note(f"stopped at step {session.trainer.step:,}; --resume goes on from there")
    return Outcome(None, session.trainer.step)
