"""Text as it is compared: case, compatibility forms, punctuation and spacing do not make a document new.

The steps, in order:
1. format characters (category Cf: soft hyphen, zero-width space, joiners, direction marks, BOM) are removed;
2. case and compatibility forms (full-width, ligatures, ...) are folded, see `folding.fold`;
3. punctuation (P*), separators (Z*) and controls (Cc) become a space, runs of spaces one, none at the ends.

Kept on purpose: digits, because a template filled with other numbers says another thing; symbols (S*: `+`, `$`, emoji);
and combining marks, because dropping them turns が into か and हिन्दी into हिनदी (datatrove does).
"""

import hashlib
from itertools import pairwise

import numpy as np
import pyarrow as pa
from numba import njit

from pipeline.dedup.folding import (
    BREAK,
    CONTEXT,
    ascii_fold_table,
    break_table,
    break_translation,
    fold,
    fold_table,
)
from pipeline.dedup.word_hash import load8

DIGEST_BYTES = 16

_SPACE = np.uint8(32)
_HIGHS = np.uint64(0x8080808080808080)
_ZERO, _ONE = np.uint64(0), np.uint64(1)


def normalise(text: str) -> str:
    """The form in which documents are compared (see the module). Idempotent. "" where nothing but breaks is there."""
    return " ".join(fold(text).translate(break_translation()).split())


def _digest(normalised: bytes | memoryview, text: str) -> bytes:
    # "***" and "---" both normalise to nothing and are not copies; NUL never occurs in normalised text.
    content = normalised or b"\0" + text.encode("utf-8", "surrogatepass")
    return hashlib.blake2b(content, digest_size=DIGEST_BYTES).digest()


def digest(text: str) -> bytes:
    """16 bytes: BLAKE2b of the normalised text. Documents with equal digests have equal shingle sets.

    A text that normalises to nothing is digested as it stands, so only identical ones are copies.
    """
    return _digest(normalise(text).encode(), text)


