"""The lines of texts, normalised and hashed: what boilerplate is told by. Normalised lines themselves are never kept.

    bytes --split at line feeds, fold (see `normalize`)--> normalised line --MurmurHash3 x64 128--> 128 bits

128 bits stand for the line: among 10^12 distinct lines two share a hash with a chance of 10^-15. The hash is no defence
against someone who makes collisions on purpose; all such a text could reach is that a line of its own source is cut.
"""

import hashlib
from dataclasses import dataclass
from functools import cache

import numpy as np
import pyarrow as pa
from numba import njit

from pipeline.dedup.folding import BREAK, CONTEXT, break_table, fold_table
from pipeline.dedup.mixing import fmix64
from pipeline.dedup.normalize import code_point, normalise_batch, text_buffers

_SPACE = np.uint8(32)
_LINE_FEED = 10
_MAX_ASCII = 128
_WIDE = 0x2E80

_C1 = np.uint64(0x87C37B91114253D5)
_C2 = np.uint64(0x4CF5AD432745937F)
_ADD1 = np.uint64(0x52DCE729)
_ADD2 = np.uint64(0x38495AB5)
_FIVE = np.uint64(5)
_R27, _R31, _R33 = np.uint64(27), np.uint64(31), np.uint64(33)
_WORD = np.uint64(64)


@dataclass(frozen=True, slots=True)
class Lines:
    """All lines of a batch of texts; those of text i are offsets[i]:offsets[i + 1]. Blank lines are lines too."""

    offsets: np.ndarray
    """int64 [texts + 1]"""
    starts: np.ndarray
    """int64 [lines]: first byte in the batch's data; the line ends before its line feed at `stops`."""
    stops: np.ndarray
    """int64 [lines]"""
    high: np.ndarray
    """uint64 [lines]: 128-bit hash of the text's seed and the normalised line, with `low`."""
    low: np.ndarray
    characters: np.ndarray
    """uint32 [lines]: code points of the normalised line, those from U+2E80 on (Han, kana, Hangul, ...) twice, as they
    say about twice as much; 0 for blank lines and those of punctuation only."""


def seed_of(source: str) -> int:
    """64 bits that keep the lines of one source apart from the same lines of another."""
    return int.from_bytes(hashlib.blake2b(source.encode(), digest_size=8).digest(), "little")


@cache
def _ascii_table() -> np.ndarray:
    table = fold_table()[:_MAX_ASCII]
    if (table == CONTEXT).any():
        raise AssertionError("ASCII folds by itself")
    return np.where(table == BREAK, 0, table).astype(np.uint8)


@njit(nogil=True, cache=True, inline="always")
def _rotate(value, by):  # type: ignore[no-untyped-def]
    return (value << by) | (value >> (_WORD - by))


@njit(nogil=True, cache=True)
def _murmur(content, words, length, seed):  # type: ignore[no-untyped-def]
    """MurmurHash3 x64 128 (Appleby, public domain) of content[:length]; `words` is the same memory as uint64, with room
    for 16 bytes more."""
    content[length : length + 16] = 0
    a = seed
    b = seed
    blocks = length // 16
    for block in range(blocks):
        first = _rotate(words[2 * block] * _C1, _R31) * _C2
        a = (_rotate(a ^ first, _R27) + b) * _FIVE + _ADD1
        second = _rotate(words[2 * block + 1] * _C2, _R33) * _C1
        b = (_rotate(b ^ second, _R31) + a) * _FIVE + _ADD2
    tail = length - 16 * blocks
    if tail > 8:
        b ^= _rotate(words[2 * blocks + 1] * _C2, _R33) * _C1
    if tail > 0:
        a ^= _rotate(words[2 * blocks] * _C1, _R31) * _C2
    size = np.uint64(length)
    a ^= size
    b ^= size
    a += b
    b += a
    a = fmix64(a)
    b = fmix64(b)
    a += b
    b += a
    return a, b


