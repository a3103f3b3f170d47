"""Hands a column of texts through the kernels, a few documents at a time, and keeps what they count."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipeline.text import c4
from pipeline.text.classes import classes, groups
from pipeline.text.kernels import c4_lines, compression, decode, lines, repetition, words

CHUNK = 1 << 18
"""Bytes of text that pass through all kernels together, so that what these hand on stays in cache."""


@dataclass(frozen=True)
class Counts:
    """int64 [documents, COUNTS of the kernel]; c4: [documents, variants, COUNTS]; characters: [documents]."""

    characters: np.ndarray
    decoded: np.ndarray
    words: np.ndarray
    lines: np.ndarray
    blocks: np.ndarray
    """Paragraphs, [documents]."""
    repetition: np.ndarray
    sizes: np.ndarray
    """Bytes of UTF-8, [documents]."""
    matched: np.ndarray
    """Of these, those that pipeline.text.kernels.compression copies, [documents]."""
    c4: np.ndarray


class _Scratch:
    """What the kernels hand to one another, for so many bytes of text and documents."""

    def __init__(self, size: int, documents: int) -> None:
        self.points = np.empty(size, np.uint32)
        self.kinds = np.empty(size, np.uint16)
        self.words = np.empty(size, np.uint64)
        self.word_lengths = np.empty(size, np.int32)
        self.firsts = np.empty(size, np.int64)
        self.ends = np.empty(size, np.int64)
        self.lines = np.empty(size, np.uint64)
        self.blocks = np.empty(size, np.uint64)
        self.block_firsts = np.empty(size, np.int64)
        self.block_ends = np.empty(size, np.int64)
        self.offsets = np.empty((4, documents + 1), np.int64)


def bytes_of(texts: pa.StringArray) -> tuple[np.ndarray, np.ndarray]:
    """UTF-8 bytes (uint8) and offsets into them (int32 [rows + 1]) of a string column without nulls, not copied."""
    _, offsets, data = texts.buffers()
    # Numba compiles for read-only arrays: a stand-in for nothing must be one too.
    start = np.frombuffer(offsets, np.int32, len(texts) + 1, 4 * texts.offset) if len(texts) else np.zeros(1, np.int32)
    start.setflags(write=False)
    return np.frombuffer(data if data is not None else b"", np.uint8), start


def row_slices(offsets: np.ndarray) -> Iterator[slice]:
    """Rows of at most CHUNK bytes; a longer document alone."""
    start, last = 0, len(offsets) - 1
    while start < last:
        end = int(np.searchsorted(offsets, np.int64(offsets[start]) + CHUNK, "right")) - 1
        end = min(max(end, start + 1), last)
        yield slice(start, end)
        start = end


def count(
    texts: pa.StringArray,
    terminal: np.ndarray,
    limits: c4.LineLimits = c4.DEFAULT_LIMITS,
    min_words: Sequence[float] = (),
    only_c4: bool = False,
) -> Counts:
    """Counts everything. `terminal`, bool [rows]: whether lines must end with an end mark to be left by C4.

    C4's lines are counted once for each of `min_words` (of none: that of `limits`). `only_c4` leaves the counts of
    words and repetition at zero.
    """
    data, offsets = bytes_of(texts)
    rows = len(texts)
    least = np.array(min_words or [limits.min_words or 0], np.float64)
    longest = np.inf if limits.max_word_length is None else float(limits.max_word_length)
    terminal = np.ascontiguousarray(terminal & limits.terminal)
    slices = list(row_slices(offsets))
    tables = classes(), groups()
    size = max((int(offsets[part.stop]) - int(offsets[part.start]) for part in slices), default=0) + 1
    made = _Scratch(size, max((part.stop - part.start for part in slices), default=0))
    out = Counts(
        characters=np.zeros(rows, np.int64),
        decoded=np.zeros((rows, decode.COUNTS), np.int64),
        words=np.zeros((rows, words.COUNTS), np.int64),
        lines=np.zeros((rows, lines.COUNTS), np.int64),
        blocks=np.zeros(rows, np.int64),
        repetition=np.zeros((rows, repetition.COUNTS), np.int64),
        sizes=np.diff(offsets).astype(np.int64),
        matched=np.zeros(rows, np.int64),
        c4=np.zeros((rows, len(least), c4_lines.COUNTS), np.int64),
    )
    for part in slices:
        at, word_at, line_at, block_at = made.offsets[:, : part.stop - part.start + 1]
        decode.decode(
            data, offsets[part.start : part.stop + 1], *tables, made.points, made.kinds, at, out.decoded[part]
        )
        lines.lines(
            made.points,
            made.kinds,
            at,
            made.firsts,
            made.ends,
            made.lines,
            line_at,
            made.blocks,
            made.block_firsts,
            made.block_ends,
            block_at,
            out.lines[part],
        )
        c4_lines.c4_lines(
            made.points,
            made.kinds,
            made.firsts,
            made.ends,
            line_at,
            terminal[part],
            longest,
            least,
            limits.javascript,
            limits.policy,
            out.c4[part],
        )
        if only_c4:
            continue
        out.characters[part] = np.diff(at)
        out.blocks[part] = np.diff(block_at)
        compression.compression(data, offsets[part.start : part.stop + 1], out.matched[part])
        words.words(made.points, made.kinds, at, made.words, made.word_lengths, word_at, out.words[part])
        repetition.repetition(
            made.words,
            made.word_lengths,
            word_at,
            made.lines,
            made.firsts,
            made.ends,
            line_at,
            made.blocks,
            made.block_firsts,
            made.block_ends,
            block_at,
            out.repetition[part],
        )
    return out


def count_c4(texts: pa.StringArray, terminal: np.ndarray, limits: c4.LineLimits) -> np.ndarray:
    """int64 [rows, COUNTS of c4_lines]: C4's counts under these limits."""
    return count(texts, terminal, limits, only_c4=True).c4[:, 0]
