"""The rules that a config puts in force, wherever they are told: tables, trials, the manifest."""

from pathlib import Path
from typing import Any

from pipeline.commit import rules_in_force
from pipeline.config import PipelineConfig, make_config
from pipeline.inspect.rules import described, rules_of
from pipeline.inspect.trial import try_rules
from schemas.manifest import Counts, Manifest

ENGLISH = (
    "The whale swam far under the cold water and the sailor watched the sea from the deck all night long. "
    "At dawn the wind fell, and nobody on board had a word to say about what they had seen in the dark. "
)


def _config(**language: Any) -> PipelineConfig:
    lists = [{"name": "birds", "entries": ["gull", "tern"], "max_count": 0}]
    share = {"name": "one", "statistic": "language_share", "comparison": "min", "limit": 0.5}
    return make_config({"language": {"vote": True, **language}, "rules": {"lists": lists, "custom": [share]}})


def test_language_rules_stand_before_all_others_where_they_are_asked_for() -> None:
    names = [row["name"] for row in described(_config(keep=["de"], min_score=0.2))]
    assert names[:2] == ["language.keep", "language.min_score"]
    assert names[-2:] == ["custom.one", "list.birds"]
    assert not any(name.startswith("language.") for name in (row["name"] for row in described(_config())))
    keys = {frozenset(row) for row in described(_config(keep=["de"]))}
    assert len(keys) == 1  # every row can stand in one table


def test_the_manifest_counts_every_rule_that_may_drop() -> None:
    names = rules_in_force(_config(keep=["de"], min_score=0.2))
    assert {"language.keep", "language.min_score", "custom.one", "list.birds", "siliang.min_words"} <= set(names)
    assert not {"language.keep", "language.min_score", "protected"} & set(rules_in_force(_config()))
    assert rules_in_force(make_config({"protect": {"files": {"quiz.txt": "0" * 64}}}))[-1] == "protected"


def test_rules_of_a_prepared_corpus_know_its_language_section() -> None:
    manifest = Manifest(
        config=_config(keep=["de"]).model_dump(mode="json"),
        versions={},
        fingerprints={},
        counts=Counts(input=0),
        sources={},
        rules={},
        files=[],
        vocabulary_size=300,
        tokens=0,
    )
    assert {"language.keep", "custom.one", "list.birds"} <= rules_of(manifest).keys()


def test_a_trial_scores_the_language_and_its_rules(tmp_path: Path) -> None:
    (tmp_path / "whale.txt").write_text(ENGLISH)
    trial = try_rules(str(tmp_path / "whale.txt"), _config(keep=["de"]))
    assert (trial.verdict, trial.rule) == ("filtered", "language.keep")
    rules = {rule["rule"]: rule for rule in trial.rules}
    assert rules["language.keep"]["decided"]
    assert rules["language.keep"]["breaks"]
    assert (rules["list.birds"]["score"], rules["list.birds"]["breaks"]) == (0, False)
    assert try_rules(str(tmp_path / "whale.txt"), _config(keep=["en"])).verdict == "kept"


def test_a_trial_compares_with_what_this_config_extracts(tmp_path: Path) -> None:
    page = f"<html><body><nav><a href='/a'>Home</a> <a href='/b'>About us</a></nav><p>{ENGLISH}</p></body></html>"
    (tmp_path / "page.html").write_text(page)
    stripped = make_config({"html": {"max_bytes": 1}, "rules": {"sets": []}})  # too large: only its tags go
    for config in (stripped, make_config({"rules": {"sets": []}})):
        trial = try_rules(str(tmp_path / "page.html"), config)
        assert trial.verdict == "kept"
        assert trial.difference.lines == ()
