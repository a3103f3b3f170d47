"""Tables, ratios and the document, from results on disk."""

import importlib.util
import json
import math
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.ablations import tuned
from benchmarks.ablations.plan import Place, pending, search
from benchmarks.ablations.plots import plot
from benchmarks.ablations.prices import Price, Prices
from benchmarks.ablations.report import DocumentError, refresh, section, text
from benchmarks.ablations.results import Results, read_table, write_table
from benchmarks.ablations.summary import best_place, summarise
from benchmarks.ablations.tables import finals_table, main_table, measures_table, searches_table

LEVELS = {"unigram_entropy": 5.5, "order_free": 5.0}
FINAL = {"bert": 4.0, "rope": 3.5, "all": 3.0}


@pytest.fixture
def arms(arm):
    found = [arm("bert"), arm("rope", against="bert"), arm("all", against="bert", shares=(1.0, 0.5, 0.25))]
    return [*found, arm("later", tier=2), replace(arm("odd"), missing="unknown key 'odd'")]


@pytest.fixture
def results(arms, setting, place, run_of, tmp_path: Path) -> Results:
    """All of tier 1 but one seed of rope; `all` loses 0.4 nats by each halving of its budget."""
    found = Results(tmp_path / "results")
    while jobs := pending([a for a in arms if a.tier == 1], setting, place, found.losses(), ()):
        for job in jobs[:1]:
            loss = FINAL[job.arm] - 0.4 * math.log2(job.share) + 0.01 * (job.seed - 2) * (job.kind == "report")
            if job.kind == "tune":
                loss += abs(job.rate - 8e-4)
            if (job.arm, job.seed) == ("rope", 3):
                return _without(found, jobs, run_of)
            found.add(job, run_of(job, loss))
    return found


def _without(found: Results, jobs, run_of) -> Results:
    """The rest of the queue but that seed."""
    for job in jobs[1:]:
        found.add(job, run_of(job, FINAL[job.arm] - 0.4 * math.log2(job.share) + 0.01 * (job.seed - 2)))
    return found


def test_the_table_says_what_was_run_and_what_was_not(results, arms, setting, place) -> None:
    again = Results(results.path)
    assert best_place(again, setting) == place
    summary = summarise(again, arms, setting, place, LEVELS)
    told = {row.arm.name: row for row in summary.rows}
    assert (told["bert"].status, told["rope"].status) == ("3 of 3 seeds", "2 of 3 seeds")
    assert (told["later"].status, told["odd"].status) == ("not yet run", "cannot run: unknown key 'odd'")
    assert told["bert"].loss == pytest.approx(4.0)
    assert told["bert"].spread == pytest.approx(0.01)
    assert told["bert"].rate == 8e-4
    # The curves fall in a line from 6 over 100 s.
    assert summary.left(told["bert"]) == (pytest.approx(30.0), pytest.approx(55.0))
    assert told["rope"].seconds_to(4.0, 100) == (pytest.approx(200 / 2.505, rel=1e-3), "curve")
    assert summary.difference(told["rope"])[0] == pytest.approx(-0.5)
    # Runs of 25 s end at 3.8, below the baseline: the least budget is an upper bound.
    assert told["all"].seconds_to(4.0, 100) == (25.0, "budgets, the least one")
    seconds, how = told["all"].seconds_to(3.6, 100)
    assert (seconds, how) == (pytest.approx(37.5), "budgets")
    assert told["bert"].average("measures", "bands", "rare") == pytest.approx(5.0)
    rows = {cells[0]: cells[1:] for cells in main_table(summary)}
    assert rows["bert"][0] == "4.000 ± 0.010 (3)"
    assert rows["later"][0] == "not yet run"


def test_finals_have_a_table_of_their_own(arm, setting, place, run_of, tmp_path: Path) -> None:
    subject, found = arm("a", choices=("cosine",), finals=2), Results(tmp_path / "results")
    while jobs := search(subject, setting, place, found.losses()).open:
        for job in jobs:
            short = 2.0 + 0.5 * (job.choice == "cosine") + abs(job.rate - 4e-4)
            found.add(job, run_of(job, short if job.kind == "tune" else 4.0 - short))
    summary = summarise(found, [subject], setting, place, LEVELS)
    head, *body = finals_table(summary)
    assert body == [["a", "as it is", "0.0004", "2.000"], ["a", "cosine", "0.0004", "**1.500**"]]
    assert main_table(summary)[1][-1] == str(3 + 1 + 2)
    assert "decided at the whole budget" in text(summary)
    assert finals_table(summarise(found, [arm("b")], setting, place, LEVELS)) == [head]


def test_the_object_has_the_fixed_names(results, arms, setting, place) -> None:
    found = json.loads(json.dumps(summarise(results, arms, setting, place, LEVELS).as_json(), allow_nan=False))
    assert found["arms"]["all"]["seconds_to_baseline"] == 25.0
    assert found["arms"]["bert"]["seconds_to_baseline"] == pytest.approx(100)
    assert found["arms"]["later"] == {
        "loss": None, "spread": None, "seeds": 0, "seconds_to_baseline": None, "status": "not yet run"
    }  # fmt: skip
    assert found["all_vs_bert"] == 0.25
    assert found["all_vs_modern"] == pytest.approx(0.25 + 0.25 * (3.8 - 3.495) / 0.4, abs=2e-3)


