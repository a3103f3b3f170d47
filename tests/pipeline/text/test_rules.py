import math

import pytest

from pipeline.config import ConfigError, RulesConfig, load_config
from pipeline.text.c4 import DEFAULT_LIMITS, LineLimits
from pipeline.text.datatrove import DATATROVE_STATISTICS
from pipeline.text.rules import (
    ENGLISH,
    LONG_WORDS,
    RULE_SETS,
    RULES,
    Rule,
    RuleError,
    Scope,
    check_rules_config,
    deciding,
    describe_rules,
    limit_of,
    line_limits,
)
from pipeline.text.script import SCRIPTS
from pipeline.text.statistics import STATISTICS

# reference: datatrove's constructor values for Gopher and FineWeb, c4_utils.py for C4, Gopher's table A1.
DEFAULTS = {
    "siliang.min_characters": 1,
    "gopher.min_words": 50,
    "gopher.max_words": 100_000,
    "gopher.min_mean_word_length": 3,
    "gopher.max_mean_word_length": 10,
    "gopher.max_hash_ratio": 0.1,
    "gopher.max_ellipsis_ratio": 0.1,
    "gopher.max_bullet_lines": 0.9,
    "gopher.max_ellipsis_lines": 0.3,
    "gopher.min_alphabetic_words": 0.8,
    "gopher.min_stop_words": 2,
    "c4.max_word_length": 1000,
    "c4.terminal_punctuation": 1,
    "c4.min_line_words": 5,
    "c4.javascript": 0,
    "c4.policy": 0,
    "c4.max_characters": 190_000,
    "c4.lorem_ipsum": 0,
    "c4.curly_bracket": 0,
    "c4.min_sentences": 3,
    "c4.min_lines": 1,
    "c4-datatrove.max_word_length": 1000,
    "c4-datatrove.terminal_punctuation": 1,
    "c4-datatrove.min_line_words": 3,
    "c4-datatrove.javascript": 0,
    "c4-datatrove.policy": 0,
    "c4-datatrove.lorem_ipsum": 0,
    "c4-datatrove.curly_bracket": 0,
    "c4-datatrove.min_sentences": 5,
    "c4-datatrove.min_lines": 1,
    "repetition.max_duplicate_lines": 0.3,
    "repetition.max_duplicate_paragraphs": 0.3,
    "repetition.max_duplicate_line_characters": 0.2,
    "repetition.max_duplicate_paragraph_characters": 0.2,
    "repetition.max_top_2gram_characters": 0.2,
    "repetition.max_top_3gram_characters": 0.18,
    "repetition.max_top_4gram_characters": 0.16,
    "repetition.max_duplicate_5gram_characters": 0.15,
    "repetition.max_duplicate_6gram_characters": 0.14,
    "repetition.max_duplicate_7gram_characters": 0.13,
    "repetition.max_duplicate_8gram_characters": 0.12,
    "repetition.max_duplicate_9gram_characters": 0.11,
    "repetition.max_duplicate_10gram_characters": 0.1,
    "fineweb.min_terminal_lines": 0.12,
    "fineweb.max_short_lines": 0.67,
    "fineweb.max_duplicate_line_characters": 0.01,
    "fineweb.max_newline_ratio": 0.3,
}


def test_names_limits_and_statistics():
    limits = {name: rule.limit for name, rule in RULES.items()}
    assert {name: limit for name, limit in limits.items() if name in DEFAULTS} == DEFAULTS
    assert all(RULES[name].set == "siliang" or RULES[name].on_demand for name in limits.keys() - DEFAULTS.keys())
    default = ("siliang", "gopher-quality", "c4", "c4-datatrove", "gopher-repetition", "fineweb")
    assert RULE_SETS[: len(default)] == default
    assert {rule.set for rule in RULES.values() if rule.on_demand} == set(RULE_SETS) - set(default)
    for name in RULE_SETS:
        check_rules_config(RulesConfig(sets=(name,)))
    for name, rule in RULES.items():
        assert name == rule.name
        assert rule.statistic in (DATATROVE_STATISTICS if rule.on_demand else STATISTICS)
        assert rule.source
        assert rule.meaning
        assert set(rule.scope.scripts or ()) <= set(SCRIPTS)


