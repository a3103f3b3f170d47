"""Statistics of clean text, one column each: what the rules of pipeline.text.rules are stated over.

Definitions used throughout
- line: a non-blank line. Blank lines never count, neither above nor below a fraction line.
- paragraph: lines with no blank line between them.
- chunk: a run of characters without white space.
- word: inside a chunk, from its first to its last letter, mark or digit, so that punctuation around it does not count;
  in unspaced scripts (Han, kana, Thai, Lao, Khmer, Myanmar) each letter with its marks is a word of its own.
- symbol: a chunk without any letter, mark or digit.
- letter, mark, number: Unicode's categories L, M, N; upper-case is Lu; `digits` counts decimal ones.
- script: of a letter or mark, by its Unicode block (diacritics that go with any script have none).
- URL: `://` after an ASCII letter, or `www.` that is not part of something longer.
- copy: an occurrence after the first of the same line (white space at its ends left out), paragraph or n-gram of words.
- A fraction with nothing below its line is 0.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.records import with_columns
from pipeline.text import c4
from pipeline.text.counts import Counts, count, count_c4
from pipeline.text.kernels import decode, lines, repetition, words
from pipeline.text.script import UNTERMINATED


@dataclass(frozen=True)
class Statistic:
    """One column: `unit` completes "31 ..." in explanations."""

    unit: str
    meaning: str
    integer: bool = True

    @property
    def type(self) -> pa.DataType:
        return pa.int64() if self.integer else pa.float64()


def _repeated(unit: str, meaning: str) -> Statistic:
    return Statistic(unit, meaning, False)


def _c4_statistics(prefix: str, least: int) -> dict[str, Statistic]:
    return {
        f"{prefix}_lines_long_word": Statistic("lines with too long a word", "lines cut for a word above the limit"),
        f"{prefix}_lines_unterminated": Statistic(
            "lines without an end mark", "further lines cut for not ending a sentence"
        ),
        f"{prefix}_lines_short": Statistic(
            "lines of too few words", f"further lines cut for fewer than {least} words, unless configured otherwise"
        ),
        f"{prefix}_lines_javascript": Statistic("lines about javascript", "further lines cut for 'javascript'"),
        f"{prefix}_lines_policy": Statistic(
            "lines about policies", "further lines cut for terms of use, privacy or cookies"
        ),
        f"{prefix}_lines_left": Statistic("lines left after cutting", "lines that no line rule cuts"),
        f"{prefix}_lorem_ipsum": Statistic(
            "lines with lorem ipsum", "lines with 'lorem ipsum' that earlier line rules let pass"
        ),
        f"{prefix}_curly_brackets": Statistic("curly brackets", "'{' in lines that earlier line rules let pass"),
        f"{prefix}_sentences": Statistic("sentences after cutting", "sentences in the lines left"),
    }


STATISTICS: dict[str, Statistic] = {
    "characters": Statistic("characters", "code points of the text"),
    "words": Statistic("words", "words; in unspaced scripts letters"),
    "mean_word_length": Statistic(
        "characters per word on average", "code points of words / words, letters of unspaced scripts left out", False
    ),
    "hash_ratio": Statistic("hash signs per word", "'#' / (words + symbols)", False),
    "ellipsis_ratio": Statistic("ellipses per word", "('...' + '…') / (words + symbols)", False),
    "bullet_lines": Statistic(
        "of lines start with a bullet", "lines that start with • ‣ ◦ ▪, or with - * and a space / lines", False
    ),
    "ellipsis_lines": Statistic("of lines end with an ellipsis", "lines that end with '...' or '…' / lines", False),
    "alphabetic_words": Statistic(
        "of words hold a letter", "words with at least one letter / (words + symbols)", False
    ),
    "stop_words": Statistic(
        "different English stop words", "how many of the, be, to, of, and, that, have, with occur, in any case"
    ),
    "lines": Statistic("lines", "lines that are not blank"),
    "terminal_lines": Statistic(
        "of lines end with terminal punctuation",
        "lines that end with an end mark of any script or a quote / lines",
        False,
    ),
    "short_lines": Statistic(
        "of lines are short",
        f"lines of at most {lines.SHORT_LINE} code points, outer white space left out / lines",
        False,
    ),
    "newline_ratio": Statistic("line feeds per word", "line feeds / words", False),
    "duplicate_lines": _repeated("of lines are copies", "copies of earlier lines / lines"),
    "duplicate_line_characters": _repeated(
        "of characters are in copied lines", "code points of copies of earlier lines / code points of lines"
    ),
    "duplicate_paragraphs": _repeated("of paragraphs are copies", "copies of earlier paragraphs / paragraphs"),
    "duplicate_paragraph_characters": _repeated(
        "of characters are in copied paragraphs", "code points of copies of earlier paragraphs / code points of lines"
    ),
    **{
        f"top_{size}gram_characters": _repeated(
            f"of characters are in the most frequent {size}-gram",
            f"code points of words in the {size}-gram of words that occurs most often, at least twice / code points of "
            "words; among equally frequent ones the largest; each code point once",
        )
        for size in repetition.TOP
    },
    **{
        f"duplicate_{size}gram_characters": _repeated(
            f"of characters are in copied {size}-grams",
            f"code points of words in copies of earlier {size}-grams of words / code points of words; "
            "each code point once",
        )
        for size in repetition.DUPLICATE
    },
    "median_word_length": Statistic(
        "characters per word in the middle",
        "median code points of words, letters of unspaced scripts left out; between two the mean of both; longer words "
        f"count as {words.LONGEST}",
        False,
    ),
    "upper_case_words": Statistic(
        "of words are in capitals",
        "words of at least two code points with letters, all of them upper-case / words; letters of unspaced scripts "
        "left out",
        False,
    ),
    "upper_case": Statistic("of letters are upper-case", "upper-case letters / letters", False),
    "digits": Statistic("of characters are digits", "decimal digits of any script / visible code points", False),
    "non_alphabetic": Statistic(
        "of characters are no letters", "code points that are neither letter nor mark / visible code points", False
    ),
    "punctuation": Statistic(
        "of characters are punctuation or symbols",
        "code points that are neither letter, mark nor number / visible code points",
        False,
    ),
    "white_space": Statistic("of characters are white space", "white space / code points", False),
    "curly_brackets": Statistic("opening curly brackets", "'{'"),
    "urls": Statistic("URLs", "URLs"),
    "url_ratio": Statistic("URLs per word", "URLs / (words + symbols)", False),
    "script_share": Statistic(
        "of letters are in one script", "letters and marks of the script that has most / letters and marks", False
    ),
    "second_script_share": Statistic(
        "of letters are in a second script",
        "letters and marks of the script that has most but one / letters and marks",
        False,
    ),
    "scripts": Statistic(
        "scripts", f"scripts with at least {decode.MINOR:.0%} of the letters and marks that have a script"
    ),
    "entropy": Statistic(
        "bits per byte", "Shannon entropy of the bytes of UTF-8, to six places; 4 to 5 for Latin letters", False
    ),
    "compression": Statistic(
        "of bytes are copied from before",
        "bytes of UTF-8 in matches with earlier ones, as pipeline/text/kernels/compression.py finds them / bytes; the "
        "larger, the better zlib compresses",
        False,
    ),
    **_c4_statistics("c4", 5),
    **_c4_statistics("c4_datatrove", 3),
}
"""Column -> its definition and unit. `measure` adds them in this order."""

C4_VARIANTS = {"c4": c4.DEFAULT_LIMITS, "c4-datatrove": c4.DATATROVE_LIMITS}
"""Set of rules -> the limits that its columns are counted with."""


def c4_columns(variant: str) -> tuple[str, ...]:
    """The columns of a set of C4 rules, in the order of the kernel's counts."""
    return tuple(_c4_statistics(variant.replace("-", "_"), 0))


