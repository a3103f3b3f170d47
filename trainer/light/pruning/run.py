"""Pruning the model of a run; what is left goes on with masked LM, and learns from what was there before."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from schemas.manifest import file_digest
from trainer.config import TrainConfig, build_config, make_config, merge
from trainer.data.batch import Batch
from trainer.data.corpus_error import CorpusError
from trainer.data.held_out import held_out
from trainer.data.open import Shards
from trainer.data.rare import NoteWindow, note_words
from trainer.distillation.task import DistilledMaskedLM
from trainer.distillation.teacher import Teacher
from trainer.evaluate.held_out import held_out_losses
from trainer.finetune.trial import StoppedError
from trainer.guard import DivergedError
from trainer.light.pruning.importance import Importance, measure
from trainer.light.pruning.rounds import Weights
from trainer.loop import Trainer
from trainer.model.config import ModelConfig
from trainer.precision import choose
from trainer.precision import measure as matmul_rates
from trainer.progress import ProgressLine
from trainer.run import RunDirectory, RunError, load_model
from trainer.sections.pruning import PruneConfig
from trainer.tasks.masked_lm import MaskedLM


class RunSubject:
    """The model of a run in rounds of pruning (`trainer.light.pruning.rounds.Subject`)."""

    def __init__(
        self, path: Path, shards: Path | None, config: PruneConfig, device: torch.device, line: ProgressLine,
        stop: Callable[[], bool],
    ) -> None:  # fmt: skip
        """Raises RunError, CheckpointError, CorpusError, ManifestError."""
        directory = RunDirectory(path)
        model = load_model(path)
        if not isinstance(model, MaskedLM):
            raise RunError(
                f"{path}: was trained on {model.kind}; fine-tune it and prune the classifier, or prune a masked LM"
            )
        self.model, self.config, self.device, self.line, self.stop = model, config, device, line, stop
        self.precision = choose(config.precision, matmul_rates(device))
        self.run_config = build_config(directory.config)
        place = shards or directory.shards()
        opened = Shards(place, self.run_config.data)
        vocabulary = opened.directories[0] / "vocabulary" / "siliang.model"
        if not vocabulary.is_file() or file_digest(vocabulary) != file_digest(directory.vocabulary):
            raise CorpusError(f"{place}: has another vocabulary than {path}")
        window, corpora = None, opened.corpora("train")
        if (notes := model.encoder.notes) is not None:
            window = NoteWindow(notes.config.words, self.run_config.notes.half_window)
            if note_words(corpora) != window.words:
                raise CorpusError(f"{place}: has other notes than {path} was trained with ({window.words:,} words)")
        data = self.run_config.data
        self.stream = opened.stream(config.seed, self.run_config.micro_rows, notes=window)
        rows = data.batch_rows, self.run_config.evaluate.masking(data.masking())
        counts = min(config.examples, self.run_config.evaluate.rows)
        held = held_out(opened.corpora("valid")[0], data.sequence_length, *rows, counts, notes=window)
        self.held_out: list[Batch] = list(held)
        model.to(device)
        self.teacher = Teacher(model) if config.teacher_weight else None

    @property
    def weights(self) -> Weights:
        """Of the whole model."""
        held = {name: tensor.detach().cpu() for name, tensor in self.model.state_dict().items()}
        return Weights(self.model.encoder.config, held)

    def build(self, config: ModelConfig) -> nn.Module:
        """Of a shape, with any weights."""
        return MaskedLM(config).eval()

    def passes(self, batch: int) -> list[Callable[[nn.Module], object]]:
        """The encoder on a few batches of held-out rows, on the model's device and waited for."""
        names = ("tokens_BT", "segments_BT", "positions_BT")
        parts = [torch.cat([getattr(one, name) for one in self.held_out]) for name in names]
        sets = zip(*(part.split(batch) for part in parts), strict=True)
        return [partial(_encoded, batch=[part.to(self.device) for part in one]) for one in list(sets)[:4]]

    def built(self, weights: Weights) -> MaskedLM:
        model = MaskedLM(weights.config)
        model.load_state_dict(weights.tensors)
        return model.to(self.device)

    def importance(self, weights: Weights) -> Importance:
        model = self.built(weights).eval().requires_grad_(False)

        def loss_sum(batch: Batch) -> Tensor:
            output = model(batch.to(self.device))
            return output.loss * output.targets

        def batches() -> Iterable[tuple[int, Callable[[], Tensor]]]:
            for batch in self.held_out:
                yield len(batch.tokens_BT), partial(loss_sum, batch)

        total = sum(len(batch.tokens_BT) for batch in self.held_out)
        like = model.encoder.token_embedding.weight
        return measure(model.encoder, batches(), like, lambda done: self.line.update(done / total, "importance"))

    def recover(self, weights: Weights, number: int, last: bool) -> Weights:
        """Trained for so many steps. Raises StoppedError, DivergedError."""
        steps = self.config.final_steps if last else self.config.steps
        if not steps:
            return weights
        config = self._settings(steps)
        model: MaskedLM
        if self.teacher is None:
            model = MaskedLM(weights.config)
        else:
            model = DistilledMaskedLM(weights.config, config.distillation, self.teacher)
        model.load_state_dict(weights.tensors)
        trainer = Trainer(model.to(self.device), config, self.device, self.precision)
        batches = self.stream.batches()
        rate = config.optimizer.learning_rate
        while trainer.step < steps:
            if self.stop():
                raise StoppedError
            result = trainer.take_step([next(batches)[0] for _ in range(trainer.micro_batches)])
            if trainer.guard.out_of_patience:
                raise DivergedError(f"round {number + 1}: {result.skipped}; lower learning_rate ({rate:g})")
            share = (number + trainer.step / steps) / self.config.rounds
            self.line.update(share, f"round {number + 1}, step {trainer.step:,} of {steps:,}: loss {result.loss:.4f}")
        held = {name: tensor.detach().cpu() for name, tensor in model.state_dict().items()}
        return replace(weights, tensors=held)

    def _settings(self, steps: int) -> TrainConfig:
        """Those of the run, but for what belongs to another length, depth or teacher."""
        values = self.run_config.model_dump(mode="json")
        rate = self.config.learning_rate or self.run_config.optimizer.learning_rate / 3
        told: dict[str, Any] = {}
        if self.teacher is not None:
            weight, temperature = self.config.teacher_weight, self.config.teacher_temperature
            told = {"teacher": "the unpruned model", "weight": weight, "temperature": temperature}
        values |= {"growth": {}, "distillation": told}
        return make_config(
            merge(
                values,
                {
                    "schedule": {"by": "steps", "steps": steps, "warmup": self.config.warmup, "decay": "linear",
                                 "final": 0.0, "batch_ramp": 0.0},
                    "optimizer": {"kind": "adamw", "learning_rate": rate, "ema": 0.0,
                                  "weight_decay": self.config.weight_decay, "clip_norm": self.config.clip_norm},
                    "system": {"seed": self.config.seed},
                },
            )
        )  # fmt: skip

    def score(self, weights: Weights) -> dict[str, float]:
        """The held-out loss."""
        return {"loss": held_out_losses(self.built(weights), self.held_out, self.device, "fp32").loss}


def _encoded(model: nn.Module, batch: list[Tensor]) -> Tensor:
    assert isinstance(model, MaskedLM)
    return model.encoder(*batch).cpu()
