"""`inspect --near`, `rules --try`, `rules --markdown` and `tune` as a user calls them, on a prepared corpus."""

import io
import json
import shutil

import pytest
from rich.console import Console

from pipeline.cli import run
from pipeline.config import PipelineConfig
from pipeline.inspect.near import nearest
from pipeline.inspect.records import find
from pipeline.inspect.trial import render_trial, try_rules
from pipeline.report.visible import visible_text
from pipeline.text.rules import RULES
from pipeline.tune import tune

pytestmark = pytest.mark.xdist_group("prepared")

HOSTILE = "The <b>whale</b> [red]swam[/red]\x1b[2J \u202eacross\u202c the “wide” seaâ€™s\x9b depths. "


@pytest.fixture
def command(capsys):
    """The command line within this process, which saves the seconds of its imports: exit code, stdout, stderr."""

    def call(*arguments: object) -> tuple[int, str, str]:
        code = run([str(argument) for argument in arguments])
        return code, *capsys.readouterr()

    return call


def rows_of(done: tuple[int, str, str]) -> list[dict]:
    code, shown, problems = done
    assert code == 0, problems
    return [json.loads(line) for line in shown.splitlines()]


def wrong(done: tuple[int, str, str], word: str) -> None:
    code, shown, problems = done
    assert (code, shown) == (2, "")
    assert word in problems


def test_near_shows_both_sides(prepared, command):
    rows = rows_of(command("inspect", prepared, "--rule", "gopher.min_words", "--near", "--limit", 3))
    assert [row["near"]["breaks"] for row in rows] == [True] * 3 + [False] * 3
    scores = [row["near"]["score"] for row in rows]
    assert scores == sorted(scores)
    assert all(row["verdict"] == "filtered" for row in rows[:3])
    wrong(command("inspect", prepared, "--near"), "--rule")
    wrong(command("inspect", prepared, "--rule", "exact", "--near"), "'exact' is no rule")


def test_the_whole_audit_agrees_with_the_nearest_and_the_counts(prepared):
    rows = find(prepared, limit=1 << 30)
    for tuning in tune(prepared):
        rule = RULES[tuning.rule]
        scored = [item for row in rows for item in row["scores"] if item["rule"] == rule.name]
        assert len(scored) == tuning.scored
        assert tuning.drops == sum(rule.breaks(item["score"], item["limit"]) for item in scored)
        for at in tuning.at:
            assert at.drops == sum(rule.breaks(item["score"], at.limit) for item in scored)
        if rule.unit == "page":
            documents = {
                row["doc_id"] for row in rows for item in row["scores"] if item["rule"] == rule.name
            }  # raw copies are shown once
            assert len(nearest(prepared, rule.name, len(rows))) == len(documents)


def test_tune_tells_every_rule_and_one(prepared, command):
    rows = rows_of(command("tune", prepared))
    words = next(row for row in rows if row["rule"] == "gopher.min_words")
    assert words["decides"]
    assert words["drops"] >= words["alone"] > 0
    (one,) = rows_of(command("tune", prepared, "--rule", "gopher.min_words"))
    assert one["drops"] == words["drops"]
    assert len(one["at"]) > len(words["at"])
    wrong(command("tune", prepared, "--rule", "no.such"), "gopher.min_words")


def test_try_says_what_prepare_would_do(prepared, raw, config_file, config, command):
    """The same records, scores, repairs and reasons as in the audit, deduplication apart."""
    files = ["udhr-html", "zh-classics/lunyu.json", "broken/cut.txt.gz", "rfc/rfc2549.txt"]
    tried = 0
    for row in find(prepared, limit=1 << 30):
        name = row["record"]
        if not name.startswith(tuple(files)) or int(name.rpartition("#")[2]) > 3:
            continue
        trial = try_rules(str(raw / name), config)
        tried += 1
        assert trial.verdict == ("kept" if row["verdict"] == "duplicate" else row["verdict"])
        assert list(trial.repairs) == row["repairs"]
        scored = [item for item in trial.rules if item["score"] is not None]
        assert [(item["rule"], item["score"], item["limit"]) for item in scored] == [
            (item["rule"], item["score"], item["limit"]) for item in row["scores"]
        ]
        if row["verdict"] != "duplicate":
            assert (trial.rule, trial.detail) == (row["rule"], row["detail"])
        assert [item["rule"] for item in trial.rules if item["decided"]] == (
            [row["rule"]] if row["verdict"] == "filtered" else []
        )
    assert tried >= 12
    (shown,) = rows_of(command("rules", "--try", raw / "rfc/rfc2549.txt", "--config", config_file))
    assert shown["more"]
    assert shown["repairs"]
    assert shown["difference"]["lines"]


