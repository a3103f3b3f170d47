"""Fingerprints of texts by winnowing, and the runs of words that two texts share.

"Winnowing: Local Algorithms for Document Fingerprinting" (Schleimer, Wilkerson, Aiken 2003): of every `window` hashes
of k-grams in a row the least is a fingerprint, the last of equal ones. Two texts that share a run of window + k - 1
words share a fingerprint in it; of random text 2 / (window + 1) of the k-grams are fingerprints.
"""

import numpy as np
import pyarrow as pa
from numba import njit

from pipeline.dedup.mixing import fmix64
from pipeline.dedup.normalize import text_buffers
from pipeline.dedup.word_hash import POLYNOMIAL, hash_word

_SPACE = np.uint8(32)


def winnowing(min_words: int) -> tuple[int, int]:
    """(k, window) for which shared runs of `min_words` words always show: window + k - 1 = min_words."""
    k = max(min_words // 2, 1)
    return k, min_words - k + 1


@njit(nogil=True, cache=True)
def _grams_kernel(data, first, end, k, power, hashes):  # type: ignore[no-untyped-def]
    """Hashes of all k-grams of one document, in order; returns their number."""
    ring = np.zeros(k, np.uint64)
    rolling = np.uint64(0)
    words = 0
    i = first
    while i < end:
        item, i = hash_word(data, i, end)
        i += 1
        slot = words % k
        rolling = rolling * POLYNOMIAL + item - ring[slot] * power
        ring[slot] = item
        words += 1
        if words >= k:
            hashes[words - k] = fmix64(rolling)
    return max(words - k + 1, 0)


@njit(nogil=True, cache=True)
def _winnow_kernel(data, offsets, k, window, hashes, document, position, value):  # type: ignore[no-untyped-def]
    power = np.uint64(1)
    for _ in range(k):
        power *= POLYNOMIAL
    out = 0
    for row in range(len(offsets) - 1):
        count = _grams_kernel(data, offsets[row], offsets[row + 1], k, power, hashes)
        least = -1
        for last in range(window - 1, count):
            if least <= last - window:  # it left the window, or this is the first
                least = last - window + 1
                for i in range(least + 1, last + 1):
                    if hashes[i] <= hashes[least]:
                        least = i
            elif hashes[last] <= hashes[least]:
                least = last
            else:
                continue
            document[out] = row
            position[out] = least
            value[out] = hashes[least]
            out += 1
    return out


def winnow(normalised: pa.Array, min_words: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Fingerprints of normalised texts: document (int64), word that the k-gram begins at (int64), hash (uint64)."""
    data, offsets = text_buffers(normalised)
    k, window = winnowing(min_words)
    room = int(offsets[-1] - offsets[0]) // 2 + len(offsets)
    longest = int(np.diff(offsets).max(initial=0)) // 2 + 1
    document, position = np.empty((2, room), np.int64)
    value = np.empty(room, np.uint64)
    count = _winnow_kernel(data, offsets, k, window, np.empty(longest, np.uint64), document, position, value)
    return document[:count].copy(), position[:count].copy(), value[:count].copy()


@njit(nogil=True, cache=True)
def _word_starts_kernel(data, offsets, firsts, starts):  # type: ignore[no-untyped-def]
    out = 0
    for row in range(len(offsets) - 1):
        if offsets[row + 1] > offsets[row]:
            starts[out] = offsets[row]
            out += 1
            for i in range(offsets[row], offsets[row + 1]):
                if data[i] == _SPACE:
                    starts[out] = i + 1
                    out += 1
        starts[out] = offsets[row + 1] + 1
        out += 1
        firsts[row + 1] = out
    return out


class Words:
    """Normalised texts by words."""

    def __init__(self, normalised: pa.Array) -> None:
        self.data, offsets = text_buffers(normalised)
        self.firsts = np.zeros(len(offsets), np.int64)
        """int64 [texts + 1]: the starts of text i are firsts[i]:firsts[i + 1], the last of them behind its end."""
        starts = np.empty(int(offsets[-1] - offsets[0]) + 2 * len(offsets), np.int64)
        self.starts = starts[: _word_starts_kernel(self.data, offsets, self.firsts, starts)].copy()

    def count(self, text: int) -> int:
        return int(self.firsts[text + 1] - self.firsts[text] - 1)


@njit(nogil=True, cache=True)
def _equal(left, i, right, j):  # type: ignore[no-untyped-def]
    """Whether two words of (data, starts) are the same."""
    size = left[1][i + 1] - left[1][i]
    if right[1][j + 1] - right[1][j] != size:
        return False
    same = True
    for byte in range(size - 1):
        same &= left[0][left[1][i] + byte] == right[0][right[1][j] + byte]
    return same


@njit(nogil=True, cache=True)
def _runs_kernel(left, left_firsts, right, right_firsts, rows, others, i, j, begin, end):  # type: ignore[no-untyped-def]
    for pair in range(len(rows)):
        a, a_end = left_firsts[rows[pair]], left_firsts[rows[pair] + 1] - 1
        b, b_end = right_firsts[others[pair]], right_firsts[others[pair] + 1] - 1
        if (
            pair
            and rows[pair] == rows[pair - 1]
            and others[pair] == others[pair - 1]
            and i[pair] - j[pair] == i[pair - 1] - j[pair - 1]
            and i[pair] < end[pair - 1]
        ):
            begin[pair], end[pair] = begin[pair - 1], end[pair - 1]  # the same run
            continue
        x, y = a + i[pair], b + j[pair]
        while x < a_end and y < b_end and _equal(left, x, right, y):
            x += 1
            y += 1
        end[pair] = x - a
        x, y = a + i[pair], b + j[pair]
        while x > a and y > b and _equal(left, x - 1, right, y - 1):
            x -= 1
            y -= 1
        begin[pair] = x - a


def shared_runs(
    left: Words, right: Words, rows: np.ndarray, others: np.ndarray, i: np.ndarray, j: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """int64 [pairs] twice: begin and end, in words of text rows[n] of `left`, of the longest run that it shares with
    text others[n] of `right` where word i[n] meets word j[n]. An empty run where the two words differ."""
    begin, end = np.zeros((2, len(rows)), np.int64)
    _runs_kernel(
        (left.data, left.starts), left.firsts, (right.data, right.starts), right.firsts, rows, others, i, j, begin, end
    )
    return begin, np.maximum(begin, end)
