"""One training run from its shards to its result: builds the parts, or takes them up again, and lets the loop run."""

import platform
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from trainer.checkpoint import (
    Checkpoint,
    CheckpointError,
    RunState,
    clean,
    load_newest,
    random_state,
    restore_random_state,
    save_checkpoint,
)
from trainer.compiling import compile_or_eager
from trainer.config import TrainConfig, build_config, to_toml
from trainer.data.shards import Corpus
from trainer.data.stream import Stream, StreamState, held_out
from trainer.evaluate.held_out import (
    held_out_loss,
    token_counts,
    unigram_cross_entropy,
    unigram_entropy,
    unigram_logs,
)
from trainer.log import RunLog
from trainer.loop import Hooks, StopRequest, Trainer, fit
from trainer.model.flops import flops_per_token
from trainer.optim import load_optimizer_tensors, optimizer_tensors
from trainer.precision import choose, measure, resolve_device
from trainer.progress import ProgressLine
from trainer.resume import check_compatible, data_identity, finished
from trainer.run import RESULT_SCHEMA, RunDirectory, load_weights, write_atomic
from trainer.tasks.masked_lm import MaskedLM


@dataclass(frozen=True)
class Outcome:
    """result.json of a finished run, or None and the step at which a signal stopped it."""

    result: dict[str, Any] | None
    step: int


def versions() -> dict[str, str]:
    """Of what decides a run's numbers."""
    try:
        own = version("siliang")
    except PackageNotFoundError:
        own = "not installed"
    return {"siliang": own, "torch": torch.__version__, "python": platform.python_version()}