C4_COLUMNS = c4_columns("c4")


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """float64; nothing of nothing is 0."""
    return part / np.maximum(whole, 1)


def _values(counts: Counts) -> Iterator[np.ndarray]:
    """The columns of STATISTICS in their order, [rows]."""
    of_words, of_lines, copies = counts.words.T, counts.lines.T, counts.repetition.T
    units = of_words[words.WORDS] + of_words[words.SYMBOLS]
    yield counts.characters
    yield of_words[words.WORDS]
    yield _share(of_words[words.SPACED_LENGTH], of_words[words.SPACED])
    yield _share(counts.decoded[:, decode.HASHES], units)
    yield _share(counts.decoded[:, decode.ELLIPSES], units)
    yield _share(of_lines[lines.BULLETS], of_lines[lines.LINES])
    yield _share(of_lines[lines.ELLIPSES], of_lines[lines.LINES])
    yield _share(of_words[words.ALPHABETIC], units)
    yield of_words[words.STOP_WORDS]
    yield of_lines[lines.LINES]
    yield _share(of_lines[lines.TERMINATED], of_lines[lines.LINES])
    yield _share(of_lines[lines.SHORT], of_lines[lines.LINES])
    yield _share(counts.decoded[:, decode.NEWLINES], of_words[words.WORDS])
    yield _share(copies[repetition.LINES], of_lines[lines.LINES])
    yield _share(copies[repetition.LINE_CHARACTERS], of_lines[lines.CHARACTERS])
    yield _share(copies[repetition.BLOCKS], counts.blocks)
    yield _share(copies[repetition.BLOCK_CHARACTERS], of_lines[lines.CHARACTERS])
    for column in range(repetition.FIRST_TOP, repetition.WORD_CHARACTERS):
        yield _share(copies[column], copies[repetition.WORD_CHARACTERS])
    yield from _of_characters(counts)
    for variant in range(counts.c4.shape[1]):
        yield from counts.c4[:, variant].T


