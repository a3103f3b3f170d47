"""What SentencePiece needs of a sample to learn a vocabulary: its distinct words, and the pieces to begin with.

No piece crosses a space, so the words with their counts are the whole sample to the trainer. Given text it first sorts
the suffixes of all lines to find what recurs, which takes most of its time. Here those of the distinct words are
sorted, a tenth of the sample or less, and a recurring piece counts as often as its words do.
"""

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import sentencepiece
from numba import njit

CHUNK = 4 << 20
"""Code points that are split at once."""
LONGEST = 16
"""Code points of a piece at most: SentencePiece's `max_sentencepiece_length`."""
_MARK = "▁"
_WORDS = pa.schema([pa.field("word", pa.string()), pa.field("count", pa.int64())])


def distinct_words(lines: Iterable[str]) -> pa.Table:
    """word, count: what stands between spaces and tabs, in the order of its bytes."""
    parts: list[pa.Table] = []
    held: list[str] = []
    size = 0
    for line in lines:
        held.append(line)
        size += len(line)
        if size > CHUNK:
            parts.append(_counted(held))
            held, size = [], 0
    return _summed([*parts, _counted(held)])


def _counted(lines: list[str]) -> pa.Table:
    # A tab ends the word in the trainer's input, and all normalizers but two make a space of it.
    words = pc.split_pattern(pc.replace_substring(pa.array(lines, pa.string()), "\t", " "), " ").flatten()
    found = pc.value_counts(words)
    return pa.Table.from_arrays([found.field("values"), found.field("counts")], schema=_WORDS)


def _summed(parts: list[pa.Table]) -> pa.Table:
    table = pa.concat_tables(parts).group_by("word").aggregate([("count", "sum")])
    table = table.select(["word", "count_sum"]).rename_columns(["word", "count"])
    return table.filter(pc.not_equal(table["word"], "")).sort_by("word").combine_chunks()


def normalized(words: pa.Table, rule: str) -> pa.Table:
    """The words as the trainer will see them: normalised, and split where that made spaces. Without the mark."""
    normalizer = sentencepiece.SentencePieceNormalizer(
        rule_name=rule, add_dummy_prefix=True, escape_whitespaces=True, remove_extra_whitespaces=True
    )
    split = pc.split_pattern(pa.array(normalizer.Normalize(words["word"].to_pylist()), pa.string()), _MARK)
    counts = words["count"].combine_chunks().take(pc.list_parent_indices(split))
    return _summed([pa.Table.from_arrays([split.flatten(), counts], schema=_WORDS)])


def seed_pieces(words: pa.Table, most: int) -> pa.Table:
    """piece, count: at most so many of two to LONGEST code points that recur, those that cover most text first.

    `words`: what `normalized` gives. A piece is a string that two different characters (or ends of words) follow, so
    that no longer one occurs as often, or a whole word.
    """
    text = "".join(f"{_MARK}{word}\0" for word in words["word"].to_pylist())
    points = np.frombuffer(text.encode("utf-32-le"), np.uint32)
    lengths = np.diff(np.flatnonzero(points == 0), prepend=-1)
    weights = np.repeat(words["count"].to_numpy(), lengths)
    codes = _codes(points)
    starts = np.flatnonzero(codes)
    order = np.lexsort(_keys(codes, starts)[::-1])
    at, size, count = _recurring(codes, starts[order], weights[starts[order]])
    best = np.lexsort((at, -(count * size)))[:most]
    pieces = [
        text[first : first + length] for first, length in zip(at[best].tolist(), size[best].tolist(), strict=True)
    ]
    return pa.Table.from_arrays([pa.array(pieces, pa.string()), pa.array(count[best])], schema=_WORDS)


def _codes(points: np.ndarray) -> np.ndarray:
    """uint16 for each code point, the more frequent the smaller; 0 ends a word, and is all beyond the first 65,535."""
    counts = np.bincount(points, minlength=1)
    counts[0] = 0
    ranked = np.argsort(-counts, kind="stable")[:65535]
    codes = np.zeros(len(counts), np.uint16)
    codes[ranked] = np.arange(1, len(ranked) + 1)
    codes[0] = 0
    return codes[points]


@njit(nogil=True, cache=True)
def _keys(codes, starts):  # type: ignore[no-untyped-def]
    """uint64 [4, starts]: the first LONGEST codes from each start to its word's end, which sort as their strings do."""
    keys = np.zeros((4, len(starts)), np.uint64)
    for row in range(len(starts)):
        for offset in range(LONGEST):
            code = codes[starts[row] + offset]
            if code == 0:
                break
            keys[offset // 4, row] |= np.uint64(code) << np.uint64(16 * (3 - offset % 4))
    return keys


@njit(nogil=True, cache=True)
def _common(codes, one, other):  # type: ignore[no-untyped-def]
    """Codes that two suffixes share, LONGEST at most."""
    length = 0
    while length < LONGEST and codes[one + length] != 0 and codes[one + length] == codes[other + length]:
        length += 1
    return length


@njit(nogil=True, cache=True)
def _recurring(codes, starts, weights):  # type: ignore[no-untyped-def]
    """(place, length, weight) of the nodes of the suffix tree (Abouelhoda et al. 2004) and of the whole words."""
    place = np.empty(2 * len(starts) + 1, np.int64)
    size = np.empty_like(place)
    weight = np.empty_like(place)
    found = 0
    depths = np.zeros(LONGEST + 2, np.int64)
    firsts = np.zeros(LONGEST + 2, np.int64)
    before = np.zeros(LONGEST + 2, np.int64)  # weight of all suffixes ahead of the node's first
    top, total, last = 0, 0, 0
    for row in range(len(starts)):
        shared = _common(codes, starts[row], starts[row + 1]) if row + 1 < len(starts) else 0
        first, ahead = starts[row], total
        total += weights[row]
        length = 0
        while length < LONGEST and codes[first + length] != 0:
            length += 1
        begins = first == 0 or codes[first - 1] == 0
        ends = codes[first + length] == 0
        if begins and ends and length > max(last, shared) and length > 1 and weights[row] > 1:
            place[found], size[found], weight[found] = first, length, weights[row]
            found += 1
        while depths[top] > shared:
            first, ahead = firsts[top], before[top]
            if depths[top] > 1 and total - ahead > 1:
                place[found], size[found], weight[found] = first, depths[top], total - ahead
                found += 1
            top -= 1
        if depths[top] < shared:
            top += 1
            depths[top], firsts[top], before[top] = shared, first, ahead
        last = shared
    return place[:found], size[:found], weight[:found]
