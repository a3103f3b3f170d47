"""Sums over positions in parts of bounded size."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint


def summed(loss_sum: Callable[..., Tensor], part: int, *tensors: Tensor) -> Tensor:
    """loss_sum(*tensors), a sum or a vector of sums, of `part` rows at a time where there are more; each part is run
    again in the backward then."""
    if tensors[0].shape[0] <= part:
        return loss_sum(*tensors)
    pieces = zip(*(tensor.split(part) for tensor in tensors), strict=True)
    # A list, not a running sum: the fewer additions, the closer to the sum over all.
    sums = [checkpoint(loss_sum, *piece, use_reentrant=False) for piece in pieces]
    return torch.stack(sums).sum(0)