def _of_characters(counts: Counts) -> Iterator[np.ndarray]:
    """The columns from median_word_length to compression."""
    of_words, decoded = counts.words.T, counts.decoded.T
    visible = counts.characters - decoded[decode.SPACES]
    alphabetic = decoded[decode.LETTERS] + decoded[decode.MARKS]
    numbers = decoded[decode.DECIMALS] + decoded[decode.NUMBERS]
    yield of_words[words.TWICE_MEDIAN] / 2
    yield _share(of_words[words.CAPITALS], of_words[words.SPACED])
    yield _share(decoded[decode.CAPITALS], decoded[decode.LETTERS])
    yield _share(decoded[decode.DECIMALS], visible)
    yield _share(visible - alphabetic, visible)
    yield _share(visible - alphabetic - numbers, visible)
    yield _share(decoded[decode.SPACES], counts.characters)
    yield decoded[decode.CURLY_BRACKETS]
    yield decoded[decode.URLS]
    yield _share(decoded[decode.URLS], of_words[words.WORDS] + of_words[words.SYMBOLS])
    yield _share(decoded[decode.FIRST_SCRIPT], decoded[decode.SCRIPT_LETTERS])
    yield _share(decoded[decode.SECOND_SCRIPT], decoded[decode.SCRIPT_LETTERS])
    yield decoded[decode.SCRIPTS]
    yield decoded[decode.ENTROPY] / 1e6
    yield _share(counts.matched, counts.sizes)


def asks_end_marks(batch: pa.RecordBatch) -> np.ndarray:
    """bool [rows]: whether the row's script has end marks, so that C4 may ask for them."""
    return ~np.asarray(pc.is_in(batch["script"], pa.array(UNTERMINATED)).to_numpy(zero_copy_only=False), bool)


def as_columns(values: Iterable[np.ndarray], names: Iterable[str], missing: np.ndarray) -> dict[str, pa.Array]:
    """Arrow columns of the named statistics; null where `missing`, bool [rows]."""
    return {
        name: pa.array(column, STATISTICS[name].type, mask=missing) for name, column in zip(names, values, strict=True)
    }


def measure(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Adds every column of STATISTICS (needs `script`); null in quarantined rows. C4's use its default line limits."""
    missing = batch["quarantine"].is_valid().to_numpy(zero_copy_only=False)
    counts = count(
        batch["text"], asks_end_marks(batch), min_words=[limits.min_words or 0 for limits in C4_VARIANTS.values()]
    )
    return with_columns(batch, as_columns(_values(counts), STATISTICS, missing))


def measure_c4(batch: pa.RecordBatch, variant: str, limits: c4.LineLimits) -> pa.RecordBatch:
    """The columns of one set of C4 rules anew, under other line limits than those `measure` counts with."""
    missing = batch["quarantine"].is_valid().to_numpy(zero_copy_only=False)
    values = count_c4(batch["text"], asks_end_marks(batch), limits).T
    return with_columns(batch, as_columns(values, c4_columns(variant), missing))
