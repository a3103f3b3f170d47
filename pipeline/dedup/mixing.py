"""Finalisers of MurmurHash3 (Appleby, public domain): fixed bijections that spread every input bit over all bits.

numba notices a changed file, not a changed import: after an edit here delete `pipeline/dedup/__pycache__`.
"""

import numpy as np
from numba import njit

_A32 = np.uint32(0x85EBCA6B)
_B32 = np.uint32(0xC2B2AE35)
_A64 = np.uint64(0xFF51AFD7ED558CCD)
_B64 = np.uint64(0xC4CEB9FE1A85EC53)
_S33 = np.uint64(33)


@njit(nogil=True, cache=True, inline="always")
def fmix32(value: np.uint32) -> np.uint32:
    """uint32 -> uint32."""
    value = np.uint32(value ^ (value >> np.uint32(16)))
    value = np.uint32(value * _A32)
    value = np.uint32(value ^ (value >> np.uint32(13)))
    value = np.uint32(value * _B32)
    return np.uint32(value ^ (value >> np.uint32(16)))


@njit(nogil=True, cache=True, inline="always")
def fmix64(value: np.uint64) -> np.uint64:
    """uint64 -> uint64."""
    value = (value ^ (value >> _S33)) * _A64
    value = (value ^ (value >> _S33)) * _B64
    return value ^ (value >> _S33)
