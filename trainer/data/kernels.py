"""The numba kernels of the data side: random draws, order, cutting, best-fit packing, filling, masking.

They stand in one file because numba's cache watches only the file of the function that is called: a kernel that called
into another file would go on with that file's old code. What they mean is told in order.py, packing.py, masking.py and
batch.py. All release the GIL and use integers only, so every machine computes the same values.
"""

from typing import Any, Final

import numba
import numpy as np
from numba.core import types
from numba.extending import intrinsic

from schemas.vocabulary import CLS, FIRST_ORDINARY, MASK, PAD, SEP

GAMMA: Final = np.uint64(0x9E3779B97F4A7C15)
MIX_1: Final = np.uint64(0xBF58476D1CE4E5B9)
MIX_2: Final = np.uint64(0x94D049BB133111EB)

ROUNDS: Final = 8
"""Of the Feistel network. Even, so that both halves are keyed equally often; 4 pass the statistics on large n, small n
gains from more (at n = 4 all 24 orders come equally often)."""

WRAP: Final = 2
"""[CLS] and [SEP] around every piece."""


@numba.njit(cache=True, nogil=True)
def draw(key: np.uint64, counter: np.uint64) -> np.uint64:
    """Draw number `counter` of the stream `key`: 64 uniform bits (SplitMix64)."""
    z = key + (counter + np.uint64(1)) * GAMMA
    z = (z ^ (z >> np.uint64(30))) * MIX_1
    z = (z ^ (z >> np.uint64(27))) * MIX_2
    return z ^ (z >> np.uint64(31))


@numba.njit(cache=True, nogil=True)
def scale(word: np.uint64, n: np.uint64) -> np.uint64:
    """Maps the upper 32 bits of a word to [0, n), n <= 2^32; no value is off its share by more than 2^-32."""
    return ((word >> np.uint64(32)) * n) >> np.uint64(32)


@numba.njit(cache=True, nogil=True)
def permute(stream: np.uint64, positions: np.ndarray, n: int, a: int, b: int, out: np.ndarray) -> None:
    """out[k] = the image of positions[k] under the keyed bijection on [0, n); a * b >= n."""
    keys = np.empty(ROUNDS, dtype=np.uint64)
    for r in range(ROUNDS):
        keys[r] = draw(stream, np.uint64(r))
    for k in range(len(positions)):
        x = positions[k]
        while True:
            left, right = x // b, x % b
            for r in range(0, ROUNDS, 2):
                left += np.int64(scale(draw(keys[r], np.uint64(right)), np.uint64(a)))
                left -= a if left >= a else 0
                right += np.int64(scale(draw(keys[r + 1], np.uint64(left)), np.uint64(b)))
                right -= b if right >= b else 0
            x = left * b + right
            if x < n:
                break
        out[k] = x


