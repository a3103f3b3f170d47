"""Exact counts of tokens and words, per batch, and their sums."""

import unicodedata
from collections.abc import Iterable
from typing import Any, Final

import numba
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.words.spans import Spans
from pipeline.words.tokenizer import APOSTROPHES, HYPHENS, Encoded, Tokenizer
from schemas.arrow import TOKEN_FREQUENCY, WORD_FREQUENCY

_UNIFIED: Final = str.maketrans(
    {**dict.fromkeys(APOSTROPHES, "'"), **dict.fromkeys(HYPHENS, "-"), "\u00ad": None, "\ufeff": None}
)


def count_tokens(encoded: Encoded, size: int) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    """Occurrences and documents [size] of each token id."""
    count, documents = np.zeros(size, dtype=np.uint64), np.zeros(size, dtype=np.uint64)
    _count(encoded.ids, encoded.offsets, np.full(size, -1, dtype=np.int64), count, documents)
    return count, documents


def token_table(tokenizer: Tokenizer, count: npt.NDArray[np.uint64], documents: npt.NDArray[np.uint64]) -> pa.Table:
    """TOKEN_FREQUENCY rows from summed counts [size]."""
    pieces = [tokenizer.piece(token_id) for token_id in range(tokenizer.size)]
    ids = np.arange(tokenizer.size, dtype=np.uint32)
    return pa.table([pa.array(ids), pa.array(pieces), pa.array(count), pa.array(documents)], schema=TOKEN_FREQUENCY)


def normalise_word(word: str) -> str:
    """The form under which a word is counted: NFKC, full case folding, ' for every apostrophe, - for every hyphen, no
    soft hyphens, and nothing but letters, marks and numbers at both ends. Idempotent; "" where nothing is left.
    """
    if word.isascii():
        word = word.replace("`", "'").lower()
        return word if word[:1].isalnum() and word[-1:].isalnum() else _trimmed(word)
    for _ in range(2):  # folding can undo NFKC (U+0345), and NFKC can make room for folding (U+037A)
        word = unicodedata.normalize("NFKC", word.translate(_UNIFIED)).casefold()
    return _trimmed(unicodedata.normalize("NFKC", word).translate(_UNIFIED))


def _trimmed(word: str) -> str:
    first, last = 0, len(word)
    while first < last and unicodedata.category(word[first])[0] not in "LMN":
        first += 1
    while last > first and unicodedata.category(word[last - 1])[0] not in "LMN":
        last -= 1
    return word[first:last]


def distinct_words(tokenizer: Tokenizer, encoded: Encoded, spans: Spans) -> tuple[list[str], npt.NDArray[np.int64]]:
    """Distinct normalised words of a batch, and the index into them of every span [words].

    Only distinct id sequences are spelt out.
    """
    group, first = _group(encoded.ids, spans.start, spans.end)
    surface, offsets = tokenizer.surfaces
    spelt, plain = _spell(encoded.ids, spans.start[first], spans.end[first], surface, offsets)
    words = spelt.tobytes().decode("utf-8", "replace").split("\n")[: len(first)]
    index: dict[str, int] = {}
    word_of_group = np.empty(len(first), dtype=np.int64)
    for i, (word, done) in enumerate(zip(words, plain.tolist(), strict=True)):
        word_of_group[i] = index.setdefault(word if done else normalise_word(word), len(index))
    return list(index), word_of_group[group]


def count_words(tokenizer: Tokenizer, encoded: Encoded, spans: Spans) -> pa.Table:
    """Exact (word, count, documents) of a batch, sorted by word; a document counts once for each normalised word."""
    words, word = distinct_words(tokenizer, encoded, spans)
    n = len(words)
    count, documents = np.zeros(n, dtype=np.uint64), np.zeros(n, dtype=np.uint64)
    offsets = np.searchsorted(spans.document, np.arange(len(encoded) + 1)).astype(np.int64)
    _count(word, offsets, np.full(n, -1, dtype=np.int64), count, documents)
    table = pa.table([pa.array(words, pa.string()), pa.array(count), pa.array(documents)], schema=WORD_FREQUENCY)
    return table.filter(pc.not_equal(table["word"], "")).sort_by("word")


