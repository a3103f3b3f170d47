"""The interface between the training loop and what is learned."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from torch import Tensor, nn

from trainer.method import Method
from trainer.model.config import ModelConfig
from trainer.model.encoder import Encoder

if TYPE_CHECKING:
    from trainer.data.batch import Batch


TRAINING_ONLY = "training_only."
"""Prefix of the names of weights that training alone needs: checkpoints have them, finished models do not."""


@dataclass(frozen=True)
class Term:
    """A summand of the loss."""

    mean: Tensor
    """fp32 scalar with a graph, weighted already; zero where `count` is."""
    count: int
    """How many predictions the mean runs over: its weight when micro-batches and processes are averaged."""


@dataclass(frozen=True)
class TaskOutput:
    """Result of one micro-batch."""

    loss: Tensor
    """fp32 scalar with a graph: the mean over `targets`, zero where there are none; or the sum of `terms`."""
    parts: dict[str, Tensor]
    """Detached scalars to log, by name; each task documents its own. Always the same names."""
    targets: int
    """How many predictions the mean runs over: its weight when micro-batches are averaged."""
    terms: tuple[Term, ...] = ()
    """Where the loss sums means over different counts; empty: it is one term, over `targets`."""
    part_counts: Mapping[str, Tensor | int] = field(default_factory=dict)
    """Over how much a part is a mean, where that is not `targets`; a part of count zero is not logged."""
    notes_ND: Tensor | None = None
    """Of a batch with rare words, what each of them was seen as (`trainer.tasks.encode.seen`)."""

    @property
    def summands(self) -> tuple[Term, ...]:
        return self.terms or (Term(self.loss, self.targets),)


class Task(nn.Module):
    """Turns a batch into a loss. The encoder inside is what training is for."""

    kind: ClassVar[str]
    """As [task] names it."""
    shown: ClassVar[tuple[str, ...]] = ()
    """Parts that stand on the progress line."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        """Of the encoder."""
        self.encoder: Encoder

    def prepare(self, batch: "Batch") -> "Batch":
        """What `forward` reads, from a batch of the loader, on the CPU: the trainer calls it once for each."""
        return batch

    def counts(self, batch: "Batch") -> tuple[int, ...]:
        """The count of each of the loss's terms on a prepared batch, known before the forward pass."""
        return (len(batch.target_M),)

    def forward(self, batch: "Batch") -> TaskOutput:
        raise NotImplementedError

    def fill_logits(self, batch: "Batch") -> Tensor | None:
        """logits_MV at the batch's predicted positions, which all hold [MASK], of the network that fills them; None
        where the task has none."""
        return None

    def set_output_bias(self, log_unigram_V: Tensor) -> None:
        """Start the head's bias at the log frequencies, where there is a head over the vocabulary."""

    def methods(self) -> dict[str, Method]:
        """What must be told of each step and saved with a checkpoint, by name."""
        return {}

    def beside(self) -> list[nn.Module]:
        """Frozen modules that it reads and that are no part of it: they go to its device, and into no checkpoint."""
        return []

    def growing(self) -> tuple[str, ...]:
        """Prefixes of the names of layers whose number is the encoder's, so that growth copies them."""
        return ("encoder.layers.",)

    def sharded(self) -> list[nn.Module]:
        """Modules that FSDP shards each alone: the layers."""
        return list(self.encoder.layers)

    def set_recompute(self, recompute: bool) -> None:
        """Activation checkpointing in all layers."""
        self.encoder.recompute = recompute

    def flops_per_token(self, length: int, predicted_share: float) -> float:
        """Floating-point operations per token, forward and backward (`trainer.model.flops`)."""
        raise NotImplementedError

    def head_logits(self, tokens: int, predicted_share: float) -> int:
        """Most logits over the vocabulary that are held at once, for a micro-batch of `tokens`."""
        raise NotImplementedError
