"""Which rules are in force under a config, with which limits, and what they are for people."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from typing import Any

from pipeline.config import CustomRule, ListRule, RulesConfig
from pipeline.text.c4 import LineLimits
from pipeline.text.datatrove import DATATROVE_STATISTICS
from pipeline.text.language_codes import LANGUAGES
from pipeline.text.language_rules import LANGUAGE_STATISTICS
from pipeline.text.lists import column, list_statistics
from pipeline.text.rule import Rule, Scope
from pipeline.text.rule_sets import ENGLISH, LONG_WORDS, RULE_SETS, RULES
from pipeline.text.script import SCRIPTS
from pipeline.text.statistics import C4_VARIANTS, STATISTICS, Statistic

ALL_STATISTICS = STATISTICS | DATATROVE_STATISTICS | LANGUAGE_STATISTICS
"""Those that `measure` adds, those made only where a rule in use asks for them, and those that `identify` adds."""

__all__ = [
    "ALL_STATISTICS",
    "ENGLISH",
    "LONG_WORDS",
    "RULES",
    "RULE_SETS",
    "Rule",
    "RuleError",
    "Scope",
    "check_rules_config",
    "cutting_variant",
    "deciding",
    "describe_rules",
    "limit_of",
    "line_limits",
    "rules_of",
    "scored",
    "statistics_of",
]


class RuleError(ValueError):
    """A config that names a rule that does not exist or cannot be changed so; the message says what is allowed."""


def rules_of(config: RulesConfig) -> dict[str, Rule]:
    """The built-in rules and those of this config, in the order in which they decide."""
    own = {}
    for rule in config.custom:
        name, scope = f"custom.{rule.name}", Scope(rule.scripts, rule.languages, rule.not_languages)
        own[name] = Rule(
            name, "custom", rule.statistic, rule.comparison, rule.limit, "this config", rule.meaning, scope, always=True
        )
    for listed in config.lists:
        name, scope = f"list.{listed.name}", Scope(listed.scripts, listed.languages, listed.not_languages)
        limit = listed.max_share if listed.max_count is None else listed.max_count
        own[name] = Rule(
            name, "list", column(listed), "max", float(limit or 0), "this config", listed.meaning, scope, always=True
        )
    return RULES | own


def statistics_of(config: RulesConfig | None) -> dict[str, Statistic]:
    """Every statistic that a rule may look at, those of the config's lists last."""
    return ALL_STATISTICS if config is None or not config.lists else ALL_STATISTICS | list_statistics(config)


def scored(config: RulesConfig) -> tuple[Rule, ...]:
    """The rules that every record gets scores of: all, but those on demand only where their set is chosen."""
    return tuple(rule for rule in rules_of(config).values() if not rule.on_demand or rule.set in config.sets)


def limit_of(rule: Rule, config: RulesConfig, language: str | None = None) -> float:
    """The limit in force, for texts in this language or for those without a limit of their own."""
    special = config.language_limits.get(language, {}) if language else {}
    return float(special.get(rule.name, config.limits.get(rule.name, rule.limit)))


def deciding(config: RulesConfig) -> tuple[Rule, ...]:
    """The page rules that may drop a record under this config, in order. Line rules: see `line_limits`."""
    return tuple(
        rule
        for rule in rules_of(config).values()
        if rule.unit == "page"
        and (rule.always or rule.set in config.sets)
        and (rule.required or rule.name not in config.disable)
    )


def cutting_variant(config: RulesConfig) -> str | None:
    """The set of C4 rules that cuts lines under this config: of `C4_VARIANTS`, or none."""
    return next((name for name in C4_VARIANTS if name in config.sets), None)


def line_limits(config: RulesConfig, variant: str = "c4") -> LineLimits:
    """Limits of the line rules of a set of C4 rules; a disabled rule checks nothing."""

    def limit(name: str) -> float | None:
        return None if f"{variant}.{name}" in config.disable else limit_of(RULES[f"{variant}.{name}"], config)

    def active(name: str, off: float) -> bool:
        found = limit(name)
        return found is not None and (found > off if RULES[f"{variant}.{name}"].comparison == "min" else found < off)

    return LineLimits(
        max_word_length=limit("max_word_length"),
        terminal=active("terminal_punctuation", 0),
        min_words=limit("min_line_words"),
        javascript=active("javascript", 1),
        policy=active("policy", 1),
    )


def _unknown(names: Iterable[str], key: str, known: Mapping[str, Rule]) -> list[str]:
    return [f"rules.{key}: no rule is called '{name}'" for name in sorted(names) if name not in known]


