"""The statistics of datatrove's filters, as datatrove 0.10 defines them: what the sets `*-datatrove` are stated over.

Sources: datatrove/pipeline/filters/gopher_quality_filter.py, gopher_repetition_filter.py, fineweb_quality_filter.py.
datatrove finds English words with spaCy's tokenizer, in any language unless told another. Here `kernels.peer_tokens`
comes near to it; given spaCy's own tokens all values are the same. Known oddities are kept: blank lines count as lines,
white space counts as characters, the most frequent n-gram may occur once, overlapping ones count twice (above 1).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipeline.records import with_columns
from pipeline.text.counts import bytes_of, row_slices
from pipeline.text.datatrove_exceptions import table
from pipeline.text.datatrove_marks import marks
from pipeline.text.kernels import peer_decode, peer_lines, peer_tokens, peer_words
from pipeline.text.statistics import Statistic

_WORD = "words are tokens as spaCy makes them of English, punctuation marks among them"


def _part(unit: str, meaning: str) -> Statistic:
    return Statistic(unit, meaning, False)


DATATROVE_STATISTICS: dict[str, Statistic] = {
    "datatrove_words": Statistic("words that are more than punctuation", f"tokens not of punctuation alone; {_WORD}"),
    "datatrove_mean_word_length": _part(
        "characters per word on average", "code points of tokens not of punctuation alone / such tokens"
    ),
    "datatrove_hash_ratio": _part("hash signs per token", "'#' / tokens"),
    "datatrove_ellipsis_ratio": _part("ellipses per token", "('...' + '…') / tokens"),
    "datatrove_bullet_lines": _part(
        "of lines start with a bullet", "lines that start with • or - after white space / lines, blank ones too"
    ),
    "datatrove_ellipsis_lines": _part(
        "of lines end with an ellipsis", "lines that end with '...' or '…' / lines, blank ones too"
    ),
    "datatrove_alphabetic_words": _part("of tokens hold a letter", "tokens with a letter / tokens"),
    "datatrove_stop_words": Statistic(
        "different English stop words", "how many of the, be, to, of, and, that, have, with are tokens, in lower case"
    ),
    "datatrove_duplicate_paragraphs": _part(
        "of paragraphs are copies", "copies of earlier paragraphs / paragraphs, parted by two line feeds or more"
    ),
    "datatrove_duplicate_paragraph_characters": _part(
        "of characters are in copied paragraphs", "code points of copies of earlier paragraphs / code points"
    ),
    "datatrove_duplicate_lines": _part(
        "of lines are copies", "copies of earlier lines / lines, parted by runs of line feeds"
    ),
    "datatrove_duplicate_line_characters": _part(
        "of characters are in copied lines", "code points of copies of earlier lines / code points"
    ),
    **{
        f"datatrove_top_{size}gram_characters": _part(
            f"of characters are in the most frequent {size}-gram",
            f"length of the most frequent {size}-gram of tokens, joined by spaces, times its occurrences / code "
            "points; the first among equals",
        )
        for size in peer_words.TOP
    },
    **{
        f"datatrove_duplicate_{size}gram_characters": _part(
            f"of characters are in copied {size}-grams",
            f"code points of copies of earlier {size}-grams of tokens that overlap no copy before / code points",
        )
        for size in peer_words.DUPLICATE
    },
    "datatrove_terminal_lines": _part(
        "of lines end with terminal punctuation", "lines whose last character is an end mark of any script / lines"
    ),
    "datatrove_short_lines": _part(
        "of lines are short", f"lines of at most {peer_lines.SHORT_LINE} code points, white space counted / lines"
    ),
    "datatrove_copied_characters": _part(
        "of characters are in copied lines", "code points of copies of earlier lines / code points but line feeds"
    ),
    "datatrove_newline_ratio": _part("line feeds per token", "line feeds / tokens"),
}
"""Column -> its definition. Made only where a rule in use is stated over one of them: see `measure_datatrove`."""


@dataclass(frozen=True)
class Tokens:
    """Tokens of a column of texts, in order: code points from `starts` to `ends` of their document, int64; those of
    document d are offsets[d] to offsets[d + 1], int64 [rows + 1]."""

    starts: np.ndarray
    ends: np.ndarray
    offsets: np.ndarray


@dataclass(frozen=True)
class DatatroveCounts:
    """int64 [documents, COUNTS of the kernel]; characters: [documents]."""

    characters: np.ndarray
    decoded: np.ndarray
    lines: np.ndarray
    words: np.ndarray
    tokens: Tokens
    """As they were given or found."""


def count_datatrove(texts: pa.StringArray, tokens: Tokens | None = None) -> DatatroveCounts:
    """Counts everything, on these tokens or, without any, on those of `kernels.peer_tokens`."""
    data, offsets = bytes_of(texts)
    rows = len(texts)
    characters = np.zeros(rows, np.int64)
    decoded = np.zeros((rows, peer_decode.COUNTS), np.int64)
    of_lines = np.zeros((rows, peer_lines.COUNTS), np.int64)
    of_words = np.zeros((rows, peer_words.COUNTS), np.int64)
    found: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for part in row_slices(offsets):
        size = int(offsets[part.stop]) - int(offsets[part.start]) + 1
        points, kinds = np.empty(size, np.uint32), np.empty(size, np.uint16)
        at = np.empty(part.stop - part.start + 1, np.int64)
        peer_decode.peer_decode(data, offsets[part.start : part.stop + 1], marks(), points, kinds, at, decoded[part])
        characters[part] = np.diff(at)
        newlines = np.ascontiguousarray(decoded[part, peer_decode.NEWLINES])
        peer_lines.peer_lines(points, kinds, at, newlines, of_lines[part])
        if tokens is None:
            starts, ends = np.empty(size, np.int64), np.empty(size, np.int64)
            word_at = np.empty(len(at), np.int64)
            peer_tokens.peer_tokens(points, kinds, at, *table(), starts, ends, word_at)
            starts, ends = starts[: word_at[-1]], ends[: word_at[-1]]
            base = np.repeat(at[:-1], np.diff(word_at))
            found.append((starts - base, ends - base, np.diff(word_at)))
        else:
            a, b = tokens.offsets[part.start], tokens.offsets[part.stop]
            word_at = tokens.offsets[part.start : part.stop + 1] - a
            base = np.repeat(at[:-1], np.diff(word_at))
            starts, ends = tokens.starts[a:b] + base, tokens.ends[a:b] + base
        peer_words.peer_words(points, kinds, starts, ends, word_at, of_words[part])
    if tokens is None:
        none = np.zeros(0, np.int64)
        joined = [np.concatenate([none, *(piece[which] for piece in found)]) for which in range(3)]
        tokens = Tokens(joined[0], joined[1], np.concatenate([[0], np.cumsum(joined[2])]))
    return DatatroveCounts(characters, decoded, of_lines, of_words, tokens)


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """float64; nothing of nothing is 0, where datatrove divides by zero."""
    return part / np.maximum(whole, 1)


def values(counts: DatatroveCounts) -> Iterator[np.ndarray]:
    """The columns of DATATROVE_STATISTICS in their order, [rows]."""
    of_words, of_lines, characters = counts.words.T, counts.lines.T, counts.characters
    newlines = counts.decoded[:, peer_decode.NEWLINES]
    yield of_words[peer_words.FILLED]
    yield _share(of_words[peer_words.FILLED_CHARACTERS], of_words[peer_words.FILLED])
    yield _share(counts.decoded[:, peer_decode.HASHES], of_words[peer_words.WORDS])
    yield _share(counts.decoded[:, peer_decode.ELLIPSES], of_words[peer_words.WORDS])
    yield _share(of_lines[peer_lines.BULLETS], of_lines[peer_lines.SPLIT_LINES])
    yield _share(of_lines[peer_lines.ELLIPSES], of_lines[peer_lines.SPLIT_LINES])
    yield _share(of_words[peer_words.ALPHABETIC], of_words[peer_words.WORDS])
    yield of_words[peer_words.STOP_WORDS]
    yield _share(of_lines[peer_lines.PARAGRAPH_COPIES], of_lines[peer_lines.PARAGRAPHS])
    yield _share(of_lines[peer_lines.PARAGRAPH_CHARACTERS], characters)
    yield _share(of_lines[peer_lines.LINE_COPIES], of_lines[peer_lines.LINES])
    yield _share(of_lines[peer_lines.LINE_CHARACTERS], characters)
    for column in range(peer_words.FIRST_TOP, peer_words.COUNTS):
        yield _share(of_words[column], characters)
    yield _share(of_lines[peer_lines.TERMINATED], of_lines[peer_lines.FILLED_LINES])
    yield _share(of_lines[peer_lines.SHORT], of_lines[peer_lines.FILLED_LINES])
    yield _share(of_lines[peer_lines.FILLED_CHARACTERS], characters - newlines)
    yield _share(newlines, of_words[peer_words.WORDS])


def measure_datatrove(batch: pa.RecordBatch, tokens: Tokens | None = None) -> pa.RecordBatch:
    """Adds every column of DATATROVE_STATISTICS; null in quarantined rows. `tokens`: of others' making."""
    missing = batch["quarantine"].is_valid().to_numpy(zero_copy_only=False)
    columns = zip(DATATROVE_STATISTICS.items(), values(count_datatrove(batch["text"], tokens)), strict=True)
    return with_columns(batch, {name: pa.array(column, kind.type, mask=missing) for (name, kind), column in columns})