class Session:
    """The parts of a run, put together once: corpora, stream, model, trainer."""

    def __init__(
        self, shards: Path, run: RunDirectory, config: TrainConfig, checkpoint: Checkpoint | None, line: ProgressLine
    ) -> None:
        data, system = config.data, config.system
        self.shards, self.run, self.config, self.line = shards, run, config, line
        train, valid = Corpus(shards, "train"), Corpus(shards, "valid")
        self.model_config = config.encoder(train.vocabulary_size)
        self.identity = data_identity(shards, train, valid)
        if checkpoint is not None:
            check_compatible(checkpoint.state, config, self.model_config, self.identity, str(run.path))

        if system.threads:
            torch.set_num_threads(system.threads)
        self.device = resolve_device(system.device)
        # The same sums in the same order at every start. Not on CUDA, where such kernels are slow and partly missing.
        torch.use_deterministic_algorithms(self.device.type == "cpu", warn_only=True)
        # Filling fresh tensors with NaN, to catch reads of unset memory, costs 5 % of a step.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        torch.manual_seed(system.seed)
        micro_rows, masking = data.batch_rows // system.accumulate, data.masking()
        self.stream = Stream(
            train, data.sequence_length, micro_rows, system.seed, masking, data.window_documents, data.workers,
            rank=0, world=1,
        )  # fmt: skip
        self.held_out = list(held_out(valid, data.sequence_length, micro_rows, masking, config.evaluate.rows))
        self.counts = token_counts(shards, train.vocabulary_size)
        self.entropy = unigram_entropy(valid)

        self.rates = measure(self.device)
        self.precision = choose(system.precision, self.rates)
        if checkpoint is not None and system.precision == "auto" and checkpoint.state.device == self.device.type:
            # The measurement may tip over between two starts; the run's numbers must not.
            self.precision = choose(checkpoint.state.precision, self.rates)
        self.model = MaskedLM(self.model_config)
        self.model.set_output_bias(unigram_logs(self.counts))
        self.parameters = sum(parameter.numel() for parameter in self.model.parameters())
        self.flops = flops_per_token(self.model_config, data.sequence_length, data.mask_rate)
        self.trainer = Trainer(self.model.to(self.device), config, self.device, self.precision)
        self.place, self.start_loss = StreamState(), float("nan")
        if checkpoint is not None:
            self._restore(checkpoint)
        run.begin(train, shards)
        self._describe(train)

    def _restore(self, checkpoint: Checkpoint) -> None:
        state, trainer = checkpoint.state, self.trainer
        load_weights(self.model, checkpoint.model, checkpoint.path)
        try:
            load_optimizer_tensors(self.model, trainer.optimizer, checkpoint.optimizer)
        except KeyError as error:
            raise CheckpointError(f"{checkpoint.path}: optimiser state of an unknown parameter {error}") from error
        trainer.step, trainer.tokens, trainer.targets = state.step, state.tokens, state.targets
        trainer.seconds = state.seconds
        self.place, self.start_loss = StreamState.from_json(state.stream), state.held_out_start

    def _describe(self, train: Corpus) -> None:
        rates = ", ".join(f"{name} {rate:,.0f}" for name, rate in self.rates.items())
        self.line.note(
            f"{self.parameters / 1e6:.1f} M parameters · {train.tokens_total:,} tokens, "
            f"vocabulary {train.vocabulary_size:,} · {self.device.type}, {self.precision} (matmul GFLOP/s: {rates})"
        )
        if self.config.schedule.by == "seconds":
            self.line.note("the learning rate follows the clock, so this run cannot be reproduced bit for bit")

    def mfu(self, tokens_per_second: float) -> float:
        """Model FLOPs utilisation: share of the measured matmul rate in the run's precision."""
        return tokens_per_second * self.flops / (self.rates[self.precision] * 1e9)

    def evaluate(self, log: RunLog) -> float:
        loss, _, _ = held_out_loss(self.model, self.held_out, self.device, self.precision)
        trainer = self.trainer
        log.write("held_out", trainer.step, loss=loss, tokens=trainer.tokens, seconds=trainer.seconds)
        self.line.note(f"step {trainer.step:,}: held-out loss {loss:.4f} (unigram entropy {self.entropy:.4f})")
        return loss

    def save(self, place: StreamState) -> None:
        trainer = self.trainer
        state = RunState(
            step=trainer.step,
            stream=place.to_json(),
            tokens=trainer.tokens,
            targets=trainer.targets,
            seconds=trainer.seconds,
            held_out_start=self.start_loss,
            device=self.device.type,
            precision=self.precision,
            config=self.config.model_dump(mode="json"),
            model=self.model_config.model_dump(mode="json"),
            data=self.identity,
            versions=versions(),
            random=random_state(self.device),
        )
        optimizer = optimizer_tensors(self.model, trainer.optimizer)
        save_checkpoint(self.run.checkpoints, state, self.model.state_dict(), optimizer, self.config.checkpoint.keep)

    def fit(self, checkpoint: Checkpoint | None, stop: StopRequest) -> float | None:
        """The held-out loss at the end, or None where a signal stopped the run."""
        self.run.forget_result()
        clean(self.run.checkpoints)
        write_atomic(self.run.config, to_toml(self.config))
        trainer = self.trainer
        if self.config.system.compile:
            example = self.held_out[0].to(self.device)
            trainer.forward = compile_or_eager(self.model, example, self.device, self.precision, self.line.note)
        with RunLog(self.run.path, trainer.step, resumed=checkpoint is not None) as log, self.line:
            if checkpoint is not None:
                self.line.note(f"goes on from {checkpoint.path}")
                restore_random_state(checkpoint.state.random, self.device)
            else:
                self.start_loss = self.evaluate(log)
            hooks = Hooks(lambda: self.evaluate(log), self.save, log, self.line, stop, self.mfu)
            return fit(trainer, self.stream.batches(self.place), self.place, hooks)

    def finish(self, end_loss: float) -> dict[str, Any]:
        """Writes the final weights and result.json; returns the latter."""
        trainer = self.trainer
        speed = trainer.tokens / max(trainer.seconds, 1e-9)
        result = {
            "schema": RESULT_SCHEMA,
            "steps": trainer.step,
            "tokens": trainer.tokens,
            "targets": trainer.targets,
            "seconds": trainer.seconds,
            "held_out_loss_start": self.start_loss,
            "held_out_loss_end": end_loss,
            "unigram_entropy": self.entropy,
            "unigram_cross_entropy": unigram_cross_entropy(self.held_out, self.counts),
            "tokens_per_second": speed,
            "mfu": self.mfu(speed),
            "precision": self.precision,
            "device": self.device.type,
            "threads": torch.get_num_threads(),
            "matmul_gflops": self.rates,
            "parameters": self.parameters,
            "preset": self.config.model.preset,
            "versions": versions(),
        }
        self.run.finish(self.model, self.model_config, result)
        return result


def train(
    shards: str | Path,
    output: str | Path,
    config_path: str | Path | None = None,
    preset: str | None = None,
    overrides: Iterable[str] = (),
    resume: bool = False,
) -> Outcome:
    """Trains a masked language model on a prepared corpus; RUN/result.json holds the numbers.

    With `resume` the newest sound checkpoint goes on; without `config_path` and `preset` it keeps its config.
    Raises ConfigError and RunInUseError (wrong use); CorpusError, ManifestError, CheckpointError, DivergedError and
    OSError (failed).
    """
    run, line = RunDirectory(output), ProgressLine()
    with StopRequest() as stop:
        checkpoint = load_newest(run.checkpoints, warn=line.note) if resume else None
        if checkpoint is None:
            run.check_free()
        stored = checkpoint.state.config if checkpoint and config_path is None and preset is None else None
        config = build_config(config_path, preset, overrides, base=stored)
        session = Session(Path(shards), run, config, checkpoint, line)
        if checkpoint is not None and finished(checkpoint.state, config) and (result := run.read_result()):
            line.note(f"{output}: finished already, at step {checkpoint.state.step:,}")
            return Outcome(result, checkpoint.state.step)
        end_loss = session.fit(checkpoint, stop)
    if end_loss is None:
        line.note(f"stopped at step {session.trainer.step:,}; --resume goes on from there")
        return Outcome(None, session.trainer.step)
    return Outcome(session.finish(end_loss), session.trainer.step)
