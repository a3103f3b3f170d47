"""Muon: momentum whose matrix updates are made orthogonal (Jordan et al. 2024, kellerjordan.github.io/posts/muon).

For the matrices inside the layers. Embeddings, head, norms and biases stay with AdamW, as its authors advise.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor

from trainer.distributed import laid_out_like, whole

COEFFICIENTS: Final = (3.4445, -4.7750, 2.0315)
"""Of the quintic iteration; they push singular values into about [0.7, 1.2] as fast as possible."""
ITERATIONS: Final = 5
EPSILON: Final = 1e-7
BATCH: Final = 2**24
"""Numbers that are made orthogonal in one go: 24 matrices of 128 x 128 and 128 x 512 cost two thirds of what they do
one by one (CPU, bf16), and sharded models are gathered by no more than that."""


def orthogonalise(matrices: Tensor) -> Tensor:
    """Newton-Schulz iteration: U S V^T -> about U V^T, over the last two dimensions of [N, rows, columns].

    In the matrices' precision: the source iterates in bf16, which is enough.
    """
    a, b, c = COEFFICIENTS
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if tall else matrices
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp(min=EPSILON)
    for _ in range(ITERATIONS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x


@dataclass
class _Update:
    """Of one parameter: its matrices [parts, short side, long side], and how it takes them."""

    parameter: Tensor
    group: dict[str, Any]
    matrices: Tensor
    tall: bool


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, orthogonalised, scaled by sqrt(max(1, rows / columns)), with decoupled weight decay.

    A group's `parts` says how many equal matrices its parameters hold one below the other (3: query, key and value):
    each is made orthogonal alone. Sharded parameters are gathered for it, the same work on every process.
    """

    def __init__(
        self,
        parameters: Iterable[Any],
        lr: float = 0.02,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """`dtype`: of the iteration. Momentum and weights have the parameters'."""
        super().__init__(
            parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "parts": 1, "peak": lr}
        )
        self.dtype = dtype

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One update from the gradients."""
        waiting: dict[torch.Size, list[_Update]] = {}
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                update = self._update(parameter, group)
                shape = update.matrices.shape[1:]
                alike = waiting.setdefault(shape, [])
                alike.append(update)
                if sum(other.matrices.numel() for other in alike) >= BATCH:
                    self._apply(waiting.pop(shape))
        for alike in waiting.values():
            self._apply(alike)

    def _update(self, parameter: Tensor, group: dict[str, Any]) -> _Update:
        assert parameter.grad is not None
        state = self.state[parameter]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(parameter)
        momentum = state["momentum"]
        momentum.lerp_(parameter.grad, 1 - group["momentum"])
        update = whole(parameter.grad.lerp(momentum, group["momentum"])).to(self.dtype)
        matrices = update.view(group["parts"], -1, update.shape[1])
        tall = matrices.shape[1] > matrices.shape[2]
        return _Update(parameter, group, matrices.mT if tall else matrices, tall)

    def _apply(self, alike: list[_Update]) -> None:
        found = orthogonalise(torch.cat([update.matrices for update in alike]))
        parts = found.split([len(update.matrices) for update in alike])
        for update, part in zip(alike, parts, strict=True):
            parameter, group = update.parameter, update.group
            turned = (part.mT if update.tall else part).reshape(parameter.shape).to(parameter.dtype)
            parameter.mul_(1 - group["lr"] * group["weight_decay"])
            scale = (part.shape[2] / part.shape[1]) ** 0.5 if update.tall else 1.0
            parameter.add_(laid_out_like(turned, parameter), alpha=-group["lr"] * scale)