def _custom_problems(config: RulesConfig) -> Iterator[str]:
    seen = set()
    for rule in config.custom:
        where = f"rules.custom '{rule.name}'"
        if rule.name in seen:
            yield f"{where}: two rules have this name"
        seen.add(rule.name)
        if rule.statistic not in ALL_STATISTICS:
            yield f"{where}: no statistic is called '{rule.statistic}'; known: {', '.join(ALL_STATISTICS)}"
        if rule.limit != rule.limit:
            yield f"{where}: its limit is not a number"
        yield from _scope_problems(where, rule)
    seen = set()
    for listed in config.lists:
        where = f"rules.lists '{listed.name}'"
        if listed.name in seen:
            yield f"{where}: two lists have this name"
        seen.add(listed.name)
        if not listed.entries:
            yield f"{where}: sha256 alone names no entries; give its path"
        yield from _scope_problems(where, listed)


def _scope_problems(where: str, rule: CustomRule | ListRule) -> Iterator[str]:
    unknown = [script for script in rule.scripts or () if script not in SCRIPTS]
    if unknown:
        yield f"{where}: no script is called {', '.join(map(repr, unknown))}; known: {', '.join(SCRIPTS)}"
    yield from _unknown_languages(where, [*(rule.languages or ()), *rule.not_languages])


def _unknown_languages(where: str, languages: Iterable[str]) -> Iterator[str]:
    unknown = sorted(set(languages).difference(LANGUAGES))
    if unknown:
        yield f"{where}: no language is called {', '.join(map(repr, unknown))}; known: {', '.join(LANGUAGES)}"


def _limit_problems(key: str, limits: Mapping[str, float]) -> Iterator[str]:
    for name, limit in sorted(limits.items()):
        if limit != limit:
            yield f"rules.{key}: the limit of '{name}' is not a number"
        elif name in RULES and RULES[name].required and limit < RULES[name].limit:
            yield f"rules.{key}: '{name}' must be at least {RULES[name].limit:g}, found {limit:g}"


def _language_problems(config: RulesConfig) -> Iterator[str]:
    yield from _unknown_languages("rules.language_limits", config.language_limits)
    for language, limits in sorted(config.language_limits.items()):
        yield from _limit_problems(f"language_limits.{language}", limits)
        for name in sorted(limits):
            if name in RULES and RULES[name].unit == "line":
                yield f"rules.language_limits.{language}: '{name}' cuts lines, with one limit for all languages"


def check_rules_config(config: RulesConfig) -> None:
    """Raises RuleError naming every unknown rule, every limit that is no number and every rule that must decide."""
    known = rules_of(config)
    problems = _unknown(config.limits, "limits", known) + _unknown(config.disable, "disable", known)
    for language, limits in sorted(config.language_limits.items()):
        problems += _unknown(limits, f"language_limits.{language}", known)
    if problems:
        problems.append(f"known rules: {', '.join(known)}")
    problems.extend(_custom_problems(config))
    problems.extend(_limit_problems("limits", config.limits))
    problems.extend(_language_problems(config))
    for name in sorted(config.disable):
        if name in RULES and RULES[name].required:
            problems.append(f"rules.disable: '{name}' always decides and cannot be disabled")
    if set(C4_VARIANTS) <= set(config.sets):
        problems.append(f"rules.sets: {' and '.join(C4_VARIANTS)} cut lines differently; choose one of them")
    if problems:
        raise RuleError("\n".join(problems))


def describe_rules(config: RulesConfig | None = None) -> list[dict[str, Any]]:
    """One flat dict per rule, in deciding order, for tables and JSON; with a config, also the limit in force."""
    rows = []
    decisive = () if config is None else deciding(config)
    for rule in (RULES if config is None else rules_of(config)).values():
        row = asdict(rule)
        for key in ("scope", "always"):
            row.pop(key)
        row["statistic_meaning"] = statistics_of(config)[rule.statistic].meaning
        row["scripts"] = "all" if rule.scope.scripts is None else ", ".join(rule.scope.scripts)
        row["languages"] = "all" if rule.scope.languages is None else ", ".join(rule.scope.languages)
        if rule.scope.not_languages:
            row["languages"] += f" but {', '.join(rule.scope.not_languages)}"
        if config is not None:
            row["limit_in_force"] = limit_of(rule, config)
            row["limits_by_language"] = ", ".join(
                f"{language} {limits[rule.name]:g}"
                for language, limits in sorted(config.language_limits.items())
                if rule.name in limits
            )
            row["decides"] = rule in decisive
        rows.append(row)
    return rows
