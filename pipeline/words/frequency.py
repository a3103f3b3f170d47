"""Exact counts of tokens and words, per batch, and their sums.

What is counted as one word: a span of pipeline.words.spans under the form that normalise_word gives it (NFKC, case
folded, one apostrophe, one hyphen).
"""

import math
import unicodedata
from collections.abc import Iterable
from typing import Any, Final

import numba
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.words.spans import Spans
from pipeline.words.split import doc_id_hash
from pipeline.words.tokenizer import APOSTROPHES, HYPHENS, Encoded, Tokenizer
from schemas.arrow import TOKEN_FREQUENCY, WORD_FREQUENCY

STEPS: Final = 48
"""Half-octaves of documents by hash: step i holds the share 2^(-i/2) of them, the last one about 1 in 10 million."""
_BOUNDS: Final = np.array([math.isqrt(1 << (128 - i)) - 1 for i in range(STEPS - 1, -1, -1)], dtype=np.uint64)

WORD_COUNTS: Final = pa.schema(
    [
        *(pa.field(field.name, field.type, nullable=False) for field in WORD_FREQUENCY),
        pa.field("step", pa.uint8(), nullable=False),  # the last (smallest) step that holds a document with the word
    ]
)
"""Counts on their way to WORD_FREQUENCY."""

_LONG: Final = np.uint64(0xF << 60)
"""Marks keys of id sequences that are hashes."""

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
    words, group = spelt_words(tokenizer, encoded, spans)
    index = {word: i for i, word in enumerate(dict.fromkeys(words))}
    word_of_group = np.fromiter((index[word] for word in words), dtype=np.int64, count=len(words))
    return list(index), word_of_group[group]


def spelt_words(tokenizer: Tokenizer, encoded: Encoded, spans: Spans) -> tuple[list[str], npt.NDArray[np.int64]]:
    """Normalised words of a batch, one for each distinct id sequence (so a word may come twice), and the index into
    them of every span [words].
    """
    group, first = _group(encoded.ids, spans.start, spans.end)
    surface, offsets = tokenizer.surfaces
    spelt, plain = _spell(encoded.ids, spans.start[first], spans.end[first], surface, offsets)
    words = spelt.tobytes().decode("utf-8", "replace").split("\n")[: len(first)]
    for i in np.flatnonzero(~plain).tolist():
        words[i] = normalise_word(words[i])
    return words, group


def document_steps(doc_ids: pa.Array | pa.ChunkedArray) -> npt.NDArray[np.uint8]:
    """The last step [n] that holds each document, by its hash alone: step i is the first 2^(-i/2) of all documents in
    hash order. What Heaps' curve is read from, see pipeline.words.curves.
    """
    above = np.searchsorted(_BOUNDS, doc_id_hash(doc_ids, "heaps"))
    return (STEPS - 1 - np.minimum(above, STEPS - 1)).astype(np.uint8)


def count_words(
    tokenizer: Tokenizer, encoded: Encoded, spans: Spans, steps: npt.NDArray[np.uint8] | None = None
) -> pa.Table:
    """WORD_COUNTS of a batch, sorted by word; a document counts once for each normalised word.

    `steps` [n] as document_steps gives them; without them every step is 0.
    """
    words, word = distinct_words(tokenizer, encoded, spans)
    return tabulate(pa.array(words, pa.string()), word, spans.document, len(encoded), steps)


def tabulate(
    keys: pa.Array,
    key: npt.NDArray[np.int64],
    document: npt.NDArray[np.int64],
    size: int,
    steps: npt.NDArray[np.uint8] | None = None,
) -> pa.Table:
    """WORD_COUNTS, sorted, of occurrences [n] of keys[key] in ascending `document` of `size`; "" is left out."""
    n = len(keys)
    count, documents, last = np.zeros(n, np.uint64), np.zeros(n, np.uint64), np.zeros(n, np.uint8)
    offsets = np.searchsorted(document, np.arange(size + 1)).astype(np.int64)
    _count(key, offsets, np.full(n, -1, dtype=np.int64), count, documents)
    if steps is not None:
        _latest(key, offsets, steps, last)
    table = pa.table([keys, count, documents, last], schema=WORD_COUNTS)
    return table.filter(pc.not_equal(table["word"], "")).sort_by("word")


