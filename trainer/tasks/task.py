"""The interface between the training loop and what is learned."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from torch import Tensor

from trainer.model.encoder import Encoder

if TYPE_CHECKING:
    from trainer.data.batch import Batch


@dataclass(frozen=True)
class TaskOutput:
    """Result of one micro-batch."""

    loss: Tensor
    """fp32 scalar with a graph: the mean over `targets`; zero where there are none."""
    parts: dict[str, Tensor]
    """Detached scalars to log, by name; each task documents its own."""
    targets: int
    """How many predictions the mean runs over: its weight when micro-batches are averaged."""


class Task(Protocol):
    """An `nn.Module` that turns a batch into a loss. The encoder inside is what training is for."""

    encoder: Encoder

    def __call__(self, batch: "Batch") -> TaskOutput: ...