@njit(nogil=True, cache=True)
def _lines_kernel(  # type: ignore[no-untyped-def]
    data,
    offsets,
    seeds,
    ascii,
    table,
    breaks,
    scratch,
    words,
    line_offsets,
    starts,
    stops,
    high,
    low,
    characters,
    open_,
):
    """Splits, folds and hashes. A line in which neighbours may matter is left open: `open_` marks it."""
    at = 0
    for document in range(len(offsets) - 1):
        i = offsets[document]
        end = offsets[document + 1]
        while i < end:
            start = i
            length = 0
            visible = 0
            pending = False
            context = False
            while i < end:
                byte = data[i]
                if byte < 0x80:
                    if byte == _LINE_FEED:
                        break
                    i += 1
                    folded = np.int64(ascii[byte])
                    if folded == 0:
                        pending = True
                        continue
                else:
                    code, width = code_point(data, i)
                    i += width
                    folded = np.int64(table[code])
                    if folded == BREAK or (folded == CONTEXT and breaks[code]):
                        pending = True
                        context |= folded == CONTEXT
                        continue
                    if folded == CONTEXT:
                        context = True
                        folded = code
                if pending:
                    if length:
                        scratch[length] = _SPACE
                        length += 1
                        visible += 1
                    pending = False
                visible += 2 if folded >= _WIDE else 1
                if folded < 0x80:
                    scratch[length] = folded
                    length += 1
                elif folded < 0x800:
                    scratch[length] = 0xC0 | (folded >> 6)
                    scratch[length + 1] = 0x80 | (folded & 0x3F)
                    length += 2
                elif folded < 0x10000:
                    scratch[length] = 0xE0 | (folded >> 12)
                    scratch[length + 1] = 0x80 | ((folded >> 6) & 0x3F)
                    scratch[length + 2] = 0x80 | (folded & 0x3F)
                    length += 3
                else:
                    scratch[length] = 0xF0 | (folded >> 18)
                    scratch[length + 1] = 0x80 | ((folded >> 12) & 0x3F)
                    scratch[length + 2] = 0x80 | ((folded >> 6) & 0x3F)
                    scratch[length + 3] = 0x80 | (folded & 0x3F)
                    length += 4
            starts[at] = start
            stops[at] = i
            i += 1
            open_[at] = context
            characters[at] = visible
            if not context and length:
                high[at], low[at] = _murmur(scratch, words, length, seeds[document])
            at += 1
        line_offsets[document + 1] = at


@njit(nogil=True, cache=True)
def _normalised_kernel(data, offsets, seeds, scratch, words, rows, high, low, characters):  # type: ignore[no-untyped-def]
    """Hashes lines that are normalised already; `rows` says where each belongs."""
    for line in range(len(offsets) - 1):
        length = offsets[line + 1] - offsets[line]
        visible = 0
        for i in range(length):
            byte = data[offsets[line] + i]
            scratch[i] = byte
            if (byte & 0xC0) == 0x80:
                continue
            visible += 1
            # The lead bytes of U+2E80 on: E2 BA and all above.
            if byte > 0xE2 or (byte == 0xE2 and data[offsets[line] + i + 1] >= 0xBA):
                visible += 1
        row = rows[line]
        characters[row] = visible
        if length:
            high[row], low[row] = _murmur(scratch, words, length, seeds[line])


def _room(length: int) -> tuple[np.ndarray, np.ndarray]:
    words = np.zeros(length // 8 + 4, np.uint64)
    return words.view(np.uint8), words


def hash_lines(texts: pa.Array, seeds: np.ndarray) -> Lines:
    """Lines of all texts; `seeds` uint64 [texts], see `seed_of`. Raises TypeError or ValueError as `text_buffers`.

    The normalised form of a line is `normalize.normalise` of it.
    """
    data, offsets = text_buffers(texts)
    count = int(np.count_nonzero(data[offsets[0] : offsets[-1]] == _LINE_FEED)) + len(texts)
    starts, stops = np.empty(count, np.int64), np.empty(count, np.int64)
    high, low = np.zeros(count, np.uint64), np.zeros(count, np.uint64)
    characters, unsure = np.zeros(count, np.uint32), np.zeros(count, np.bool_)
    line_offsets = np.zeros(len(offsets), np.int64)
    longest = int(np.diff(offsets).max(initial=0))
    scratch, words = _room(longest)
    _lines_kernel(
        data, offsets, seeds, _ascii_table(), fold_table(), break_table(), scratch, words,
        line_offsets, starts, stops, high, low, characters, unsure,
    )  # fmt: skip
    end = int(line_offsets[-1])
    rows = np.flatnonzero(unsure[:end])
    if len(rows):
        view = data.data
        raw = [bytes(view[a:b]).decode() for a, b in zip(starts[rows].tolist(), stops[rows].tolist(), strict=True)]
        folded, bounds = text_buffers(normalise_batch(pa.array(raw, pa.large_string())))
        scratch, words = _room(int(np.diff(bounds).max(initial=0)))
        document = np.searchsorted(line_offsets, rows, side="right") - 1
        _normalised_kernel(folded, bounds, seeds[document], scratch, words, rows, high, low, characters)
    return Lines(line_offsets, starts[:end], stops[:end], high[:end], low[:end], characters[:end])
