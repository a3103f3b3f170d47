"""The numba kernels of the data side: random draws, order, filling, masking (packing has a file of its own).

They stand in one file because numba's cache watches only the file of the function that is called: a kernel that called
into another file would go on with that file's old code. What they mean is told in order.py, packing.py, masking.py and
batch.py. All release the GIL and use integers only, so every machine computes the same values.
"""

from typing import Final

import numba
import numpy as np

from schemas.vocabulary import CLS, FIRST_ORDINARY, MASK, PAD, SEP
from trainer.data.addresses import pointer
from trainer.data.packing_kernels import WRAP

GAMMA: Final = np.uint64(0x9E3779B97F4A7C15)
MIX_1: Final = np.uint64(0xBF58476D1CE4E5B9)
MIX_2: Final = np.uint64(0x94D049BB133111EB)

TICKETS: Final = np.uint64(1 << 40)
"""First draw of the tickets of a row; all others come before it."""

ROUNDS: Final = 8
"""Of the Feistel network. Even, so that both halves are keyed equally often; 4 pass the statistics on large n, small n
gains from more (at n = 4 all 24 orders come equally often)."""


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
            piece = numba.carray(pointer(address[p], item), n)  # type: ignore[call-arg]
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
    stream_B: np.ndarray,
    row_B: np.ndarray,
    rate_B: np.ndarray,
    mask_below: np.uint64,
    random_below: np.uint64,
    vocabulary_size: int,
    target_index: np.ndarray,
    target: np.ndarray,
) -> int:
    """Masks rows in place, piece by piece; writes (flat position, original id) to target[:m]; returns m.

    The shares are in 2^-32ths. Row r is row row_B[r] of the window whose key is stream_B[r]. Draws of a row:
    0 the rounding, 2p + 1 whether position p is chosen, 2p + 2 what stands there (upper half: [MASK], random or kept;
    lower half: the random piece).
    """
    pool = np.uint64(vocabulary_size - FIRST_ORDINARY)
    half = np.uint64(32)
    m = 0
    for r in range(len(tokens_BT)):
        row = tokens_BT[r]
        key = draw(stream_B[r], np.uint64(row_B[r]))
        ordinary = 0
        for p in range(len(row)):
            ordinary += row[p] >= FIRST_ORDINARY
        chosen = np.int64((rate_B[r] * np.uint64(ordinary) + (draw(key, np.uint64(0)) >> half)) >> half)
        for p in range(len(row)):
            if chosen == 0:
                break
            piece = row[p]
            if piece < FIRST_ORDINARY:
                continue
            if scale(draw(key, np.uint64(2 * p + 1)), np.uint64(ordinary)) < np.uint64(chosen):
                target_index[m] = r * len(row) + p
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


@numba.njit(cache=True, nogil=True)
def mask_units(
    tokens_BT: np.ndarray,
    rare_BT: np.ndarray,
    rare_first: bool,
    unit_starts: np.ndarray,
    longest_unit: int,
    span_below: np.ndarray,
    tickets: np.ndarray,
    stream_B: np.ndarray,
    row_B: np.ndarray,
    rate_B: np.ndarray,
    mask_below: np.uint64,
    random_below: np.uint64,
    vocabulary_size: int,
    target_index: np.ndarray,
    target: np.ndarray,
) -> int:
    """As `mask`, but whole units are chosen: runs of ordinary pieces, a new one at each piece with unit_starts[id] and
    after longest_unit pieces; a rare word (rare_BT: 1 inside, 2 at its first piece) is one unit.

    The units are shuffled (Fisher-Yates; rare ones first if rare_first, else rare ones are left out) and taken while
    they fit the number of pieces wanted. With `tickets` (of every id) the order is instead that of a draw in which a
    unit has the tickets of its piece with the most: which unit comes next has chances in proportion. With span_below
    (cumulated shares of 1, 2, ... units, in 2^-32ths) each draws how many units are taken together from it on, all
    treated alike. Draws of a row: 0 the rounding, 2i + 1 the i-th of the shuffle (upper half) and the length of its
    span (lower half), 2p + 2 as in `mask`, TICKETS + 256 p + t ticket t of the unit that begins at p; the least counts.
    """
    pool = np.uint64(vocabulary_size - FIRST_ORDINARY)
    half = np.uint64(32)
    width = tokens_BT.shape[1]
    start, size = np.empty(width + 1, dtype=np.int64), np.empty(width + 1, dtype=np.int64)
    taken = np.empty(width, dtype=np.bool_)
    shuffled = np.empty(width, dtype=np.int64)
    treated_as = np.empty(width, dtype=np.int64)
    ticket = np.empty(width, dtype=np.uint64)
    m = 0
    for r in range(len(tokens_BT)):
        row, rare = tokens_BT[r], rare_BT[r]
        key = draw(stream_B[r], np.uint64(row_B[r]))
        units = ordinary = rare_units = 0
        inside = False
        for p in range(width):
            if row[p] < FIRST_ORDINARY or (rare[p] and not rare_first):
                inside = False
                continue
            ordinary += 1
            if rare[p]:
                fresh = rare[p] == 2 or not inside or not rare[p - 1]
            else:
                fresh = not inside or rare[p - 1] > 0 or unit_starts[row[p]] or size[units - 1] >= longest_unit
            if fresh:
                start[units], size[units] = p, 1
                units += 1
            else:
                size[units - 1] += 1
            inside = True
        wanted = np.int64((rate_B[r] * np.uint64(ordinary) + (draw(key, np.uint64(0)) >> half)) >> half)
        at = 0
        for u in range(units):
            if rare[start[u]]:
                shuffled[at] = u
                at += 1
        rare_units = at
        for u in range(units):
            if not rare[start[u]]:
                shuffled[at] = u
                at += 1
        if len(tickets):
            for u in range(units):
                best = np.uint64(0xFFFFFFFFFFFFFFFF)
                most = 0
                for p in range(start[u], start[u] + size[u]):
                    most = max(most, tickets[row[p]])
                for t in range(most):
                    best = min(best, draw(key, TICKETS + np.uint64(256 * start[u] + t)))
                ticket[u] = best
            for first, end in ((0, rare_units), (rare_units, units)):
                shuffled[first:end] = shuffled[first:end][np.argsort(ticket[shuffled[first:end]])]
        taken[:units] = False
        treated_as[:] = -1
        for i in range(units):
            if wanted == 0:
                break
            word = draw(key, np.uint64(2 * i + 1))
            end = rare_units if i < rare_units else units
            j = i if len(tickets) else i + np.int64(scale(word, np.uint64(end - i)))
            first = shuffled[j]
            shuffled[j] = shuffled[i]
            if taken[first]:
                continue
            count = 1
            for share in span_below:
                if (word << half) >> half < share:
                    break
                count += 1
            for u in range(first, min(first + count, units)):
                if taken[u] or size[u] > wanted or (u > first and start[u] != start[u - 1] + size[u - 1]):
                    break
                taken[u] = True
                wanted -= size[u]
                for p in range(start[u], start[u] + size[u]):
                    treated_as[p] = start[first] if len(span_below) else p
        for p in range(width):
            if treated_as[p] < 0:
                continue
            target_index[m] = r * width + p
            target[m] = row[p]
            m += 1
            treatment = draw(key, np.uint64(2 * treated_as[p] + 2)) >> half
            if treatment < mask_below:
                row[p] = MASK
            elif treatment < random_below:
                row[p] = FIRST_ORDINARY + np.int64(scale(draw(key, np.uint64(2 * p + 2)) << half, pool))
    return m
