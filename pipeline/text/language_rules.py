"""The rules about languages, which decide where the config's section `language` asks for anything, and their columns.

They stand before all other rules but are no part of any set: their limits are in `language`, by language.
"""

from collections.abc import Sequence

import pyarrow as pa

from pipeline.config import LanguageConfig
from pipeline.text.rule import Rule
from pipeline.text.statistics import Statistic

LANGUAGE_STATISTICS: dict[str, Statistic] = {
    "language_kept": Statistic("among the kept languages", "1 if the language is among `language.keep`, else 0"),
    "language_margin": Statistic(
        "above the score wanted",
        "score of the language less that of `language.min_scores` or `language.min_score`",
        False,
    ),
    "language_share": Statistic(
        "of letters in one language",
        "letters of paragraphs in the language that most are in / letters of paragraphs in any, of at most 12 runs of "
        "paragraphs; 1 without `language.vote`",
        False,
    ),
}
"""Columns that `identify` adds."""

KEEP = Rule(
    "language.keep",
    "language",
    "language_kept",
    "min",
    1,
    "this config",
    "a language that is not kept",
    always=True,
)
MIN_SCORE = Rule(
    "language.min_score",
    "language",
    "language_margin",
    "min",
    0,
    "this config",
    "the language is too uncertain",
    always=True,
)

FAULT = "language_fault"
"""Column of what is wrong with a row's language, for people. Only where `rules_for` has any rules."""


def rules_for(config: LanguageConfig) -> tuple[Rule, ...]:
    """The rules that decide under this config."""
    least = config.min_score > 0 or any(config.min_scores.values())
    return (*([KEEP] if config.keep else []), *([MIN_SCORE] if least else []))


def rules_of_batch(batch: pa.RecordBatch) -> tuple[Rule, ...]:
    """The rules that decide on a batch that was identified: both, where the config asked for any."""
    return (KEEP, MIN_SCORE) if FAULT in batch.schema.names else ()


def explanations(batch: pa.RecordBatch) -> Sequence[str | None]:
    """Per row: why its language is unwanted, or None."""
    return batch[FAULT].to_pylist() if FAULT in batch.schema.names else [None] * batch.num_rows
