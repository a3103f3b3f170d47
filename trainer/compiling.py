"""torch.compile where it works; the plain model, and one line saying why, where it does not."""

from collections.abc import Callable
from typing import Any

import torch

from trainer.checkpoint import random_state, restore_random_state
from trainer.data.batch import Batch
from trainer.precision import Precision, autocast
from trainer.tasks.task import Task


def forget_compiled() -> None:
    """Frees graphs of models that are gone; torch counts them against its limit of variants of a function."""
    torch.compiler.reset()


def compile_or_eager(
    model: Task, batch: Batch, device: torch.device, precision: Precision, note: Callable[[str], None]
) -> Callable[[Batch], Any]:
    """The compiled forward pass, tried forward and backward on a prepared `batch`. Leaves gradients and random
    state untouched."""
    # The trial must not move the generators that dropout draws from, or a compiled run would not resume exactly.
    random = random_state(device)
    compiled: Any = torch.compile(model, dynamic=True)
    try:
        with autocast(device, precision):
            output = compiled(batch)
        output.loss.backward()
        return compiled
    except Exception as error:  # any of torch's compilers, or the C++ toolchain they call
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        note(f"torch.compile does not work here ({reason}); training without it")
        return model
    finally:
        model.zero_grad(set_to_none=True)
        restore_random_state(random, device)