@numba.njit(cache=True, nogil=True)
def cut(documents: np.ndarray, lengths: np.ndarray, longest: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(document, offset, length) of the pieces of at most `longest` tokens, in order."""
    pieces = 0
    for n in lengths:
        pieces += (n + longest - 1) // longest
    document = np.empty(pieces, dtype=np.int64)
    offset = np.empty(pieces, dtype=np.int64)
    length = np.empty(pieces, dtype=np.int64)
    p = 0
    for k in range(len(documents)):
        for start in range(0, lengths[k], longest):
            document[p] = documents[k]
            offset[p] = start
            length[p] = min(longest, lengths[k] - start)
            p += 1
    return document, offset, length


@numba.njit(cache=True, nogil=True)
def best_fit(length: np.ndarray, capacity: int) -> tuple[np.ndarray, int]:
    """Row of every piece, and the number of rows: longest piece first (equal ones in order), each into the fullest row
    that still takes it; of several such rows, the one that became so last."""
    pieces = len(length)
    # Counting sort by falling length.
    at = np.zeros(capacity + 2, dtype=np.int64)
    for n in length:
        at[capacity - n + 1] += 1
    for k in range(1, capacity + 2):
        at[k] += at[k - 1]
    by_length = np.empty(pieces, dtype=np.int64)
    for p in range(pieces):
        by_length[at[capacity - length[p]]] = p
        at[capacity - length[p]] += 1

    row_of_piece = np.empty(pieces, dtype=np.int64)
    # The rows with s free places are a stack: top[s], below it below[row].
    top = np.full(capacity + 1, -1, dtype=np.int64)
    below = np.empty(pieces, dtype=np.int64)
    most_free = 0
    rows = 0
    for piece in by_length:
        size = length[piece] + WRAP
        free = size
        while free <= most_free and top[free] < 0:
            free += 1
        if free <= most_free:
            row = top[free]
            top[free] = below[row]
        else:
            row = rows
            rows += 1
            free = capacity
        row_of_piece[piece] = row
        left = free - size
        below[row] = top[left]
        top[left] = row
        most_free = max(most_free, left)
    return row_of_piece, rows


@intrinsic
def _pointer(typing_context: Any, address: Any, item: Any) -> Any:
    """An address as a pointer to items like those of the array `item`: pieces lie in any of many file mappings."""
    signature = types.CPointer(item.dtype)(types.uint64, item)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

    return signature, codegen


@numba.njit(cache=True, nogil=True)
def fill(
    address: np.ndarray,
    lengths: np.ndarray,
    first_piece: np.ndarray,
    item: np.ndarray,
    vocabulary_size: int,
    tokens_BT: np.ndarray,
    segments_BT: np.ndarray,
    positions_BT: np.ndarray,
) -> int:
    """Writes rows of pieces: piece p is lengths[p] items (of the type of `item`) at address[p]; row r holds the pieces
    [first_piece[r], first_piece[r + 1]), counted from first_piece[0].

    Returns -1, or the first piece that holds an id outside the vocabulary.
    """
    for row in range(len(first_piece) - 1):
        first = first_piece[row] - first_piece[0]
        at = 0
        for p in range(first, first_piece[row + 1] - first_piece[0]):
            n = lengths[p]
            piece = numba.carray(_pointer(address[p], item), n)  # type: ignore[call-arg]
            out = tokens_BT[row, at + 1 : at + 1 + n]
            largest = piece[0]
            for k in range(n):
                largest = max(largest, piece[k])
                out[k] = piece[k]
            if largest >= vocabulary_size:
                return p
            tokens_BT[row, at] = CLS
            tokens_BT[row, at + n + 1] = SEP
            segments_BT[row, at : at + n + WRAP] = p - first + 1
            positions = positions_BT[row, at : at + n + WRAP]
            for k in range(n + WRAP):
                positions[k] = k
            at += n + WRAP
        tokens_BT[row, at:] = PAD
        segments_BT[row, at:] = 0
        positions_BT[row, at:] = 0
    return -1


@numba.njit(cache=True, nogil=True)
def mask(
    tokens_BT: np.ndarray,
    stream: np.uint64,
    first_row: int,
    rate: np.uint64,
    mask_below: np.uint64,
    random_below: np.uint64,
    vocabulary_size: int,
    base: int,
    target_index: np.ndarray,
    target: np.ndarray,
    m: int,
) -> int:
    """Masks rows in place; writes (base + flat position, original id) from target[m] on; returns the new m.

    The shares are in 2^-32ths. tokens_BT[0] is row `first_row` of the window whose key is `stream`. Draws of a row:
    0 the rounding, 2p + 1 whether position p is chosen, 2p + 2 what stands there (upper half: [MASK], random or kept;
    lower half: the random piece).
    """
    pool = np.uint64(vocabulary_size - FIRST_ORDINARY)
    half = np.uint64(32)
    for r in range(len(tokens_BT)):
        row = tokens_BT[r]
        key = draw(stream, np.uint64(first_row + r))
        ordinary = 0
        for p in range(len(row)):
            ordinary += row[p] >= FIRST_ORDINARY
        chosen = np.int64((rate * np.uint64(ordinary) + (draw(key, np.uint64(0)) >> half)) >> half)
        for p in range(len(row)):
            if chosen == 0:
                break
            piece = row[p]
            if piece < FIRST_ORDINARY:
                continue
            if scale(draw(key, np.uint64(2 * p + 1)), np.uint64(ordinary)) < np.uint64(chosen):
                target_index[m] = base + r * len(row) + p
                target[m] = piece
                m += 1
                chosen -= 1
                word = draw(key, np.uint64(2 * p + 2))
                if word >> half < mask_below:
                    row[p] = MASK
                elif word >> half < random_below:
                    row[p] = FIRST_ORDINARY + np.int64(scale(word << half, pool))
            ordinary -= 1
    return m
