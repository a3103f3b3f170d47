"""Each alarm at its limit and just beside it, with its number, its limit and what to do."""

import pytest

from pipeline.report import alarms, source_alarms
from pipeline.report.model import Alarm, Check, Language, NamedCount, Removed, Rule, Source, Splits, Tokens
from schemas.manifest import Counts


def source(kept: int = 0, filtered: int = 0, duplicate: int = 0, quarantined: int = 0, name: str = "web") -> Source:
    counts = Counts(
        input=kept + filtered + duplicate + quarantined,
        kept=kept,
        filtered=filtered,
        duplicate=duplicate,
        quarantined=quarantined,
    )
    by = (NamedCount(name="siliang.min_words", count=filtered),) if filtered else ()
    return Source(name=name, counts=counts, chars_in=1, chars_kept=1, removed=Removed(exact=duplicate), filtered_by=by)


def tokens(valid_documents: int = 50, valid: int = 5_000, byte_fallback: float = 0.0) -> Tokens:
    return Tokens(
        train=9,
        valid=valid,
        train_documents=9,
        valid_documents=valid_documents,
        vocabulary_size=300,
        unused_pieces=0,
        byte_fallback_share=byte_fallback,
        characters_per_token=4.0,
    )


def only(found: list[Alarm]) -> Alarm:
    assert len(found) == 1
    assert found[0].detail
    assert found[0].remedy
    assert found[0].section
    return found[0]


def test_a_source_that_lost_much() -> None:
    assert source_alarms.losses([source(70, 30)]) == []
    found = only(source_alarms.losses([source(69, 31)]))
    assert (found.kind, found.value, found.limit, found.unit) == ("source_lost", pytest.approx(0.31), 0.3, "share")
    assert "siliang.min_words" in found.remedy
    assert "--duplicates" in only(source_alarms.losses([source(50, 1, 49)])).remedy
    assert "input.text_fields" in only(source_alarms.losses([source(50, 1, 1, 48)])).remedy
    many = source_alarms.losses([source(1, 9, name=f"s{n}") for n in range(20)])
    assert len(many) == alarms.NAMED + 1
    assert "12 more" in many[-1].detail


def test_deduplication_that_took_much() -> None:
    assert source_alarms.removals([source(70, 500, 30)]) == []
    assert only(source_alarms.removals([source(60, 0, 40)])).value == pytest.approx(0.4)


def test_quarantine_above_half_its_limit() -> None:
    assert alarms.quarantine(Counts(input=1000, kept=975, quarantined=25), 0.05) == []
    found = only(alarms.quarantine(Counts(input=1000, kept=974, quarantined=26), 0.05))
    assert (found.level, found.value, found.limit) == ("alarm", 0.026, 0.025)


def test_validation_that_is_nearly_empty() -> None:
    assert alarms.validation(tokens(), 0.01) == []
    assert only(alarms.validation(tokens(9), 0.01)).level == "warning"
    assert only(alarms.validation(tokens(50, 999), 0.01)).level == "warning"
    assert only(alarms.validation(tokens(0, 0), 0.01)).level == "alarm"
    assert only(alarms.validation(tokens(0, 0), 0.0)).level == "note"


def test_byte_fallback() -> None:
    assert alarms.vocabulary(tokens(byte_fallback=0.02)) == []
    assert only(alarms.vocabulary(tokens(byte_fallback=0.021))).limit == 0.02


def test_languages_that_were_not_expected() -> None:
    told = [Language(name="en", kept=990, dropped=5), Language(name="la", kept=9, dropped=0)]
    und = Language(name="und", kept=1, dropped=0)
    found = only(alarms.languages([*told, und], ()))
    assert (found.kind, found.level) == ("language", "note")
    assert "la 9" in found.detail
    assert "und" not in found.detail
    assert alarms.languages([told[0], Language(name="de", kept=10, dropped=0)], ()) == []
    # With a list: what is kept outside it is wrong, and much of it in the input is worth a look.
    assert alarms.languages([told[0], Language(name="de", kept=0, dropped=100)], ("en",)) == []
    assert only(alarms.languages(told, ("en",))).level == "alarm"
    foreign = only(alarms.languages([told[0], Language(name="de", kept=0, dropped=200)], ("en",)))
    assert (foreign.kind, foreign.value) == ("foreign_input", 200 / 1195)


def test_leaks() -> None:
    check = Check(name="documents", title="No document is in two splits", looked_at=100, found=0)
    assert alarms.leaks(Splits(checks=(check,))) == []
    found = only(alarms.leaks(Splits(checks=(check.model_copy(update={"found": 3}),))))
    assert (found.level, found.value) == ("alarm", 3)


def test_rules_that_never_fired() -> None:
    rule = Rule(
        name="a",
        decides=True,
        scored=9,
        fails="below",
        fired=0,
        decided=0,
        alone=0,
        limit_low=1,
        limit_high=1,
    )
    fired, idle = rule.model_copy(update={"decided": 1}), rule.model_copy(update={"decides": False})
    assert alarms.silent_rules([fired, idle]) == []
    assert only(alarms.silent_rules([rule, fired])).detail == "a."


def test_the_worst_comes_first() -> None:
    levels = ["note", "alarm", "warning", "alarm"]
    given = [Alarm(kind=str(n), level=level, title="t") for n, level in enumerate(levels)]  # type: ignore[arg-type]
    assert [alarm.kind for alarm in alarms.sorted_by_level(given)] == ["1", "3", "2", "0"]
