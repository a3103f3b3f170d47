"""Shingle sets: the hashed n-grams by which two documents are compared (Broder 1997).

Words are what spaces separate in the normalised text. Where more than half of the characters belong to a script written
without spaces, n-grams of characters (spaces skipped) are used instead. A shingle's hash is a polynomial of its items'
hashes (`word_hash`) modulo 2^64, finalised by MurmurHash3's mixer; word and character shingles never share a hash by
design.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa
from numba import njit

from pipeline.config import DeduplicateConfig
from pipeline.dedup.mixing import fmix64
from pipeline.dedup.normalize import code_point, normalise_batch, text_buffers
from pipeline.dedup.word_hash import POLYNOMIAL, SPACE, hash_character, hash_word

SPACELESS = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Myanmar
    (0x1780, 0x17FF),  # Khmer
    (0x19E0, 0x19FF),  # Khmer symbols
    (0x2E80, 0x2FDF),  # Han radicals
    (0x3005, 0x3007),  # 々 〆 〇
    (0x3021, 0x3029),  # Hangzhou numerals
    (0x3040, 0x30FF),  # kana
    (0x31F0, 0x31FF),  # kana extensions
    (0x3400, 0x4DBF),  # Han extension A
    (0x4E00, 0x9FFF),  # Han
    (0xA9E0, 0xA9FF),  # Myanmar extended B
    (0xAA60, 0xAA7F),  # Myanmar extended A
    (0xF900, 0xFAFF),  # Han compatibility
    (0x1AFF0, 0x1B16F),  # kana supplements
    (0x20000, 0x3FFFF),  # Han planes
)
"""Code-point ranges (both ends included) of Han, kana, Thai, Lao, Khmer and Myanmar."""

CHARACTER_SALT = np.uint64(0xD6E8FEB86659FD93)

_RANGES = np.array(SPACELESS, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Shingles:
    """Sets of 64-bit shingle hashes: those of document i are values[offsets[i]:offsets[i + 1]], sorted, unique."""

    values: np.ndarray
    """uint64 [shingles]"""
    offsets: np.ndarray
    """int64 [documents + 1]"""

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def counts(self) -> np.ndarray:
        """int64 [documents]: size of each set."""
        return np.diff(self.offsets)


@njit(nogil=True, cache=True)
def _spaceless(code, ranges):  # type: ignore[no-untyped-def]
    for k in range(len(ranges)):
        if code <= ranges[k, 1]:
            return code >= ranges[k, 0]
    return False


@njit(nogil=True, cache=True)
def _plan_kernel(data, offsets, ranges, words, characters, by_character, starts):  # type: ignore[no-untyped-def]
    """Per document: characters or words, and where its shingles (with repeats) will lie."""
    for document in range(len(offsets) - 1):
        i = offsets[document]
        end = offsets[document + 1]
        spaces = 0
        continued = 0
        high = 0
        for byte in data[i:end]:  # not by index: so the loop becomes vector instructions
            spaces += byte == SPACE
            continued += byte & 0xC0 == 0x80
            high += byte >= 0xE0  # no spaceless script lies below U+0800
        visible = end - i - spaces - continued
        spaceless = 0
        if 2 * high > visible:
            for position in range(i, end):
                if data[position] >= 0xE0:
                    code, _ = code_point(data, position)
                    spaceless += _spaceless(code, ranges)
        by_character[document] = 2 * spaceless > visible
        if by_character[document]:
            count = visible - characters + 1
        else:
            count = (spaces + 1 if end > i else 0) - words + 1
        starts[document + 1] = starts[document] + max(count, 0)


@njit(nogil=True, cache=True)
def _hash_kernel(data, offsets, words, characters, by_character, starts, values):  # type: ignore[no-untyped-def]
    """Fills in every shingle hash of the document, in text order, with repeats."""
    ring = np.zeros(max(words, characters), np.uint64)
    for document in range(len(offsets) - 1):
        out = starts[document]
        if starts[document + 1] == out:
            continue
        character = by_character[document]
        size = characters if character else words
        salt = CHARACTER_SALT if character else np.uint64(0)
        power = np.uint64(1)  # of the item that leaves the window
        for _ in range(size):
            power *= POLYNOMIAL
        ring[:] = 0
        rolling = np.uint64(0)
        items = 0
        slot = 0
        i = offsets[document]
        end = offsets[document + 1]
        while i < end:
            if character:
                code, width = code_point(data, i)
                i += width
                if code == 32:
                    continue
                item = hash_character(code)
            else:
                item, i = hash_word(data, i, end)
                i += 1
            rolling = rolling * POLYNOMIAL + item - ring[slot] * power
            ring[slot] = item
            slot += 1
            if slot == size:
                slot = 0
            items += 1
            if items >= size:
                values[out] = fmix64(rolling ^ salt)
                out += 1


@njit(nogil=True, cache=True)
def _unique_kernel(values, starts, offsets):  # type: ignore[no-untyped-def]
    """Closes up the repeats of sorted sets, in place."""
    out = 0
    for document in range(len(starts) - 1):
        first = out
        for i in range(starts[document], starts[document + 1]):
            if out == first or values[i] != values[out - 1]:
                values[out] = values[i]
                out += 1
        offsets[document + 1] = out


def shingle_sets(texts: pa.Array, config: DeduplicateConfig, normalised: pa.Array | None = None) -> Shingles:
    """The shingle sets of raw texts; a document too short for one shingle has an empty set.

    `normalised`: their `normalise_batch` where it is at hand. Raises TypeError or ValueError as `text_buffers`.
    """
    data, text_offsets = text_buffers(normalise_batch(texts) if normalised is None else normalised)
    documents = len(text_offsets) - 1
    words, characters = config.shingle_words, config.shingle_characters
    by_character = np.zeros(documents, np.bool_)
    starts = np.zeros(documents + 1, np.int64)
    _plan_kernel(data, text_offsets, _RANGES, words, characters, by_character, starts)
    values = np.empty(starts[-1], np.uint64)
    _hash_kernel(data, text_offsets, words, characters, by_character, starts, values)
    # numpy's vectorised sort, document by document, is several times faster than numba's quicksort.
    bounds = starts.tolist()
    for start, end in pairwise(bounds):
        values[start:end].sort()
    offsets = np.zeros(documents + 1, np.int64)
    _unique_kernel(values, starts, offsets)
    return Shingles(values[: offsets[-1]].copy(), offsets)