def merge_words(tables: Iterable[pa.Table]) -> pa.Table:
    """Sums of (word, count, documents) by word, sorted by word; associative and commutative."""
    whole = pa.concat_tables([WORD_FREQUENCY.empty_table(), *(table.cast(WORD_FREQUENCY) for table in tables)])
    sums = whole.group_by("word", use_threads=False).aggregate([("count", "sum"), ("documents", "sum")])
    columns = [sums["word"], sums["count_sum"], sums["documents_sum"]]
    return pa.table(columns, names=WORD_FREQUENCY.names).sort_by("word").cast(WORD_FREQUENCY)


def word_table(merged: pa.Table) -> pa.Table:
    """WORD_FREQUENCY in its order: falling count, then word."""
    return merged.sort_by([("count", "descending"), ("word", "ascending")]).cast(WORD_FREQUENCY)


@numba.njit(nogil=True, cache=True)
def _count(values, offsets, seen, count, documents):  # type: ignore[no-untyped-def]
    """Adds to count and documents by value; seen [values] holds the last document of each, -1 at first."""
    for document in range(len(offsets) - 1):
        for i in range(offsets[document], offsets[document + 1]):
            value = values[i]
            count[value] += np.uint64(1)
            if seen[value] != document:
                seen[value] = document
                documents[value] += np.uint64(1)


@numba.njit(nogil=True, cache=True)
def _group(ids: npt.NDArray[Any], start, end):  # type: ignore[no-untyped-def]
    """Group of each span (equal id sequences, by first appearance) and the first span of each group.

    Open addressing, at most half full; the hash only finds the slot, the ids decide: the groups are exact.
    """
    n = len(start)
    group = np.empty(n, dtype=np.int64)
    first = np.empty(n, dtype=np.int64)
    hashes = np.empty(n, dtype=np.uint64)
    groups = 0
    mask = np.uint64((1 << 12) - 1)
    slots = np.full(1 << 12, -1, dtype=np.int64)
    for i in range(n):
        length = end[i] - start[i]
        value = np.uint64(length)
        for j in range(start[i], end[i]):
            value = (value ^ np.uint64(ids[j])) * np.uint64(0x9E3779B97F4A7C15)
            value ^= value >> np.uint64(32)
        slot = value & mask
        while True:
            known = slots[slot]
            if known < 0:
                slots[slot] = groups
                first[groups] = i
                hashes[groups] = value
                group[i] = groups
                groups += 1
                break
            if hashes[known] == value and end[first[known]] - start[first[known]] == length:
                other = start[first[known]]
                same = True
                for j in range(length):
                    if ids[start[i] + j] != ids[other + j]:
                        same = False
                        break
                if same:
                    group[i] = known
                    break
            slot = (slot + np.uint64(1)) & mask
        if 2 * groups > len(slots):
            mask = np.uint64(4 * len(slots) - 1)
            slots = np.full(4 * len(slots), -1, dtype=np.int64)
            for known in range(groups):
                slot = hashes[known] & mask
                while slots[slot] >= 0:
                    slot = (slot + np.uint64(1)) & mask
                slots[slot] = known
    return group, first[:groups].copy()


@numba.njit(nogil=True, cache=True)
def _spell(ids, start, end, surface, offsets):  # type: ignore[no-untyped-def]
    """The words in UTF-8, each with a newline behind it, and which of them are ASCII letters and digits alone (these
    are lower-cased: nothing else would change them)."""
    size = len(start)
    for word in range(len(start)):
        for i in range(start[word], end[word]):
            size += offsets[ids[i] + 1] - offsets[ids[i]]
    out = np.empty(size, dtype=np.uint8)
    plain = np.ones(len(start), dtype=np.bool_)
    at = 0
    for word in range(len(start)):
        begin = at
        for i in range(start[word], end[word]):
            for j in range(offsets[ids[i]], offsets[ids[i] + 1]):
                byte = surface[j]
                out[at] = byte
                at += 1
                if not (0x30 <= byte <= 0x39 or 0x41 <= byte <= 0x5A or 0x61 <= byte <= 0x7A):
                    plain[word] = False
        if plain[word]:
            for j in range(begin, at):
                if out[j] <= 0x5A and out[j] >= 0x41:
                    out[j] += 0x20
        out[at] = 0x0A
        at += 1
    return out, plain
