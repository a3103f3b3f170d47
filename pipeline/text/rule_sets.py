"""The built-in rules as data: over which statistic, from which limit on, for whom, and where the limit comes from."""

from pipeline.text.datatrove_rules import DATATROVE_RULES
from pipeline.text.kernels.repetition import DUPLICATE, TOP
from pipeline.text.rule import EVERYONE, Comparison, Rule, Scope
from pipeline.text.script import SCRIPTS, UNSPACED, UNTERMINATED

ALPHABETS = ("latin", "greek", "cyrillic", "armenian", "georgian", "hebrew", "arabic", "devanagari")
"""Scripts in which words are separated by spaces and spelt by letters, with lengths like those of English."""
# Vietnamese writes a space after every syllable: 3.3 characters on average, too near to the limit of 3.
LONG_WORDS = Scope(scripts=ALPHABETS, not_languages=("vi",))
SPELT = Scope(scripts=ALPHABETS, not_languages=("zh", "ja", "th", "lo", "km", "my"))
"""As above, but no text of an unspaced script that is full of links or code."""
ENGLISH = Scope(languages=("en",))
TERMINATED = Scope(scripts=tuple(script for script in SCRIPTS if script not in UNTERMINATED))
SPACED = Scope(scripts=tuple(script for script in SCRIPTS if script not in UNSPACED))

_GOPHER = "Gopher, Rae et al. 2021, appendix A.1.1"
_REPETITION = "Gopher, Rae et al. 2021, table A1"
_C4 = "C4, Raffel et al. 2020, section 2.2, as in tensorflow_datasets/text/c4_utils.py"
_DATATROVE = "datatrove's C4QualityFilter, as FineWeb ran it"
_FINEWEB = "FineWeb, Penedo et al. 2024, section 3.6, as in datatrove's FineWebQualityFilter"
_SILIANG = "Siliang: looser than its model, so that verse, plays, lists and short texts of any script pass"
_UNIT = "words are white-space separated with outer punctuation stripped; letters in unspaced scripts"
_COPIES = "copies after the first; characters of the same lines below the fraction line"
_ONCE = "each character once; at least two occurrences; characters of words below the fraction line"


def _gopher(
    name: str,
    statistic: str,
    comparison: Comparison,
    limit: float,
    meaning: str,
    scope: Scope = EVERYONE,
    variant: str = "",
) -> Rule:
    return Rule(
        f"gopher.{name}", "gopher-quality", statistic, comparison, limit, _GOPHER, meaning, scope, variant=variant
    )


def _repeated(statistic: str, limit: float, meaning: str, variant: str, scope: Scope = EVERYONE) -> Rule:
    return Rule(
        f"repetition.max_{statistic}",
        "gopher-repetition",
        statistic,
        "max",
        limit,
        _REPETITION,
        meaning,
        scope,
        variant=variant,
    )


def _c4(name: str, least_words: int, least_sentences: int, source: str) -> tuple[Rule, ...]:
    """The rules of one variant of C4, over columns of its own: what later rules see depends on the lines left."""
    column = name.replace("-", "_")

    def line(
        rule: str, statistic: str, comparison: Comparison, limit: float, meaning: str, scope: Scope, variant: str = ""
    ) -> Rule:
        statistic = f"{column}_lines_{statistic}"
        return Rule(f"{name}.{rule}", name, statistic, comparison, limit, source, meaning, scope, "line", variant)

    def page(
        rule: str,
        statistic: str,
        comparison: Comparison,
        limit: float,
        meaning: str,
        scope: Scope = EVERYONE,
        variant: str = "",
        required: bool = False,
    ) -> Rule:
        return Rule(
            f"{name}.{rule}", name, statistic, comparison, limit, source, meaning, scope, "page", variant, required
        )

    ends = 'C4: . ? ! " but not "..."; here also the end marks of other scripts'
    marks = "Sentences by end marks, not by nltk punkt"
    both = "C4's code takes 5 words and 3 sentences, datatrove 3 and 5"
    return (
        line("max_word_length", "long_word", "max", 1000, "lines with an over-long word are cut", EVERYONE),
        line(
            "terminal_punctuation",
            "unterminated",
            "min",
            1,
            "lines that do not end a sentence are cut; limit 0 keeps them",
            TERMINATED,
            ends,
        ),
        line("min_line_words", "short", "min", least_words, "lines of few words are cut", EVERYONE, both),
        line("javascript", "javascript", "max", 0, "lines with javascript are cut; limit 1 keeps them", EVERYONE),
        line("policy", "policy", "max", 0, "lines on terms, privacy, cookies are cut; limit 1 keeps them", EVERYONE),
        *(() if name != "c4" else (page("max_characters", "characters", "max", 190_000, "over-long page"),)),
        page("lorem_ipsum", f"{column}_lorem_ipsum", "max", 0, "placeholder text"),
        page("curly_bracket", f"{column}_curly_brackets", "max", 0, "probably code"),
        page(
            "min_sentences",
            f"{column}_sentences",
            "min",
            least_sentences,
            "too few sentences after cutting",
            TERMINATED,
            f"{both}. {marks}",
        ),
        page("min_lines", f"{column}_lines_left", "min", 1, "no line is left after cutting", required=True),
    )


def _fineweb(name: str, statistic: str, comparison: Comparison, limit: float, meaning: str, scope: Scope) -> Rule:
    return Rule(f"fineweb.{name}", "fineweb", statistic, comparison, limit, _FINEWEB, meaning, scope, variant=_COPIES)


