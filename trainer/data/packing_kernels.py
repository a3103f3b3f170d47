"""The numba kernels of packing: which rows there are (lengths alone), and where documents are cut (sentence ends).

They call into no other file but for `pointer`, which compiles to one instruction: numba's cache watches only the file
of the function that is called.
"""

from typing import Final

import numba
import numpy as np

from trainer.data.addresses import pointer
from trainer.data.marks import CLOSER, END, START, WIDE_END

WRAP: Final = 2
"""[CLS] and [SEP] around every piece."""

OPEN: Final = 32
"""Cut documents that compete for a row's remainder: with sentences of 25 tokens the best of 32 misses by under one."""

SLACK: Final = 100
"""One token in so many may become padding so that cuts meet sentence ends."""


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


@numba.njit(cache=True, nogil=True)
def lay_out(length: np.ndarray, capacity: int, least: int) -> tuple[np.ndarray, np.ndarray, int, int]:
    """(row of every document, or -1 where it may be cut; free places of every row; rows that hold whole documents;
    rows in all), from lengths (none of them 0) alone.

    Documents longer than a row are to be cut. Where they do not suffice to fill the others' rows, the emptiest rows of
    documents long enough to be cut twice over are dissolved until less than 1 / SLACK is free.
    """
    longest = capacity - WRAP
    solid = np.flatnonzero(length <= longest)
    row_of_solid, rows = best_fit(length[solid], capacity)
    free = np.full(rows, capacity, dtype=np.int64)
    shortest = np.full(rows, capacity, dtype=np.int64)
    inside = np.zeros(rows, dtype=np.int64)
    for k in range(len(solid)):
        n = length[solid[k]]
        row = row_of_solid[k]
        free[row] -= n + WRAP
        shortest[row] = min(shortest[row], n)
        inside[row] += 1
    tokens = 0  # of documents to be cut, and how many they are
    documents = 0
    for n in length:
        if n > longest:
            tokens += n
            documents += 1
    usable = 0
    for row in range(rows):
        if free[row] >= least + WRAP:
            usable += free[row] - WRAP

    kept = np.full(rows, True)
    emptiest_first = np.argsort(-free, kind="mergesort")
    for row in emptiest_first:
        if (usable - tokens) * SLACK <= rows * capacity or free[row] < least + WRAP:
            break
        if shortest[row] >= 2 * least:
            kept[row] = False
            usable -= free[row] - WRAP
            tokens += capacity - free[row] - WRAP * inside[row]
            documents += inside[row]

    number = np.empty(rows, dtype=np.int64)
    whole = 0
    for row in range(rows):
        number[row] = whole
        whole += kept[row]
    # Whatever is cut where: every end of a document may leave two places, and its wrap is two.
    missing = tokens + tokens // SLACK + 2 * WRAP * documents - usable
    extra = min(max(0, -(-missing // longest)), tokens)
    free_of_row = np.full(whole + extra, capacity, dtype=np.int64)
    for row in range(rows):
        if kept[row]:
            free_of_row[number[row]] = free[row]
    row_of = np.full(len(length), -1, dtype=np.int64)
    for k in range(len(solid)):
        if kept[row_of_solid[k]]:
            row_of[solid[k]] = number[row_of_solid[k]]
    return row_of, free_of_row, whole, whole + extra


@numba.njit(cache=True, nogil=True)
def _flag(marks: np.ndarray, token: int) -> int:
    # A damaged shard may hold any id; filling rows reports it.
    return marks[token] if token < len(marks) else 0


@numba.njit(cache=True, nogil=True)
def sentence_end(tokens: np.ndarray, n: int, marks: np.ndarray) -> bool:
    """Whether a sentence ends after the first n tokens, 0 < n < len(tokens)."""
    following = _flag(marks, tokens[n])
    if following & CLOSER:
        return False
    k = n - 1
    flag = _flag(marks, tokens[k])
    while flag & CLOSER and k > 0:
        k -= 1
        flag = _flag(marks, tokens[k])
    return (flag & WIDE_END) != 0 or ((flag & END) != 0 and (following & START) != 0)


@numba.njit(cache=True, nogil=True)
def cut_to_fit(
    address: np.ndarray,
    length: np.ndarray,
    item: np.ndarray,
    marks: np.ndarray,
    hole_row: np.ndarray,
    hole_free: np.ndarray,
    must_fill: int,
    least: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, int]:
    """(document, offset, length, row) of the pieces that the documents are cut in, and the tokens that found no place
    (0 where the holes are those of lay_out). The first `must_fill` holes are rows that hold nothing else.

    Of the open documents the one is cut whose sentence ends nearest to the end of the row. The places that lay_out has
    to spare are spread over the holes; where they are used up, and where no sentence ends, the cut is where the row
    ends. Both parts of a cut keep `least` tokens as long as there are places to spare.
    """
    documents, holes = len(length), len(hole_free)
    size = documents + holes
    out_document, out_offset = np.empty(size, dtype=np.int64), np.empty(size, dtype=np.int64)
    out_length, out_row = np.empty(size, dtype=np.int64), np.empty(size, dtype=np.int64)
    pieces = 0
    offset = np.zeros(documents, dtype=np.int64)
    opened = np.empty(OPEN, dtype=np.int64)
    count = min(OPEN, documents)
    for k in range(count):
        opened[k] = k
    following = count
    step = np.uint64(item.itemsize)
    tokens = length.sum()
    sentences = ((marks & (END | WIDE_END)) != 0).any()
    ended = 0
    room_left = hole_free.sum() - WRAP * holes
    for hole in range(holes):
        left = hole_free[hole]
        share = left - WRAP
        while tokens > 0:
            limit = min(left - WRAP, tokens - max(0, must_fill - 1 - hole))
            if limit < 1:
                break
            spare = max(0, room_left - (share - (left - WRAP)) - tokens - 2 * WRAP * (documents - ended))
            aim = max(1, limit - spare * share // room_left)
            slot, cost, taken = -1, min(spare - (limit - aim), 2 * least) + 1, 0
            whole, whole_length = -1, 0
            longest, longest_length = 0, 0
            for k in range(count):
                d = opened[k]
                rest = length[d] - offset[d]
                if rest > longest_length:
                    longest, longest_length = k, rest
                if rest <= limit:
                    after = limit - rest
                    if after >= least + WRAP:
                        if rest > whole_length:
                            whole, whole_length = k, rest
                    elif abs(rest - aim) < cost:
                        slot, cost, taken = k, abs(rest - aim), rest
                elif sentences and whole < 0:
                    place = address[d] + np.uint64(offset[d]) * step
                    text = numba.carray(pointer(place, item), rest)  # type: ignore[call-arg]
                    highest = min(limit, rest - least)
                    away = 0
                    while away < cost:
                        below, above = aim - away, aim + away
                        if below < least and above > highest:
                            break
                        if least <= below <= highest and sentence_end(text, below, marks):
                            slot, cost, taken = k, away, below
                        elif least <= above <= highest and sentence_end(text, above, marks):
                            slot, cost, taken = k, away, above
                        away += 1
            if whole >= 0:
                slot, taken = whole, whole_length
            elif slot < 0:
                slot = longest
                taken = min(longest_length, limit)
                kept_back = min(longest_length - least, limit)
                if longest_length > limit and least <= kept_back and limit - kept_back <= spare:
                    taken = kept_back
            d = opened[slot]
            out_document[pieces], out_offset[pieces] = d, offset[d]
            out_length[pieces], out_row[pieces] = taken, hole_row[hole]
            pieces += 1
            offset[d] += taken
            tokens -= taken
            left -= taken + WRAP
            if offset[d] < length[d]:
                break
            ended += 1
            if following < documents:
                opened[slot] = following
                following += 1
            else:
                count -= 1
                opened[slot] = opened[count]
            if left - WRAP < least and room_left - share - tokens >= 2 * WRAP * (documents - ended):
                break
        room_left -= share
    return out_document[:pieces], out_offset[:pieces], out_length[:pieces], out_row[:pieces], tokens
