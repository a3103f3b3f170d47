"""Hashes of words and characters of normalised text, eight bytes at a time.

A word's bytes are little-endian blocks of eight, the last filled up with zeros (no NUL is in normalised text). For each
block h = (h xor block) * PRIME, h ^= h >> 32; then MurmurHash3's finaliser. Words of up to eight bytes never collide.
Byte by byte (FNV-1a) it took 2.6 times as long: each step waits for a product.

numba notices a changed file, not a changed import: after an edit here delete `pipeline/dedup/__pycache__`.
"""

import sys
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from pipeline.dedup.mixing import fmix64

SEED = np.uint64(0xCBF29CE484222325)
PRIME = np.uint64(0x9FB21C651E98DF25)
POLYNOMIAL = np.uint64(0x9E3779B97F4A7C15)
"""Base of the rolling hash of n-grams."""
SPACE = np.uint8(32)

_SPACES = np.uint64(0x2020202020202020)
_ONES = np.uint64(0x0101010101010101)
_HIGHS = np.uint64(0x8080808080808080)
_ALL = np.uint64(0xFFFFFFFFFFFFFFFF)
_EIGHT = np.uint64(8)
_HALF = np.uint64(32)


def _load8(typing: Any, array: Any, index: Any) -> Any:
    """uint64 of the bytes array[index : index + 8], of a contiguous uint8 array, at any alignment."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        made = context.make_array(signature.args[0])(context, builder, arguments[0])
        place = context.cast(builder, arguments[1], signature.args[1], types.int64)
        pointer = builder.bitcast(builder.gep(made.data, [place]), ir.IntType(64).as_pointer())
        value = builder.load(pointer)
        value.align = 1
        # Little-endian on every machine, so that hashes are the same on all.
        return value if sys.byteorder == "little" else builder.bswap(value)

    return types.uint64(array, index), code


load8: Any = intrinsic(_load8)


def _trailing_zeros(typing: Any, value: Any) -> Any:
    """Number of zero bits below the lowest one bit of a uint64; 64 of zero."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], cgutils.false_bit)

    return types.uint64(types.uint64), code


trailing_zeros: Any = intrinsic(_trailing_zeros)


@njit(nogil=True, cache=True, inline="always")
def hash_word(data, i, end):  # type: ignore[no-untyped-def]
    """(hash, place behind) of the word that begins at byte i and ends at a space or at `end`."""
    state = SEED
    whole = len(data) - 8
    while True:
        if i <= whole:
            block = load8(data, i)
        else:
            block = np.uint64(0)
            for k in range(len(data) - i):
                block |= np.uint64(data[i + k]) << (_EIGHT * np.uint64(k))
        spaces = block ^ _SPACES
        # The lowest of these bits marks the first space; bits above it may be wrong.
        spaces = (spaces - _ONES) & ~spaces & _HIGHS
        length = np.int64(8)
        if spaces != 0:
            length = np.int64(trailing_zeros(spaces) >> np.uint64(3))
        length = min(length, end - i)
        if length:
            if length < 8:
                block &= ~(_ALL << (_EIGHT * np.uint64(length)))
            state = (state ^ block) * PRIME
            state ^= state >> _HALF
        i += length
        if length < 8 or i >= end:
            return fmix64(state), i


@njit(nogil=True, cache=True, inline="always")
def hash_character(code):  # type: ignore[no-untyped-def]
    """Hash of a code point."""
    return fmix64(np.uint64(code) + SEED)