def test_a_diverged_seed_shows_and_is_no_target(arms, setting, place, results, run_of) -> None:
    (job, *_) = [j for j in pending(arms[:2], setting, place, results.losses(), ()) if j.arm == "rope"]
    results.add(job, {**run_of(job, 9.0), "loss": None, "diverged": "not finite", "curve": None})
    summary = summarise(results, arms, setting, place)
    assert summary.row("rope").loss == math.inf
    assert summary.ratio("rope") is None
    assert summary.as_json()["arms"]["rope"]["loss"] is None
    assert "inf" in text(summary)


def test_the_document_keeps_what_people_wrote(results, arms, setting, place) -> None:
    summary = summarise(results, arms, setting, place, LEVELS)
    content = section(summary, "ablation/curves.svg")
    document = "# Ours\n\nwords\n<!-- generated: small -->\nold\n<!-- /generated: small -->\nmore words \\1\n"
    once = refresh(document, "generated: small", content)
    assert once == refresh(once, "generated: small", content)
    assert once.startswith("# Ours\n\nwords\n")
    assert once.endswith("more words \\1\n")
    assert "| `bert` bert | 4.000 ± 0.010 (3) |" in once
    assert "\nold\n" not in once
    with pytest.raises(DocumentError, match="once each"):
        refresh("nothing", "generated: small", content)


def test_nothing_run_is_told_so(arms, setting) -> None:
    summary = summarise(Results(Path("nowhere")), arms, setting, None)
    assert {row.status for row in summary.rows} == {"not yet run", "cannot run: unknown key 'odd'"}
    assert summary.as_json()["all_vs_bert"] is None
    assert "not yet run" in section(summary, None)


def test_the_figure_and_the_table_of_runs(results, arms, setting, place, tmp_path: Path) -> None:
    summary = summarise(results, arms, setting, place, LEVELS)
    assert plot(summary, tmp_path / "a.svg")
    assert plot(summary, tmp_path / "b.svg")
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    write_table(results, tmp_path / "runs.arrow")
    table = read_table(tmp_path / "runs.arrow")
    assert table.num_rows == len(results.records)
    assert set(table.column("arm").to_pylist()) == {"bert", "rope", "all"}


def test_arms_with_equal_values_share_a_run(arm, setting, place, run_of, tmp_path: Path) -> None:
    one, two = arm("one", values={"model.positions": "same"}), arm("two", values={"model.positions": "same"})
    results = Results(tmp_path)
    while jobs := pending([one], setting, place, results.losses(), ()):
        results.add(jobs[0], run_of(jobs[0], 3.0))
    assert search(two, setting, place, results.losses()).choice is not None
    assert pending([two], setting, place, results.losses(), ()) == []
    assert summarise(results, [two], setting, place).rows[0].status == "3 of 3 seeds"


def test_arms_judged_by_the_probe_are_compared_by_it(arm, setting, place, run_of, tmp_path: Path) -> None:
    arms = [arm("bert"), arm("odd-task", judge="probe", against="bert")]
    results = Results(tmp_path)
    while jobs := pending(arms, setting, place, results.losses(), ()):
        run = run_of(jobs[0], 3.0 if jobs[0].arm == "bert" else 4.5)
        run["measures"]["probe"] = {"held_out_loss": 5.0 if jobs[0].arm == "bert" else 4.5}
        results.add(jobs[0], run)
    summary = summarise(results, arms, setting, place, LEVELS)
    row = summary.row("odd-task")
    assert summary.difference(row) == (pytest.approx(-0.5), pytest.approx(0), 3)
    assert row.seconds_to(3.0, 100) is None
    assert summary.as_json()["arms"]["odd-task"]["seconds_to_baseline"] is None
    cells = {line[0]: line for line in main_table(summary)}["odd-task"]
    assert cells[1:4] == ["4.500 ± 0.000 (3) by the probe", "-0.500 ± 0.000 to bert", ""]


