"""MinHash signatures (Broder 1997), bit for bit those of datasketch 2's `affine32` scheme.

A shingle's low 32 bits h are premixed by MurmurHash3's finaliser; permutation k gives a_k * h + b_k modulo 2^32 with
a_k odd, a bijection, and the signature holds the least value of each. The a and b are drawn as datasketch draws them,
without its import, which would cost every process half a second for scipy.
"""

from functools import cache

import numpy as np
from numba import njit

from pipeline.dedup.mixing import fmix32
from pipeline.dedup.shingles import Shingles

EMPTY = np.uint32(0xFFFFFFFF)
"""Every value of an empty set's signature. All empty sets look alike: callers leave them out."""

_BLOCK = 8  # shingles a pass over the permutations; fewer loads and stores of the signature


@cache
def _permutations(permutations: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.RandomState(seed)  # its streams are frozen
    a = draw.randint(0, 1 << 31, permutations, np.uint32) * np.uint32(2) + np.uint32(1)
    return a, draw.randint(0, 1 << 32, permutations, np.uint32)


@njit(nogil=True, cache=True)
def _signature_kernel(values, offsets, a, b, out):  # type: ignore[no-untyped-def]
    mixed = np.empty(_BLOCK, np.uint32)
    for document in range(len(offsets) - 1):
        row = out[document]
        end = offsets[document + 1]
        for start in range(offsets[document], end, _BLOCK):
            for k in range(_BLOCK):
                # The last block repeats the last shingle: a minimum does not mind.
                mixed[k] = fmix32(np.uint32(values[min(start + k, end - 1)]))
            for p in range(len(row)):
                least = row[p]
                for k in range(_BLOCK):
                    least = min(least, np.uint32(a[p] * mixed[k] + b[p]))
                row[p] = least


def signatures(shingles: Shingles, permutations: int, seed: int = 1) -> np.ndarray:
    """uint32 [documents, permutations]. Equals `datasketch.MinHash(permutations, seed, scheme="affine32")` fed with
    the low 32 bits of the same hashes. An empty set gives a row of `EMPTY`.
    """
    out = np.full((len(shingles), permutations), EMPTY, np.uint32)
    a, b = _permutations(permutations, seed)
    _signature_kernel(shingles.values, shingles.offsets, a, b, out)
    return out
