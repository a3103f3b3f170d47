"""The sample order of an epoch as a pure function: O(1) time and memory per position, no table, no state.

A keyed bijection on [0, n): a Feistel network over Z_a x Z_b with a*b >= n, walked until it lands below n
(Black and Rogaway, "Ciphers with arbitrary finite domains", CT-RSA 2002, methods 2 and 3). With a = ceil(sqrt(n)) the
domain exceeds n by less than sqrt(n), so that nearly every position takes one walk.
"""

import math
from typing import Final, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trainer.data.counter import Purpose, key
from trainer.data.kernels import permute

LARGEST: Final = 1 << 62
"""Positions below this; its square root fits the 32 bits that a round function draws."""


@overload
def order(seed: int, epoch: int, i: int, n: int) -> int: ...
@overload
def order(seed: int, epoch: int, i: ArrayLike, n: int) -> NDArray[np.int64]: ...
def order(seed: int, epoch: int, i: ArrayLike, n: int) -> int | NDArray[np.int64]:
    """Which of n samples stands at position i of the epoch; for fixed (seed, epoch, n) a bijection on [0, n).

    `i` is an int, or an array of any shape (the answer then has that shape, int64).
    Raises ValueError for a position outside [0, n).
    """
    positions = np.asarray(i, dtype=np.int64)
    if not 0 <= n <= LARGEST:
        raise ValueError(f"order of {n:,} samples; 0 to {LARGEST:,} are possible")
    if positions.size and (positions.min() < 0 or positions.max() >= n):
        raise ValueError(f"positions {positions.min():,} to {positions.max():,} of {n:,} samples")
    out = keyed_order(key(Purpose.ORDER, seed, epoch), positions.ravel(), n)
    return int(out[0]) if positions.ndim == 0 else out.reshape(positions.shape)


def keyed_order(stream: int, positions: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    """The bijection on [0, n) of any 64-bit key; `positions` is flat and lies in [0, n)."""
    out = np.empty_like(positions)
    if len(positions):
        a = math.isqrt(n - 1) + 1
        permute(np.uint64(stream), positions, n, a, -(-n // a), out)
    return out