@pytest.fixture(scope="module")
def script(root: Path):
    """benchmarks/ablation.py as a module."""
    specification = importlib.util.spec_from_file_location("ablation_script", root / "benchmarks" / "ablation.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_the_committed_results_give_the_committed_document(script, tmp_path: Path, capsys, monkeypatch) -> None:
    document = tmp_path / "ABLATION.md"
    document.write_text(script.DOCUMENT.read_text(encoding="utf-8"), encoding="utf-8")
    monkeypatch.setattr(script, "DOCUMENT", document)
    monkeypatch.setattr(script, "write_table", lambda results, path: None)
    monkeypatch.setattr(script, "plot", lambda summary, path: path.is_file())
    script.report(script.Results(script.DATA / "results"), script.read_settings(), "first")
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert {"arms", "all_vs_bert", "all_vs_modern"} <= told.keys()
    assert told["arms"].keys() == script.read_arms().keys()
    assert all({"loss", "spread", "seeds", "seconds_to_baseline"} <= arm.keys() for arm in told["arms"].values())


def test_arms_and_settings_are_sound(script) -> None:
    settings, arms = script.read_settings(), script.read_arms()
    for setting in settings.values():
        found, left_out = script.usable(arms.values(), setting)
        assert found.keys() == arms.keys()
        known = [arm for arm in found.values() if arm.missing is None]
        # What this trainer has always known must be right; the rest is told with its reason.
        assert {"bert", "pre-ln", "tupe-a", "mask-word", "muon"} <= {arm.name for arm in known}
        assert all(left_out[arm.name] == arm.missing for arm in found.values() if arm.missing)


def test_without_shards_it_says_how_they_are_made(script, monkeypatch, capsys) -> None:
    monkeypatch.setattr("sys.argv", ["ablation.py"])
    assert script.main() == 2
    assert "--prepare CORPUS --data SHARDS" in capsys.readouterr().err


def test_a_setting_takes_choices_that_were_searched_at_other_prices(script, tmp_path: Path) -> None:
    """The first setting's list is of one machine, the second's of another."""

    def priced(setting, machine: str):
        return replace(setting, prices=Prices(machine, "fp32", 1, defaultdict(lambda: Price(0.01))))

    settings = script.read_settings()
    settings |= {"first": priced(settings["first"], "one"), "second": priced(settings["second"], "other")}
    place = Place("d" * 64, "other", "fp32")
    arm = script.arms_for(settings["second"], settings, place, {}, ["bert"])[0]
    assert "waits for its search in setting 'first'" in arm.waits
    losses: dict[str, float] = {}
    subject = script.arms_for(settings["first"], settings, None, {}, ["bert"])[0]
    there = Place("d" * 64, "one", "fp32")
    while jobs := search(subject, settings["first"], there, losses).open:
        losses |= {job.digest: 3.0 + (job.choice != "sinusoids") + abs(job.rate - 1e-3) for job in jobs}
    arm = script.arms_for(settings["second"], settings, place, losses, ["bert"])[0]
    assert (arm.waits, [choice.name for choice in arm.choices]) == (None, ["sinusoids"])
    bare = settings | {"first": replace(settings["first"], prices=None)}
    assert script.arms_for(settings["second"], bare, place, losses, ["bert"])[0].waits
    (free,) = script.arms_for(settings["second"], bare, place, {}, ["alibi"])
    assert free.waits is None, "has no choices there"


def test_an_arm_that_is_not_searched_is_not_said_to_be(results, arm, setting, place) -> None:
    (row,) = summarise(results, [arm("unsearched", rate=8e-4)], setting, place, LEVELS).rows
    assert (row.status, row.rate) == ("not yet run", 8e-4)


def test_the_searches_are_told(results, arms, setting, place) -> None:
    """The steps of the rate as they were tried, the best in bold; a choice at the best rate."""
    table = searches_table(summarise(results, arms, setting, place, LEVELS))
    assert table[0] == ["arm", "choice", "0.0001", "0.0002", "0.0004", "0.0008", "0.0016"]
    assert table[1] == ["bert", "as it is", "", "4.001", "4.000", "**4.000**", "4.001"]
    assert [row[0] for row in table[1:]] == ["bert", "rope", "all"]


def test_runs_are_fine_tuned_late(results, arms, setting, place, tmp_path: Path, monkeypatch) -> None:
    """Those of which weights are left, once each; the table has the mean over seeds when all of them were."""
    asked = []

    def finetuned(run: Path, job, tasks: Path) -> dict:
        asked.append(job.name)
        score = {"median": 0.7 + job.seed / 100, "least": 0.6, "greatest": 0.8}
        return {"sst2": {"learning_rate": 1e-3, "valid": score, "test": score}}

    def column() -> dict[str, str]:
        head, *rows = measures_table(summarise(Results(results.path), arms, setting, place, LEVELS))
        return {row[0]: row[head.index("sst2, fine-tuned")] for row in rows}

    monkeypatch.setattr(tuned, "finetuned", finetuned)
    assert tuned.tune_late(results, tmp_path, tmp_path) == 0
    names = [job.name for job in results.jobs().values() if (job.arm, job.kind) == ("bert", "report")]
    for number, name in enumerate(names):
        (tmp_path / name / "run").mkdir(parents=True)
        (tmp_path / name / "run" / "model.safetensors").write_bytes(b"")
        assert column() == {"bert": "", "rope": "", "all": ""}
        assert tuned.tune_late(Results(results.path), tmp_path, tmp_path, lambda line: None) == 1
        assert asked == names[: number + 1]
    assert column() == {"bert": "72.0%", "rope": "", "all": ""}
    assert tuned.tune_late(Results(results.path), tmp_path, tmp_path) == 0
