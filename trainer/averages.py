"""An exponential moving average of the weights."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from trainer.distributed import laid_out_like, local


class Averages:
    """average <- average + (1 - d) (weight - average) after each step.

    d is `decay`, less at first: min(decay, (1 + t) / (10 + t)), so that the start is soon forgotten.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.model = model
        self.tensors = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """After step `step` (from 1)."""
        decay = min(self.decay, (1 + step) / (10 + step))
        weights = [local(parameter) for parameter in self.model.parameters()]
        torch._foreach_lerp_([local(tensor) for tensor in self.tensors.values()], weights, 1 - decay)

    @torch.no_grad()
    def load(self, tensors: dict[str, Tensor]) -> None:
        """Raises KeyError where one is missing."""
        for name, tensor in self.tensors.items():
            tensor.copy_(laid_out_like(tensors[name], tensor))

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The model computes with the average while this lasts."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for name, parameter in self.model.named_parameters():
            weight, average = local(parameter), local(self.tensors[name])
            kept = weight.clone()
            weight.copy_(average)
            average.copy_(kept)