def merge_words(tables: Iterable[pa.Table]) -> pa.Table:
    """WORD_COUNTS summed by word (of steps the last), sorted by word; associative and commutative."""
    whole = pa.concat_tables([WORD_COUNTS.empty_table(), *(table.cast(WORD_COUNTS) for table in tables)])
    how = [("count", "sum"), ("documents", "sum"), ("step", "max")]
    sums = whole.group_by("word", use_threads=False).aggregate(how)
    columns = [sums["word"], sums["count_sum"], sums["documents_sum"], sums["step_max"]]
    return pa.table(columns, names=WORD_COUNTS.names).sort_by("word").cast(WORD_COUNTS)


def word_table(merged: pa.Table) -> pa.Table:
    """WORD_FREQUENCY in its order: falling count, then word."""
    order = merged.select(WORD_FREQUENCY.names).sort_by([("count", "descending"), ("word", "ascending")])
    return order.cast(WORD_FREQUENCY)


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
def _latest(values, offsets, steps, last):  # type: ignore[no-untyped-def]
    """The largest step of a document with it, by value."""
    for document in range(len(offsets) - 1):
        step = steps[document]
        for i in range(offsets[document], offsets[document + 1]):
            if last[values[i]] < step:
                last[values[i]] = step


@numba.njit(nogil=True, cache=True)
def _key(ids, start, end):  # type: ignore[no-untyped-def]
    """64 bits of an id sequence, never 0: up to three ids of 20 bits and how many, exactly; or a hash, with _LONG."""
    length = end - start
    if length <= 3:
        key = np.uint64(length)
        small = True
        for i in range(start, end):
            small = small and np.uint64(ids[i]) >> np.uint64(20) == 0
            key = key << np.uint64(20) | np.uint64(ids[i])
        if small:
            return key << np.uint64(20 * (3 - length))
    value = np.uint64(length)
    for i in range(start, end):
        value = (value ^ np.uint64(ids[i])) * np.uint64(0x9E3779B97F4A7C15)
        value ^= value >> np.uint64(32)
    return value | _LONG


@numba.njit(nogil=True, cache=True)
def _group(ids: npt.NDArray[Any], start, end):  # type: ignore[no-untyped-def]
    """Group of each span (equal id sequences, by first appearance) and the first span of each group.

    Open addressing, at most half full; a slot holds the key itself, so that most look-ups touch one cache line. Where
    the key is a hash, the ids decide: the groups are exact.
    """
    n = len(start)
    group = np.empty(n, dtype=np.int64)
    first = np.empty(n, dtype=np.int64)
    groups = 0
    bits = 12
    slots = np.zeros((1 << bits, 2), dtype=np.uint64)  # key, group
    for i in range(n):
        key = _key(ids, start[i], end[i])
        slot = np.int64(key * np.uint64(0x9E3779B97F4A7C15) >> np.uint64(64 - bits))
        while True:
            if slots[slot, 0] == 0:
                slots[slot, 0] = key
                slots[slot, 1] = groups
                first[groups] = i
                group[i] = groups
                groups += 1
                break
            if slots[slot, 0] == key:
                known = np.int64(slots[slot, 1])
                same = True
                if key & _LONG == _LONG:
                    other, length = start[first[known]], end[i] - start[i]
                    same = end[first[known]] - other == length
                    for j in range(length if same else 0):
                        if ids[start[i] + j] != ids[other + j]:
                            same = False
                            break
                if same:
                    group[i] = known
                    break
            slot = (slot + 1) & (len(slots) - 1)
        if 2 * groups > len(slots):
            bits += 2
            old = slots
            slots = np.zeros((1 << bits, 2), dtype=np.uint64)
            for j in range(len(old)):
                if old[j, 0] != 0:
                    slot = np.int64(old[j, 0] * np.uint64(0x9E3779B97F4A7C15) >> np.uint64(64 - bits))
                    while slots[slot, 0] != 0:
                        slot = (slot + 1) & (len(slots) - 1)
                    slots[slot, 0] = old[j, 0]
                    slots[slot, 1] = old[j, 1]
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