@pytest.mark.parametrize(
    ("comparison", "unit", "score", "broken"),
    [
        *(("min", "page", 4, True), ("min", "page", 5, False), ("max", "page", 5, False), ("max", "page", 6, True)),
        *(("min", "line", 0, False), ("min", "line", 1, True), ("max", "line", 1, True)),
    ],
)
def test_limits_themselves_pass(comparison, unit, score, broken):
    rule = Rule("n", "s", "words", comparison, 5, "source", "meaning", unit=unit)
    assert rule.breaks(score, 5) is broken


def test_scopes():
    assert Scope().holds("han", "zh")
    assert ENGLISH.holds("latin", "en")
    assert not any(ENGLISH.holds("latin", code) for code in ("fr", "sw", "und"))
    assert LONG_WORDS.holds("latin", "de")
    assert not LONG_WORDS.holds("latin", "vi")
    assert not LONG_WORDS.holds("hangul", "ko")


def test_deciding_rules_follow_the_config():
    def names(**values):
        return [rule.name for rule in deciding(RulesConfig(**values))]

    gopher = [name for name in DEFAULTS if name.startswith("gopher.")]
    assert names() == [name for name in RULES if name.startswith("siliang.")]
    assert names(sets=("gopher-quality",)) == ["siliang.min_characters", *gopher]
    assert names(sets=()) == ["siliang.min_characters"]
    assert names(sets=("c4",)) == [
        "siliang.min_characters",
        "c4.max_characters",
        "c4.lorem_ipsum",
        "c4.curly_bracket",
        "c4.min_sentences",
        "c4.min_lines",
    ]
    assert names(sets=("gopher-quality",), disable=("gopher.min_words",)) == ["siliang.min_characters", *gopher[1:]]
    # The order is that of RULES, whatever the order of the sets.
    assert names(sets=("c4", "gopher-quality")) == names(sets=("gopher-quality", "c4"))


def test_line_limits_in_force():
    assert line_limits(RulesConfig()) == DEFAULT_LIMITS
    names = ("c4.max_word_length", "c4.terminal_punctuation", "c4.min_line_words", "c4.javascript", "c4.policy")
    off = LineLimits(max_word_length=None, terminal=False, min_words=None, javascript=False, policy=False)
    assert line_limits(RulesConfig(disable=names)) == off
    limits = {"c4.min_line_words": 3, "c4.terminal_punctuation": 0, "c4.javascript": 1, "c4.policy": 1}
    assert line_limits(RulesConfig(limits=limits)) == LineLimits(
        terminal=False, min_words=3, javascript=False, policy=False
    )


def test_limit_of():
    rule = RULES["gopher.min_words"]
    assert limit_of(rule, RulesConfig()) == 50
    assert limit_of(rule, RulesConfig(limits={"gopher.min_words": 20})) == 20


def test_limits_of_a_language():
    special = {"fi": {"gopher.max_mean_word_length": 14}, "de": {"gopher.min_words": 20}}
    config = RulesConfig(language_limits=special, limits={"gopher.min_words": 30})
    check_rules_config(config)
    rule = RULES["gopher.max_mean_word_length"]
    assert [limit_of(rule, config, code) for code in ("fi", "de", None)] == [14, 10, 10]
    assert [limit_of(RULES["gopher.min_words"], config, code) for code in ("fi", "de", "und")] == [30, 20, 30]
    told = {row["name"]: row for row in describe_rules(config)}
    assert told["gopher.min_words"]["limits_by_language"] == "de 20"
    assert told["gopher.max_words"]["limits_by_language"] == ""


