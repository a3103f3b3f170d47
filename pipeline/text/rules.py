"""The rules as data: over which statistic, from which limit on, for whom, and where the limit comes from."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

from pipeline.config import RulesConfig
from pipeline.text.c4 import LineLimits
from pipeline.text.script import SCRIPTS, UNTERMINATED
from pipeline.text.statistics import STATISTICS


class RuleError(ValueError):
    """A config that names a rule that does not exist or cannot be changed so; the message says what is allowed."""


@dataclass(frozen=True)
class Scope:
    """Whom a rule applies to. None: no restriction."""

    scripts: tuple[str, ...] | None = None
    languages: tuple[str, ...] | None = None
    not_languages: tuple[str, ...] = ()

    def holds(self, script: str, language: str) -> bool:
        return (
            (self.scripts is None or script in self.scripts)
            and (self.languages is None or language in self.languages)
            and language not in self.not_languages
        )


@dataclass(frozen=True)
class Rule:
    """One rule. A page rule drops the page whose statistic is below ("min") or above ("max") the limit.

    A line rule cuts lines: its limit is one line's, its statistic counts the lines that it cuts. It never drops a page.
    """

    name: str
    set: str
    statistic: str
    comparison: Literal["min", "max"]
    limit: float
    source: str
    meaning: str
    scope: Scope = Scope()
    unit: Literal["page", "line"] = "page"
    variant: str = ""
    """Where definitions differ in the field: which one this is."""
    required: bool = False
    """Cannot be disabled where its set is in use; the set "siliang" always is."""

    def breaks(self, score: float, limit: float) -> bool:
        """Whether this score is beyond the limit; for a line rule, whether it cuts any line."""
        if self.unit == "line":
            return score > 0
        return score < limit if self.comparison == "min" else score > limit


EVERYONE = Scope()
ALPHABETS = ("latin", "greek", "cyrillic", "armenian", "georgian", "hebrew", "arabic", "devanagari")
"""Scripts in which words are separated by spaces and spelt by letters, with lengths like those of English."""
# Vietnamese writes a space after every syllable: 3.3 characters on average, too near to the limit of 3.
LONG_WORDS = Scope(scripts=ALPHABETS, not_languages=("vi",))
ENGLISH = Scope(languages=("en",))
TERMINATED = Scope(scripts=tuple(script for script in SCRIPTS if script not in UNTERMINATED))

_GOPHER = "Gopher, Rae et al. 2021, appendix A.1.1"
_C4 = "C4, Raffel et al. 2020, section 2.2, as in tensorflow_datasets/text/c4_utils.py"
_UNIT = "words are white-space separated with outer punctuation stripped; letters in unspaced scripts"


def _gopher(
    name: str,
    statistic: str,
    comparison: Literal["min", "max"],
    limit: float,
    meaning: str,
    scope: Scope = EVERYONE,
    variant: str = "",
) -> Rule:
    return Rule(
        f"gopher.{name}", "gopher-quality", statistic, comparison, limit, _GOPHER, meaning, scope, variant=variant
    )


def _c4_line(
    name: str,
    statistic: str,
    comparison: Literal["min", "max"],
    limit: float,
    meaning: str,
    scope: Scope = EVERYONE,
    variant: str = "",
) -> Rule:
    return Rule(f"c4.{name}", "c4", statistic, comparison, limit, _C4, meaning, scope, "line", variant)


def _c4_page(
    name: str,
    statistic: str,
    comparison: Literal["min", "max"],
    limit: float,
    meaning: str,
    scope: Scope = EVERYONE,
    variant: str = "",
    required: bool = False,
) -> Rule:
    return Rule(f"c4.{name}", "c4", statistic, comparison, limit, _C4, meaning, scope, "page", variant, required)


_ALL = (
    Rule(
        "siliang.min_characters",
        "siliang",
        "characters",
        "min",
        1,
        "Siliang: a record without text is counted and named, not kept",
        "no text, or less than the limit",
        required=True,
    ),
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
    _c4_line("max_word_length", "c4_lines_long_word", "max", 1000, "lines with an over-long word are cut"),
    _c4_line(
        "terminal_punctuation",
        "c4_lines_unterminated",
        "min",
        1,
        "lines that do not end a sentence are cut; limit 0 keeps them",
        TERMINATED,
        'C4: . ? ! " but not "..."; here also the end marks of other scripts',
    ),
    _c4_line(
        "min_line_words",
        "c4_lines_short",
        "min",
        5,
        "lines of few words are cut",
        variant="5 words, as C4's code; datatrove takes 3",
    ),
    _c4_line("javascript", "c4_lines_javascript", "max", 0, "lines with javascript are cut; limit 1 keeps them"),
    _c4_line("policy", "c4_lines_policy", "max", 0, "lines on terms, privacy, cookies are cut; limit 1 keeps them"),
    _c4_page("max_characters", "characters", "max", 190_000, "over-long page"),
    _c4_page("lorem_ipsum", "c4_lorem_ipsum", "max", 0, "placeholder text"),
    _c4_page("curly_bracket", "c4_curly_brackets", "max", 0, "probably code"),
    _c4_page(
        "min_sentences",
        "c4_sentences",
        "min",
        3,
        "too few sentences after cutting",
        TERMINATED,
        "3 sentences, as C4's code; datatrove takes 5. Sentences by end marks, not by nltk punkt",
    ),
    _c4_page("min_lines", "c4_lines_left", "min", 1, "no line is left after cutting", required=True),
)

RULES: dict[str, Rule] = {rule.name: rule for rule in _ALL}
"""Every rule by name, in the order in which they decide: the first one that breaks names the reason."""


def limit_of(rule: Rule, config: RulesConfig) -> float:
    """The limit in force."""
    return float(config.limits.get(rule.name, rule.limit))


def deciding(config: RulesConfig) -> tuple[Rule, ...]:
    """The page rules that may drop a record under this config, in order. Line rules: see `line_limits`."""
    return tuple(
        rule
        for rule in RULES.values()
        if rule.unit == "page"
        and (rule.set == "siliang" or rule.set in config.sets)
        and (rule.required or rule.name not in config.disable)
    )


def line_limits(config: RulesConfig) -> LineLimits:
    """Limits of the C4 line rules in force; a disabled rule checks nothing."""

    def limit(name: str) -> float | None:
        return None if name in config.disable else limit_of(RULES[name], config)

    def active(name: str, off: float) -> bool:
        found = limit(name)
        return found is not None and (found > off if RULES[name].comparison == "min" else found < off)

    return LineLimits(
        max_word_length=limit("c4.max_word_length"),
        terminal=active("c4.terminal_punctuation", 0),
        min_words=limit("c4.min_line_words"),
        javascript=active("c4.javascript", 1),
        policy=active("c4.policy", 1),
    )


def _unknown(names: Iterable[str], key: str) -> list[str]:
    return [f"rules.{key}: no rule is called '{name}'" for name in sorted(names) if name not in RULES]


def check_rules_config(config: RulesConfig) -> None:
    """Raises RuleError naming every unknown rule, every limit that is no number and every rule that must decide."""
    problems = _unknown(config.limits, "limits") + _unknown(config.disable, "disable")
    if problems:
        problems.append(f"known rules: {', '.join(RULES)}")
    for name, limit in sorted(config.limits.items()):
        if limit != limit:
            problems.append(f"rules.limits: the limit of '{name}' is not a number")
        elif name in RULES and RULES[name].required and limit < RULES[name].limit:
            problems.append(f"rules.limits: '{name}' must be at least {RULES[name].limit:g}, found {limit:g}")
    for name in sorted(config.disable):
        if name in RULES and RULES[name].required:
            problems.append(f"rules.disable: '{name}' always decides and cannot be disabled")
    if problems:
        raise RuleError("\n".join(problems))


def describe_rules(config: RulesConfig | None = None) -> list[dict[str, Any]]:
    """One flat dict per rule, in deciding order, for tables and JSON; with a config, also the limit in force."""
    rows = []
    for rule in RULES.values():
        row = asdict(rule)
        row.pop("scope")
        row["statistic_meaning"] = STATISTICS[rule.statistic].meaning
        row["scripts"] = "all" if rule.scope.scripts is None else ", ".join(rule.scope.scripts)
        row["languages"] = "all" if rule.scope.languages is None else ", ".join(rule.scope.languages)
        if rule.scope.not_languages:
            row["languages"] += f" but {', '.join(rule.scope.not_languages)}"
        if config is not None:
            row["limit_in_force"] = limit_of(rule, config)
            row["decides"] = rule in deciding(config)
        rows.append(row)
    return rows
