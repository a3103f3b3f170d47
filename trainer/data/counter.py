"""Keys of a counter-based random generator: every draw is a pure function of its address, the same on every machine.

The generator is SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014) read at
any position: draw(key, counter) of kernels.py. No generator has a state, so there is none to save or to get wrong.
"""

from enum import IntEnum
from typing import Final

from trainer.data.kernels import GAMMA, MIX_1, MIX_2

_WORD: Final = (1 << 64) - 1


class Purpose(IntEnum):
    """First part of an address, so that no two uses share draws. The values are part of what a seed means."""

    ORDER = 1
    ROWS = 2
    MASKS = 3
    POOLS = 4
    BLOCKS = 5
    BUCKETS = 6
    SOURCES = 7
    CANDIDATES = 8
    SUBSETS = 9
    EVALUATE = 20
    FINETUNE = 21
    EARLY_EXIT = 22


def key(purpose: Purpose, *address: int) -> int:
    """The 64-bit key of a stream, from an address such as (seed, epoch, window)."""
    state = 0
    for part in (purpose, *address):
        state = _mix((state + (part & _WORD) + 1) * int(GAMMA))
    return state


def _mix(z: int) -> int:
    """SplitMix64's finaliser."""
    z &= _WORD
    z = ((z ^ (z >> 30)) * int(MIX_1)) & _WORD
    z = ((z ^ (z >> 27)) * int(MIX_2)) & _WORD
    return z ^ (z >> 31)