def _siliang(
    name: str, statistic: str, comparison: Comparison, limit: float, meaning: str, scope: Scope = EVERYONE
) -> Rule:
    return Rule(f"siliang.{name}", "siliang", statistic, comparison, limit, _SILIANG, meaning, scope)


_GOPHER_QUALITY = (
    _gopher("min_words", "words", "min", 50, "too few words", variant=_UNIT),
    _gopher("max_words", "words", "max", 100_000, "too many words", variant=_UNIT),
    _gopher(
        "min_mean_word_length",
        "mean_word_length",
        "min",
        3,
        "words too short on average",
        LONG_WORDS,
        "mean, not median",
    ),
    _gopher(
        "max_mean_word_length",
        "mean_word_length",
        "max",
        10,
        "words too long on average",
        LONG_WORDS,
        "mean, not median",
    ),
    _gopher("max_hash_ratio", "hash_ratio", "max", 0.1, "too many hash signs", variant="occurrences, not words"),
    _gopher("max_ellipsis_ratio", "ellipsis_ratio", "max", 0.1, "too many ellipses", variant="occurrences, not words"),
    _gopher("max_bullet_lines", "bullet_lines", "max", 0.9, "nearly all lines are bullets", variant="non-blank lines"),
    _gopher("max_ellipsis_lines", "ellipsis_lines", "max", 0.3, "too many cut-off lines", variant="non-blank lines"),
    _gopher("min_alphabetic_words", "alphabetic_words", "min", 0.8, "too many numbers and symbols"),
    _gopher(
        "min_stop_words", "stop_words", "min", 2, "English without sentences", ENGLISH, "distinct words, in any case"
    ),
)

# n-grams of letters are another thing than n-grams of words: Gopher's limits say nothing about unspaced scripts.
_GOPHER_REPETITION = (
    _repeated("duplicate_lines", 0.3, "many lines are copies", "copies after the first, of non-blank lines"),
    _repeated("duplicate_paragraphs", 0.3, "many paragraphs are copies", "copies after the first"),
    _repeated("duplicate_line_characters", 0.2, "much of the text is copied lines", _COPIES),
    _repeated("duplicate_paragraph_characters", 0.2, "much of the text is copied paragraphs", _COPIES),
    *(
        _repeated(f"top_{size}gram_characters", limit, f"one {size}-gram makes up too much of the text", _ONCE, SPACED)
        for size, limit in zip(TOP, (0.2, 0.18, 0.16), strict=True)
    ),
    *(
        _repeated(
            f"duplicate_{size}gram_characters", limit, f"too much of the text is copied {size}-grams", _ONCE, SPACED
        )
        for size, limit in zip(DUPLICATE, (0.15, 0.14, 0.13, 0.12, 0.11, 0.1), strict=True)
    ),
)

_FINEWEB_QUALITY = (
    _fineweb("min_terminal_lines", "terminal_lines", "min", 0.12, "hardly any line ends with an end mark", TERMINATED),
    _fineweb("max_short_lines", "short_lines", "max", 0.67, "most lines are short", SPACED),
    _fineweb(
        "max_duplicate_line_characters",
        "duplicate_line_characters",
        "max",
        0.01,
        "some of the text is copied lines",
        EVERYONE,
    ),
    _fineweb("max_newline_ratio", "newline_ratio", "max", 0.3, "a list of words, not text", SPACED),
)

_SILIANG_DEFAULT = (
    _siliang("min_words", "words", "min", 10, "too few words"),
    _siliang("max_hash_ratio", "hash_ratio", "max", 0.5, "too many hash signs"),
    # One in ten words is a sigh in a short talk. Lines that end so are no ground: of those drops most were novels.
    _siliang("max_ellipsis_ratio", "ellipsis_ratio", "max", 0.3, "too many ellipses"),
    _siliang("min_alphabetic_words", "alphabetic_words", "min", 0.6, "too many numbers and symbols"),
    # Greenlandic has 14.2.
    _siliang(
        "max_mean_word_length", "mean_word_length", "max", 16, "words too long on average: code, data or links", SPELT
    ),
    # Headings and licences take up to 0.37 of good documentation, borders of tables more than half.
    _siliang("max_duplicate_line_characters", "duplicate_line_characters", "max", 0.6, "copied lines"),
    _siliang("max_duplicate_paragraph_characters", "duplicate_paragraph_characters", "max", 0.4, "copied paragraphs"),
    _siliang("max_duplicate_10gram_characters", "duplicate_10gram_characters", "max", 0.65, "the same over and over"),
    # Of the Universal Declaration in 500 languages the largest is 0.72, for scripts of three bytes a letter.
    _siliang("max_compression", "compression", "max", 0.75, "little more than the same over and over"),
)

RULES: dict[str, Rule] = {
    rule.name: rule
    for rule in (
        Rule(
            "siliang.min_characters",
            "siliang",
            "characters",
            "min",
            1,
            "Siliang: a record without text is counted and named, not kept",
            "no text, or less than the limit",
            required=True,
            always=True,
        ),
        *_GOPHER_QUALITY,
        *_c4("c4", 5, 3, _C4),
        *_c4("c4-datatrove", 3, 5, _DATATROVE),
        *_GOPHER_REPETITION,
        *_FINEWEB_QUALITY,
        *_SILIANG_DEFAULT,
        *DATATROVE_RULES,
    )
}
"""Every rule by name, in the order in which they decide: the first one that breaks names the reason."""

RULE_SETS: tuple[str, ...] = tuple(dict.fromkeys(rule.set for rule in RULES.values()))
