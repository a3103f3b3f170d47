"""Logs as they are found: cut, doubled, with holes, with numbers that are none."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trainer.report.history import read_histories, read_history, sorted_records
from trainer.report.page import write_page
from trainer.run import RunError


def test_a_killed_run(make_run) -> None:
    lines = [*map(json.dumps, make_run.records(20)), '{"kind": "train", "step": 21, "lo']
    history = read_history(make_run("killed", lines))
    assert history.unread == 1
    assert history.last_step == 20
    assert len(history.points("train", "loss")) == 20
    assert history.points("held_out", "loss").steps.tolist() == [0, 10, 20]


def test_a_log_that_was_written_on(make_run) -> None:
    """A run that went on from step 10 without its log being cut: what came last counts."""
    again = [record for record in make_run.records(15, scale=3.0) if record["step"] > 10]
    history = read_history(make_run("on", make_run.records(20) + again))
    assert history.doubled == 5
    points = history.points("train", "loss")
    assert points.steps.tolist() == list(range(1, 21))
    assert points.values[10:15].tolist() == [3 * 6 / (1 + step) for step in range(11, 16)]


def test_numbers_that_are_none(make_run) -> None:
    lines = make_run.records(10)
    lines[3]["loss"], lines[4]["loss"], lines[5]["loss"] = float("nan"), float("inf"), "much"
    del lines[6]["loss"]
    text = [json.dumps(line) for line in lines]
    text += ["", "7", "[]", '"x"', '{"kind": "train"}', '{"kind": 5, "step": 1}', '{"kind": "train", "step": "1"}']
    text += ['{"kind": "train", "step": -1}', '{"kind": "train", "step": true}', "[" * 100_000]
    history = read_history(make_run("odd", text))
    assert history.unread == 9
    points = history.points("train", "loss")
    assert (len(points), points.lost) == (6, 3)
    assert np.isfinite(points.values).all()


def test_steps_are_laid_along_tokens_and_seconds(make_run) -> None:
    lines = [
        {"kind": "held_out", "step": 0, "loss": 5.0, "tokens": 0, "seconds": 0},
        {"kind": "train", "step": 10, "loss": 4.0, "tokens": 1000, "seconds": 4.0},
        {"kind": "train", "step": 20, "loss": 3.0, "tokens": 3000, "seconds": 8.0},
        {"kind": "notes", "step": 15, "filled": 3},
    ]
    history = read_history(make_run("along", lines))
    steps = np.array([0.0, 5, 10, 15, 20])
    assert history.along("tokens", steps).tolist() == [0, 500, 1000, 2000, 3000]
    assert history.along("seconds", steps).tolist() == [0, 2, 4, 6, 8]
    assert history.along("step", steps).tolist() == steps.tolist()
    bare = read_history(make_run("bare", [{"kind": "train", "step": 1, "loss": 1.0}]))
    assert np.isnan(bare.along("tokens", np.array([1.0]))).all()


def test_names(make_run) -> None:
    one, two = make_run("a/run"), make_run("b/run")
    assert [h.name for h in read_histories([one, two])] == [str(one), str(two)]
    assert [h.name for h in read_histories([one, make_run("other")])] == ["run", "other"]
    with pytest.raises(RunError, match="named twice"):
        read_histories([one, two, one / ".." / "run"])


def test_what_is_no_run_is_told(tmp_path: Path, make_run) -> None:
    with pytest.raises(RunError, match=r"no run here \(neither config\.toml nor log\.jsonl\)"):
        read_history(tmp_path)
    with pytest.raises(RunError, match="its log holds no record yet"):
        read_history(make_run("empty", []))
    (tmp_path / "empty/log.jsonl").write_bytes(b"\xff\xfe\x00{}\n")
    with pytest.raises(RunError, match="its log holds no record yet"):
        read_history(tmp_path / "empty")


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.lists(st.integers(), max_size=2)
)
OPTIONAL = ("loss", "tokens", "seconds", "mfu", "sample", "text", "gaps", "layers", "total", "difficulty", "<b>")
RECORDS = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(["train", "held_out", "notes", "sample", "growth", "skipped", "new kind"]),
        "step": VALUES,
    },
    optional=dict.fromkeys(OPTIONAL, VALUES),
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines=st.lists(RECORDS, max_size=8))
def test_no_log_breaks_the_page(tmp_path_factory, lines: list[dict]) -> None:
    path = tmp_path_factory.mktemp("run")
    (path / "log.jsonl").write_text("\n".join(map(json.dumps, lines)))
    records, doubled, unread = sorted_records(lines)
    assert sum(map(len, records.values())) + doubled + unread == len(lines)
    if records:
        assert "</html>" in write_page([path])
    else:
        with pytest.raises(RunError):
            write_page([path])