@pytest.mark.parametrize(
    ("values", "parts"),
    [
        ({"language_limits": {"fi": {"gopher.word": 3}}}, ["rules.language_limits.fi", "'gopher.word'", "known rules"]),
        ({"language_limits": {"fin": {"gopher.min_words": 3}}}, ["rules.language_limits", "'fin'", "known: af, am"]),
        ({"language_limits": {"fi": {"gopher.min_words": math.nan}}}, ["language_limits.fi", "not a number"]),
        ({"language_limits": {"fi": {"siliang.min_characters": 0}}}, ["must be at least 1, found 0"]),
        ({"language_limits": {"fi": {"c4.min_line_words": 2}}}, ["language_limits.fi", "cuts lines, with one limit"]),
        ({"limits": {"gopher.min_word": 3}}, ["rules.limits", "'gopher.min_word'", "gopher.min_words", "c4.policy"]),
        ({"disable": ("min_words",)}, ["rules.disable", "'min_words'", "known rules: siliang.min_characters"]),
        ({"limits": {"gopher.min_words": math.nan}}, ["'gopher.min_words'", "not a number"]),
        ({"disable": ("siliang.min_characters",)}, ["'siliang.min_characters' always decides"]),
        ({"disable": ("c4.min_lines",)}, ["'c4.min_lines' always decides"]),
        ({"limits": {"siliang.min_characters": 0}}, ["must be at least 1, found 0"]),
        ({"sets": ("c4", "c4-datatrove")}, ["rules.sets", "c4 and c4-datatrove", "choose one"]),
    ],
)
def test_bad_configs_are_named(values, parts):
    with pytest.raises(RuleError) as error:
        check_rules_config(RulesConfig(**values))
    for part in parts:
        assert part in str(error.value)


@pytest.mark.parametrize(
    ("rule", "parts"),
    [
        ({"statistic": "word"}, ["rules.custom 'few'", "'word'", "mean_word_length"]),
        ({"limit": math.nan}, ["rules.custom 'few'", "not a number"]),
        ({"scripts": ("latn",)}, ["rules.custom 'few'", "'latn'", "latin"]),
    ],
)
def test_bad_custom_rules_are_named(rule, parts):
    good = {"name": "few", "statistic": "lines", "comparison": "min", "limit": 2}
    check_rules_config(RulesConfig(custom=[good]))
    with pytest.raises(RuleError) as error:
        check_rules_config(RulesConfig(custom=[good | rule]))
    assert all(part in str(error.value) for part in parts)
    with pytest.raises(RuleError, match="two rules have this name"):
        check_rules_config(RulesConfig(custom=[good, good]))


def test_custom_rules_decide_last_and_are_described():
    own = {"name": "few", "statistic": "lines", "comparison": "min", "limit": 2, "languages": ("en",)}
    config = RulesConfig(custom=[own], limits={"custom.few": 3}, sets=())
    assert [rule.name for rule in deciding(config)] == ["siliang.min_characters", "custom.few"]
    told = describe_rules(config)[-1]
    assert (told["name"], told["limit_in_force"], told["languages"], told["decides"]) == ("custom.few", 3, "en", True)
    disabled = RulesConfig(custom=[own], disable=("custom.few",))
    check_rules_config(disabled)
    assert "custom.few" not in {rule.name for rule in deciding(disabled)}


def test_custom_rules_come_from_toml(tmp_path):
    path = tmp_path / "config.toml"
    path.write_text('[[rules.custom]]\nname = "few"\nstatistic = "lines"\ncomparison = "min"\nlimit = 2\n')
    assert load_config(path).rules.custom[0].limit == 2
    path.write_text('[[rules.custom]]\nname = "few"\nstatistics = "lines"\ncomparison = "min"\nlimit = 2\n')
    with pytest.raises(ConfigError, match=r"unknown key 'rules.custom.0.statistics'; allowed here: name, statistic"):
        load_config(path)


def test_good_configs_pass():
    check_rules_config(RulesConfig())
    check_rules_config(RulesConfig(limits={"gopher.max_words": math.inf}, disable=("c4.policy",), sets=("c4",)))


def test_descriptions_are_flat_and_complete():
    rows = describe_rules()
    assert [row["name"] for row in rows] == list(RULES)
    assert all(isinstance(value, str | int | float | bool) for row in rows for value in row.values())
    words = rows[1]
    assert (words["limit"], words["comparison"], words["scripts"], words["languages"]) == (50, "min", "all", "all")
    assert words["source"].startswith("Gopher")
    gopher = RulesConfig(sets=("gopher-quality",), limits={"gopher.min_words": 9})
    told = {row["name"]: row for row in describe_rules(gopher)}
    assert told["gopher.min_words"]["limit_in_force"] == 9
    assert told["gopher.min_words"]["decides"]
    assert not told["c4.min_sentences"]["decides"]
    assert told["gopher.min_stop_words"]["languages"] == "en"
    assert told["gopher.min_mean_word_length"]["languages"] == "all but vi"