def test_try_reads_the_standard_input_and_is_not_harmed(siliang_pipeline):
    done = siliang_pipeline("rules", "--try", "-", input=HOSTILE * 4)
    (trial,) = rows_of((done.returncode, done.stdout, done.stderr))
    assert trial["record"] == "stdin#1"
    assert (trial["verdict"], trial["rule"]) == ("filtered", "siliang.max_duplicate_10gram_characters")
    decided = next(rule for rule in trial["rules"] if rule["decided"])
    assert decided["rule"] == "siliang.max_duplicate_10gram_characters"
    assert decided["breaks"]
    assert decided["score"] > decided["limit"]
    assert trial["repairs"]
    assert any("across" in line for line in trial["difference"]["lines"])
    assert not [c for c in done.stdout if c != "\n" and (ord(c) < 32 or 0x7F <= ord(c) < 0xA0 or c in "\u202e\u202c")]
    text = io.StringIO()
    render_trial(try_rules("-", PipelineConfig(), io.BytesIO((HOSTILE * 9).encode())), Console(file=text, width=150))
    shown = text.getvalue()
    assert not [c for c in shown if c != "\n" and visible_text(c) != c]
    assert "[red]swam[/red]" in shown
    assert "Repairs: " in shown


def test_try_with_another_config_and_bad_questions(tmp_path, command):
    text = tmp_path / "a.txt"
    text.write_text("Some words that are not many. " * 3)
    (tmp_path / "c.toml").write_text('[rules]\nsets = ["c4"]\n[rules.limits]\n"gopher.min_words" = 7\n')
    (trial,) = rows_of(command("rules", "--try", text, "--config", tmp_path / "c.toml"))
    words, lines = (
        next(rule for rule in trial["rules"] if rule["rule"] == name) for name in ("gopher.min_words", "c4.policy")
    )
    assert (words["limit"], words["breaks"], words["decides"], trial["verdict"]) == (7, False, False, "kept")
    assert (lines["cuts"], lines["decides"], words["cuts"]) == (True, False, False)
    listed = rows_of(command("rules", "--config", tmp_path / "c.toml"))
    assert next(rule for rule in listed if rule["name"] == "gopher.min_words")["limit_in_force"] == 7
    wrong(command("rules", "--try", tmp_path), "directory")
    wrong(command("rules", "--try", f"{text}#9"), "#9")
    wrong(command("rules", "--try", tmp_path / "none.txt"), "no such file")
    (tmp_path / "bad.toml").write_text('[rules.limits]\n"no.such" = 1\n')
    wrong(command("rules", "--try", text, "--config", tmp_path / "bad.toml"), "no.such")
    wrong(command("rules", "--config", tmp_path / "bad.toml"), "no.such")


def test_a_damaged_audit_is_one_clear_line(prepared, tmp_path, command):
    (tmp_path / "audit").mkdir()
    shutil.copyfile(prepared / "manifest.json", tmp_path / "manifest.json")
    for path in (prepared / "audit").iterdir():
        (tmp_path / "audit" / path.name).write_bytes(path.read_bytes()[:-100])
    for words in (("tune",), ("inspect", "--rule", "gopher.min_words", "--near"), ("inspect",)):
        code, shown, problems = command(words[0], tmp_path, *words[1:])
        assert (code, shown) == (1, "")
        assert "not a complete Arrow file" in problems


def test_markdown_is_the_page_in_docs(root, command):
    assert command("rules", "--markdown")[1] == (root / "docs/rules.md").read_text(encoding="utf-8")
