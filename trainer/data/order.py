"""The sample order of an epoch as a pure function: O(1) time and memory per position, no table, no state.

A keyed bijection on [0, n): a Feistel network over Z_a x Z_b with a*b >= n, walked until it lands below n
(Black and Rogaway, "Ciphers with arbitrary finite domains", CT-RSA 2002, methods 2 and 3). With a = ceil(sqrt(n)) the
domain exceeds n by less than sqrt(n), so that nearly every position takes one walk.

Three orders of documents: `full` (that bijection over all of them), `blocks` (runs of consecutive documents are
shuffled, and documents within pools of such runs: what is read at a time lies in few places), and by length (short
documents first, shuffled among those of about their length).
"""

import math
from dataclasses import dataclass
from typing import Final, Literal, Protocol, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trainer.data.counter import Purpose, key
from trainer.data.kernels import permute

Kind = Literal["full", "blocks"]

POOL_BLOCKS: Final = 16
"""Blocks whose documents are mixed; so many places are read at a time."""

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


class Order(Protocol):
    """Positions of an epoch -> documents; for every epoch a bijection on [0, n), O(1) for each position."""

    @property
    def seed(self) -> int: ...
    def __call__(self, epoch: int, positions: NDArray[np.int64]) -> NDArray[np.int64]: ...


@dataclass(frozen=True)
class FullOrder:
    """Every order of all n documents may come."""

    seed: int
    n: int

    def __call__(self, epoch: int, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        return order(self.seed, epoch, positions, self.n)


@dataclass(frozen=True)
class BlockOrder:
    """Blocks of `block` consecutive documents in keyed order; the documents of POOL_BLOCKS of them shuffled together.

    Where blocks begin moves from epoch to epoch, so that the same documents do not always meet, and the short block
    that is left over at the end of an epoch is another one each time.
    """

    seed: int
    n: int
    block: int

    def __call__(self, epoch: int, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        whole = self.n // self.block
        pool_size = POOL_BLOCKS * self.block
        out = np.empty_like(positions)
        pools = positions // pool_size
        for pool in np.unique(pools):
            here = np.flatnonzero(pools == pool)
            size = min(pool_size, self.n - int(pool) * pool_size)
            stream = key(Purpose.POOLS, self.seed, epoch, int(pool))
            out[here] = pool * pool_size + keyed_order(stream, positions[here] - pool * pool_size, size)
        block, within = np.divmod(out, self.block)
        inside = np.flatnonzero(block < whole)
        block[inside] = keyed_order(key(Purpose.BLOCKS, self.seed, epoch), block[inside], whole)
        return (block * self.block + within + key(Purpose.BLOCKS, self.seed, epoch, 1) % self.n) % self.n


@dataclass(frozen=True)
class LengthOrder:
    """A curriculum: in the first `epochs` epochs short documents come before long ones, shuffled within runs of
    `block` documents of about one length; then `after`."""

    by_length: NDArray[np.int64]
    """All documents by rising length, shape (n,)."""
    epochs: int
    block: int
    after: FullOrder | BlockOrder

    @property
    def seed(self) -> int:
        return self.after.seed

    def __call__(self, epoch: int, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        if epoch >= self.epochs:
            return self.after(epoch, positions)
        out = np.empty_like(positions)
        blocks = positions // self.block
        for block in np.unique(blocks):
            here = np.flatnonzero(blocks == block)
            first = int(block) * self.block
            size = min(self.block, len(self.by_length) - first)
            stream = key(Purpose.POOLS, self.seed, epoch, int(block))
            out[here] = first + keyed_order(stream, positions[here] - first, size)
        return self.by_length[out]


def make_order(
    seed: int,
    lengths: NDArray[np.int64],
    kind: Kind = "full",
    block: int = 1024,
    curriculum_epochs: int = 0,
) -> Order:
    """The order of a corpus of documents of these lengths. Raises ValueError for a block of no document."""
    if block < 1:
        raise ValueError(f"block_documents {block}: must be 1 or more")
    base = FullOrder(seed, len(lengths)) if kind == "full" else BlockOrder(seed, len(lengths), block)
    if curriculum_epochs:
        return LengthOrder(np.argsort(lengths, kind="stable"), curriculum_epochs, block, base)
    return base
