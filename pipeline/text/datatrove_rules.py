"""The sets `gopher-quality-datatrove`, `gopher-repetition-datatrove` and `fineweb-datatrove`: datatrove's own verdicts.

For corpora that shall be what datatrove makes, oddities included. The order within a set is that of its filter, so that
the reason is the same too. `c4-datatrove` stands with C4's other set.
"""

from pipeline.text.kernels.peer_words import DUPLICATE, TOP
from pipeline.text.rule import Comparison, Rule

_QUALITY = "datatrove 0.10, GopherQualityFilter"
_REPETITION = "datatrove 0.10, GopherRepetitionFilter"
_FINEWEB = "datatrove 0.10, FineWebQualityFilter"
_TOKENS = "words are tokens near those of spaCy's English tokenizer"


def _rule(
    group: str, name: str, statistic: str, comparison: Comparison, limit: float, source: str, meaning: str
) -> Rule:
    on_tokens = "word" in statistic or "gram" in statistic or statistic.endswith("ratio")
    return Rule(
        f"{group.removeprefix('gopher-') if 'repetition' in group else group.replace('-quality', '')}.{name}",
        group,
        f"datatrove_{statistic}",
        comparison,
        limit,
        source,
        meaning,
        variant=_TOKENS if on_tokens else "",
        on_demand=True,
    )


def _quality(name: str, statistic: str, comparison: Comparison, limit: float, meaning: str) -> Rule:
    return _rule("gopher-quality-datatrove", name, statistic, comparison, limit, _QUALITY, meaning)


def _repeated(statistic: str, limit: float, meaning: str) -> Rule:
    return _rule("gopher-repetition-datatrove", f"max_{statistic}", statistic, "max", limit, _REPETITION, meaning)


def _fineweb(name: str, statistic: str, comparison: Comparison, limit: float, meaning: str) -> Rule:
    return _rule("fineweb-datatrove", name, statistic, comparison, limit, _FINEWEB, meaning)


DATATROVE_RULES: tuple[Rule, ...] = (
    _quality("min_words", "words", "min", 50, "too few words"),
    _quality("max_words", "words", "max", 100_000, "too many words"),
    _quality("min_mean_word_length", "mean_word_length", "min", 3, "words too short on average"),
    _quality("max_mean_word_length", "mean_word_length", "max", 10, "words too long on average"),
    _quality("max_hash_ratio", "hash_ratio", "max", 0.1, "too many hash signs"),
    _quality("max_ellipsis_ratio", "ellipsis_ratio", "max", 0.1, "too many ellipses"),
    _quality("max_bullet_lines", "bullet_lines", "max", 0.9, "nearly all lines are bullets"),
    _quality("max_ellipsis_lines", "ellipsis_lines", "max", 0.3, "too many cut-off lines"),
    _quality("min_alphabetic_words", "alphabetic_words", "min", 0.8, "too many numbers and symbols"),
    _quality("min_stop_words", "stop_words", "min", 2, "English without sentences, or another language"),
    _repeated("duplicate_paragraphs", 0.3, "many paragraphs are copies"),
    _repeated("duplicate_paragraph_characters", 0.2, "much of the text is copied paragraphs"),
    _repeated("duplicate_lines", 0.3, "many lines are copies"),
    _repeated("duplicate_line_characters", 0.2, "much of the text is copied lines"),
    *(
        _repeated(f"top_{size}gram_characters", limit, f"one {size}-gram makes up too much of the text")
        for size, limit in zip(TOP, (0.2, 0.18, 0.16), strict=True)
    ),
    *(
        _repeated(f"duplicate_{size}gram_characters", limit, f"too much of the text is copied {size}-grams")
        for size, limit in zip(DUPLICATE, (0.15, 0.14, 0.13, 0.12, 0.11, 0.1), strict=True)
    ),
    _fineweb("min_terminal_lines", "terminal_lines", "min", 0.12, "hardly any line ends with an end mark"),
    _fineweb("max_short_lines", "short_lines", "max", 0.67, "most lines are short"),
    _fineweb("max_copied_characters", "copied_characters", "max", 0.01, "some of the text is copied lines"),
    _fineweb("max_newline_ratio", "newline_ratio", "max", 0.3, "a list of words, not text"),
)
"""In the order of each filter's checks."""
