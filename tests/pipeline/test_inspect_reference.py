"""The page of the rules is what the rules are."""

import io
from pathlib import Path

from rich.console import Console

from pipeline.config import RulesConfig
from pipeline.inspect.reference import markdown, render_rules
from pipeline.text.rules import ALL_STATISTICS, RULES, describe_rules

PAGE = Path(__file__).parents[2] / "docs" / "rules.md"


def test_the_page_in_docs_is_generated_from_the_data() -> None:
    assert PAGE.read_text(encoding="utf-8") == markdown(), (
        "docs/rules.md is out of date: run `python -m pipeline rules --markdown > docs/rules.md`"
    )


def test_every_statistic_and_rule_has_its_row() -> None:
    lines = markdown().splitlines()
    for name in (*ALL_STATISTICS, *RULES):
        rows = [line for line in lines if line.startswith(f"| `{name}` |")]
        assert len(rows) == 1, name
    for rule in RULES.values():
        row = next(line for line in lines if line.startswith(f"| `{rule.name}` |"))
        assert f"| `{rule.statistic}` |" in row
        assert f" {rule.limit:.15g}" in row
    described = [line.split("`")[1] for line in lines if line.startswith("| `") and line.split("`")[1] in RULES]
    assert described == list(RULES)  # in the order in which they decide
    assert all("](" not in line for line in lines)  # nothing of the data turns into a link
    widths = {line.replace("\\|", "").count("|") for line in lines if line.startswith("| `")}
    assert widths == {5, 9}


def test_a_terminal_shows_every_rule_with_the_limit_in_force() -> None:
    out = io.StringIO()
    config = RulesConfig(sets=("gopher-quality",), limits={"gopher.min_words": 7})
    rows = describe_rules(config)
    rows[-1]["source"] = "[red]x[/red]\x1b"
    render_rules(rows, Console(file=out, width=250, force_terminal=False))
    shown = out.getvalue()
    assert all(f"{name} " in shown for name in RULES)
    line = next(line for line in shown.splitlines() if line.startswith("gopher.min_words "))
    assert "≥ 7" in line
    assert "yes" in line
    assert "[red]x[/red]⟨U+001B⟩" in shown
    plain = io.StringIO()
    render_rules(describe_rules(), Console(file=plain, width=250, force_terminal=False))
    assert "≥ 50" in next(line for line in plain.getvalue().splitlines() if line.startswith("gopher.min_words "))
