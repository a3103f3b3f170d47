"""Muon: momentum whose matrix updates are made orthogonal (Jordan et al. 2024, kellerjordan.github.io/posts/muon).

For the matrices inside the layers. Embeddings, head, norms and biases stay with AdamW, as its authors advise.
"""

from collections.abc import Callable, Iterable
from typing import Any, Final

import torch
from torch import Tensor

from trainer.distributed import laid_out_like, whole

COEFFICIENTS: Final = (3.4445, -4.7750, 2.0315)
"""Of the quintic iteration; they push singular values into about [0.7, 1.2] as fast as possible."""
ITERATIONS: Final = 5
EPSILON: Final = 1e-7


def orthogonalise(matrix: Tensor) -> Tensor:
    """Newton-Schulz iteration: U S V^T -> about U V^T, over the last two dimensions.

    In bf16 on CUDA, as in the source; in the matrix's own precision on CPU, where bf16 may be slow.
    """
    a, b, c = COEFFICIENTS
    x = matrix.bfloat16() if matrix.device.type == "cuda" else matrix
    tall = x.shape[-2] > x.shape[-1]
    x = x.mT if tall else x
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp(min=EPSILON)
    for _ in range(ITERATIONS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return (x.mT if tall else x).to(matrix.dtype)


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, orthogonalised, scaled by sqrt(max(1, rows / columns)), with decoupled weight decay.

    A group's `parts` says how many equal matrices its parameters hold one below the other (3: query, key and value):
    each is made orthogonal alone. Sharded parameters are gathered for it, the same work on every process.
    """

    def __init__(
        self, parameters: Iterable[Any], lr: float = 0.02, momentum: float = 0.95, weight_decay: float = 0.0
    ) -> None:
        super().__init__(
            parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "parts": 1, "peak": lr}
        )

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One update from the gradients."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if "momentum" not in state:
                    state["momentum"] = torch.zeros_like(parameter)
                momentum = state["momentum"]
                momentum.lerp_(parameter.grad, 1 - group["momentum"])
                update = whole(parameter.grad.lerp(momentum, group["momentum"]))
                rows, columns = update.shape[0] // group["parts"], update.shape[1]
                update = orthogonalise(update.view(group["parts"], rows, columns)).reshape(update.shape)
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                scale = max(1.0, rows / columns) ** 0.5
                parameter.add_(laid_out_like(update, parameter), alpha=-group["lr"] * scale)