def text_buffers(texts: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """UTF-8 bytes (uint8 [bytes]) and offsets (int64 [n+1]) of a string array, without copying the bytes.

    Raises TypeError for another Arrow type and ValueError for nulls.
    """
    if pa.types.is_string(texts.type):
        width: np.dtype = np.dtype(np.int32)
    elif pa.types.is_large_string(texts.type):
        width = np.dtype(np.int64)
    else:
        raise TypeError(f"texts must be an Arrow string or large_string array, found {texts.type}")
    if texts.null_count:
        raise ValueError(f"texts must not be null; {texts.null_count} of {len(texts)} are")
    _, offsets, data = texts.buffers()
    if len(texts) == 0 or offsets is None:
        return np.zeros(0, np.uint8), np.zeros(1, np.int64)
    start = np.frombuffer(offsets, width, len(texts) + 1, texts.offset * width.itemsize).astype(np.int64)
    return (np.frombuffer(data, np.uint8) if data is not None else np.zeros(0, np.uint8)), start


@njit(nogil=True, cache=True, inline="always")
def code_point(data, i):  # type: ignore[no-untyped-def]
    """Code point (int64) and byte length of the UTF-8 character that begins at byte i."""
    lead = np.int64(data[i])
    if lead < 0x80:
        return lead, 1
    if lead < 0xE0:
        return ((lead & 0x1F) << 6) | np.int64(data[i + 1] & 0x3F), 2
    if lead < 0xF0:
        return ((lead & 0x0F) << 12) | (np.int64(data[i + 1] & 0x3F) << 6) | np.int64(data[i + 2] & 0x3F), 3
    high = ((lead & 0x07) << 18) | (np.int64(data[i + 1] & 0x3F) << 12)
    return high | (np.int64(data[i + 2] & 0x3F) << 6) | np.int64(data[i + 3] & 0x3F), 4


@njit(nogil=True, cache=True)
def _context_kernel(data, offsets, table, starts, ends):  # type: ignore[no-untyped-def]
    """Runs between ASCII spaces or controls that hold a CONTEXT character. Returns their number, writes what fits."""
    runs = 0
    for document in range(len(offsets) - 1):
        first = offsets[document]
        end = offsets[document + 1]
        i = first
        while i < end:
            if data[i] < 0x80:
                i += 1
                while i + 8 <= end and load8(data, i) & _HIGHS == 0:
                    i += 8
                continue
            code, width = code_point(data, i)
            if table[code] != CONTEXT:
                i += width
                continue
            start = i
            while start > first and data[start - 1] > _SPACE:
                start -= 1
            while i < end and data[i] > _SPACE:
                i += 1
            if runs < len(starts):
                starts[runs] = start
                ends[runs] = i
            runs += 1
    return runs


@njit(nogil=True, cache=True)
def _fold_kernel(data, offsets, ascii_table, table, breaks, out, out_offsets):  # type: ignore[no-untyped-def]
    """Folds single characters, turns breaks into single spaces. CONTEXT characters are folded already.

    Places are unsigned: numba looks whether a signed index counts from the end, which took longer than all the rest.
    """
    position = _ZERO
    for document in range(len(offsets) - 1):
        first = position
        i = np.uint64(offsets[document])
        end = np.uint64(offsets[document + 1])
        after = _ONE  # 1 behind a break or at the start: another break writes nothing
        while i < end:
            byte = data[i]
            if byte < 0x80:
                # Without a branch: where words end cannot be predicted.
                character = ascii_table[byte]
                out[position] = character
                space = np.uint64(character == _SPACE)
                position += _ONE - (space & after)
                after = space
                i += _ONE
                continue
            code, width = code_point(data, np.int64(i))
            i += np.uint64(width)
            folded = np.int64(table[code])
            if folded == BREAK or (folded == CONTEXT and breaks[code]):
                out[position] = _SPACE
                position += _ONE - after
                after = _ONE
                continue
            after = _ZERO
            if folded == CONTEXT:
                folded = code
            position += np.uint64(_encode(folded, out, np.int64(position)))
        if after and position > first:
            position -= _ONE
        out_offsets[document + 1] = np.int64(position)


@njit(nogil=True, cache=True, inline="always")
def _encode(code, out, position):  # type: ignore[no-untyped-def]
    """Writes the code point as UTF-8; returns its length in bytes."""
    if code < 0x80:
        out[position] = code
        return 1
    if code < 0x800:
        out[position] = 0xC0 | (code >> 6)
        out[position + 1] = 0x80 | (code & 0x3F)
        return 2
    if code < 0x10000:
        out[position] = 0xE0 | (code >> 12)
        out[position + 1] = 0x80 | ((code >> 6) & 0x3F)
        out[position + 2] = 0x80 | (code & 0x3F)
        return 3
    out[position] = 0xF0 | (code >> 18)
    out[position + 1] = 0x80 | ((code >> 12) & 0x3F)
    out[position + 2] = 0x80 | ((code >> 6) & 0x3F)
    out[position + 3] = 0x80 | (code & 0x3F)
    return 4


def _fold_runs(
    data: np.ndarray, offsets: np.ndarray, starts: np.ndarray, ends: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The batch with the given runs folded by `fold`; each distinct run once."""
    folded: dict[bytes, bytes] = {}
    pieces: list[bytes | memoryview] = []
    growth = np.zeros(len(starts) + 1, np.int64)
    view = data.data
    done = int(offsets[0])
    for run, (start, end) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True)):
        raw = bytes(view[start:end])
        new = folded.get(raw)
        if new is None:
            new = folded[raw] = fold(raw.decode()).encode()
        pieces += [view[done:start], new]
        growth[run + 1] = growth[run] + len(new) - len(raw)
        done = end
    pieces.append(view[done : int(offsets[-1])])
    moved = offsets + growth[np.searchsorted(starts, offsets)] - offsets[0]
    return np.frombuffer(b"".join(pieces), np.uint8), moved


def normalise_batch(texts: pa.Array) -> pa.LargeStringArray:
    """`normalise` of every text, by kernels over the UTF-8 bytes; only runs in which neighbouring characters may act on
    each other (combining marks, format characters) pass through Python. Raises as `text_buffers`.
    """
    data, offsets = text_buffers(texts)
    table = fold_table()
    none = np.empty(0, np.int64)
    runs = _context_kernel(data, offsets, table, none, none)
    if runs:
        starts, ends = np.empty(runs, np.int64), np.empty(runs, np.int64)
        _context_kernel(data, offsets, table, starts, ends)
        data, offsets = _fold_runs(data, offsets, starts, ends)
    out = np.empty(offsets[-1] - offsets[0] + 1, np.uint8)  # a break at the very end may write one more
    out_offsets = np.zeros(len(offsets), np.int64)
    _fold_kernel(data, offsets, ascii_fold_table(), table, break_table(), out, out_offsets)
    buffers = [None, pa.py_buffer(out_offsets), pa.py_buffer(out[: out_offsets[-1]].copy())]
    return pa.Array.from_buffers(pa.large_string(), len(texts), buffers)


def digests(texts: pa.Array, normalised: pa.Array | None = None) -> pa.FixedSizeBinaryArray:
    """`digest` of every text, fixed_size_binary(16) [n]. `normalised`: their `normalise_batch` where it is at hand."""
    data, offsets = text_buffers(normalise_batch(texts) if normalised is None else normalised)
    view = data.data
    bounds = offsets.tolist()
    found = [
        _digest(view[start:end], "" if end > start else texts[row].as_py())
        for row, (start, end) in enumerate(pairwise(bounds))
    ]
    return pa.array(found, pa.binary(DIGEST_BYTES))
