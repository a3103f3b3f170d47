import pyarrow as pa

from pipeline.config import make_config
from pipeline.dedup.quality import broken_rules
from pipeline.text.rules import rules_of
from schemas.arrow import AUDIT

CONFIG = make_config({}).rules


def scores(rows: list[list[tuple[str, float, float]]]) -> pa.ListArray:
    items = [[{"rule": rule, "score": score, "limit": limit} for rule, score, limit in row] for row in rows]
    return pa.array(items, AUDIT.field("scores").type)


def test_page_rules_count_on_their_own_side_of_the_limit() -> None:
    least = next(rule.name for rule in rules_of(CONFIG).values() if rule.unit == "page" and rule.comparison == "min")
    most = next(rule.name for rule in rules_of(CONFIG).values() if rule.unit == "page" and rule.comparison == "max")
    rows = [
        [(least, 4.0, 5.0), (most, 6.0, 5.0)],
        [],
        [(least, 5.0, 5.0), (most, 5.0, 5.0)],
        [(least, 6.0, 5.0), (most, 6.0, 5.0), ("no.such_rule", 9.0, 0.0)],
    ]
    assert broken_rules(scores(rows), CONFIG).tolist() == [2, 0, 0, 1]
    assert broken_rules(scores(rows).slice(2), CONFIG).tolist() == [0, 1]
    assert broken_rules(scores([]), CONFIG).tolist() == []


def test_agrees_with_every_rules_own_verdict() -> None:
    rules = list(rules_of(CONFIG).values())
    rows = [[(rule.name, rule.limit + step, rule.limit) for rule in rules] for step in (-1.0, 0.0, 1.0)]
    expected = [
        sum(bool(rule.breaks(rule.limit + step, rule.limit)) for rule in rules if rule.unit == "page")
        for step in (-1.0, 0.0, 1.0)
    ]
    assert broken_rules(scores(rows), CONFIG).tolist() == expected
