"""The numba kernels that find the rare words of rows (rare.py tells what they mean).

In one file for the same reason as those of kernels.py: numba's cache watches the file of the called function alone.
"""

import numba
import numpy as np

from trainer.data.addresses import pointer
from trainer.data.packing_kernels import WRAP


@numba.njit(cache=True, nogil=True)
def find_rare(
    address_P3: np.ndarray,
    spans_P: np.ndarray,
    offset_P: np.ndarray,
    length_P: np.ndarray,
    first_piece: np.ndarray,
    item: np.ndarray,
    words: int,
    half_window: int,
    rare_BT: np.ndarray,
    found_6N: np.ndarray,
) -> int:
    """Marks rare_BT (2 at the first token of a rare word in the row, 1 at its others, 0 elsewhere) and lists the words
    that lie whole in their piece: found_6N[:, :n] = word, row, start, end, and its window's first and end.

    Piece p is tokens [offset_P[p], offset_P[p] + length_P[p]) of a document whose spans_P[p] rare spans lie, as three
    arrays (start, end, word) of the type of `item`, at address_P3[p]. Row r holds the pieces [first_piece[r],
    first_piece[r + 1]). Returns n, or -1 - p where piece p holds a word that is not in [0, words).
    """
    rare_BT[:] = 0
    n = 0
    for row in range(len(first_piece) - 1):
        rare, at = rare_BT[row], 1
        for p in range(first_piece[row], first_piece[row + 1]):
            first, end = offset_P[p], offset_P[p] + length_P[p]
            starts = numba.carray(pointer(address_P3[p, 0], item), spans_P[p])  # type: ignore[call-arg]
            ends = numba.carray(pointer(address_P3[p, 1], item), spans_P[p])  # type: ignore[call-arg]
            ids = numba.carray(pointer(address_P3[p, 2], item), spans_P[p])  # type: ignore[call-arg]
            low, high = np.int64(0), spans_P[p]
            while low < high:  # the first span that ends behind the piece's first token
                middle = (low + high) // 2
                if np.int64(ends[middle]) > first:
                    high = middle
                else:
                    low = middle + 1
            for k in range(low, spans_P[p]):
                s, e = np.int64(starts[k]), np.int64(ends[k])
                if s >= end:
                    break
                a, b = at + max(s, first) - first, at + min(e, end) - first
                rare[a:b] = 1
                if a < b:
                    rare[a] = 2
                if s < first or e > end or s >= e:
                    continue
                if np.int64(ids[k]) >= words:
                    return -1 - p
                if n < found_6N.shape[1]:
                    found_6N[0, n] = ids[k]
                    found_6N[1, n] = row
                    found_6N[2, n] = a
                    found_6N[3, n] = b
                    found_6N[4, n] = max(a - half_window, at)
                    found_6N[5, n] = min(b + half_window, at + length_P[p])
                    n += 1
            at += length_P[p] + WRAP
    return n


@numba.njit(cache=True, nogil=True)
def keep_visible(found_6N: np.ndarray, target_index: np.ndarray, width: int) -> int:
    """Moves the words without a predicted token to the front of `found_6N`; returns how many they are.

    `target_index` ascends over the flattened B * T, as the words do.
    """
    kept = t = 0
    for n in range(found_6N.shape[1]):
        row, start, end = found_6N[1, n], found_6N[2, n], found_6N[3, n]
        while t < len(target_index) and target_index[t] < row * width + start:
            t += 1
        if t < len(target_index) and target_index[t] < row * width + end:
            continue
        for k in range(6):
            found_6N[k, kept] = found_6N[k, n]
        kept += 1
    return kept
