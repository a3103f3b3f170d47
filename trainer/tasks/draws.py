"""Random draws of a task: pure functions of the row's address, so that neither workers, ranks nor a resume change them.

32 bits of every position come from (seed, epoch, window, source, row, position) by SplitMix64 on the host; what a
position needs over the vocabulary is hashed from them where the logits are (murmur3's finaliser; integers, so every
device has the same bits).

Shape suffixes: B rows, T tokens of a row, N positions.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainer.data.counter import Purpose, key
from trainer.data.kernels import GAMMA, MIX_1, MIX_2

if TYPE_CHECKING:
    from trainer.data.batch import RowRange

_SIGN: Final = 1 << 31
_GOLDEN: Final = 0x9E3779B9
_FIRST: Final = 0x85EBCA6B - (1 << 32)
_SECOND: Final = 0xC2B2AE35 - (1 << 32)
"""As int32: products wrap."""


def _draw(keys: NDArray[np.uint64], counters: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """`trainer.data.kernels.draw`, element by element."""
    z = keys + (counters + np.uint64(1)) * GAMMA
    z = (z ^ (z >> np.uint64(30))) * MIX_1
    z = (z ^ (z >> np.uint64(27))) * MIX_2
    return z ^ (z >> np.uint64(31))


def position_bits(rows: "Sequence[RowRange]", length: int, purpose: Purpose, seed: int) -> Tensor:
    """bits_BT: int32, all values equally likely."""
    row_keys = [
        _draw(
            np.full(part.last - part.first, key(purpose, seed, part.epoch, part.window, part.source), np.uint64),
            np.arange(part.first, part.last, dtype=np.uint64),
        )
        for part in rows
    ]
    places = np.arange(length, dtype=np.uint64)[None]
    words = _draw(np.concatenate(row_keys)[:, None], places)
    return torch.from_numpy((words >> np.uint64(32)).astype(np.uint32).view(np.int32))


def uniform(bits_N: Tensor, count: int, stream: int = 0) -> Tensor:
    """u_NC: fp32 in (0, 1), `count` for each position. Streams of other numbers are independent."""
    salt = (torch.arange(count, dtype=torch.int64, device=bits_N.device) + (stream << 24)) * _GOLDEN
    x = bits_N[:, None] ^ ((salt + _SIGN) % (1 << 32) - _SIGN).to(torch.int32)
    # int32 has no logical shift: the sign that an arithmetic one smears in is cut off.
    x ^= (x >> 16) & 0xFFFF
    x *= _FIRST
    x ^= (x >> 13) & 0x7FFFF
    x *= _SECOND
    x ^= (x >> 16) & 0xFFFF
    # 23 bits and a half are exact in fp32, so 0 and 1 cannot come out.
    return ((x >> 9) & 0x7FFFFF).float().add_(0.5).mul_(2.0**-23)


def gumbel(bits_N: Tensor, count: int, stream: int = 0) -> Tensor:
    """Standard Gumbel noise, shape [N, count]."""
    return uniform(bits_N, count, stream).log_().neg_().log_().neg_()
