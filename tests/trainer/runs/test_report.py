"""`siliang-trainer report` on real runs: what the page says is what the run's own files say."""

import json
import re
import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from trainer.report.flops import flops_at
from trainer.report.history import read_history


@pytest.fixture(scope="module")
def grown(prepared: Path, tmp_path_factory, tools) -> Path:
    run = tmp_path_factory.mktemp("grown") / "run"
    changes = {"growth__depths": [1, 2], "growth__at": [0.5], "evaluate__samples": 2}
    tools.train(prepared, run, overrides=tools.settings(**changes))
    return run


@pytest.mark.parametrize("finished", [True, False])
def test_flops_are_those_of_the_result(finished_run: Path, grown: Path, finished: bool) -> None:
    """Told by result.json, and worked out from the config as for a run that is not finished."""
    for run in (finished_run, grown):
        history = read_history(run)
        if not finished:
            history = replace(history, result={})
        result = json.loads((run / "result.json").read_text())
        (total,) = flops_at(history, run, np.array([float(history.last_step)]))
        assert total == pytest.approx(result["flops"], rel=1e-9)


@pytest.mark.parametrize("finished", [True, False])
def test_flops_where_a_depth_ends(grown: Path, finished: bool) -> None:
    history = read_history(grown)
    if not finished:
        history = replace(history, result={})
    (growth,) = history.of("growth")
    (before,) = flops_at(history, grown, np.array([growth["step"] - 1.0]))
    assert before == pytest.approx(growth["flops"], rel=1e-9)


def test_flops_of_a_result_that_is_damaged(finished_run: Path) -> None:
    history = read_history(finished_run)
    for depths in (None, [], 7, [7], [{"tokens": 0, "flops": 1}], [{"tokens": 5, "flops": float("nan")}]):
        odd = replace(history, result={"depths": depths})
        steps = np.array([0.0, float(history.last_step)])
        np.testing.assert_allclose(
            flops_at(odd, finished_run, steps), flops_at(history, finished_run, steps), rtol=1e-9
        )


def test_commands_of_the_page(finished_run: Path, grown: Path, tmp_path: Path, tools, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    tools.copy_tree(finished_run, tmp_path / "RUN")
    tools.copy_tree(grown, tmp_path / "OTHER")
    text = (tools.root / "docs/training.md").read_text(encoding="utf-8")
    blocks = "".join(re.findall(r"```bash\n(.*?)```", text, re.DOTALL))
    commands = [line for line in blocks.splitlines() if line.startswith("siliang-trainer report")]
    assert len(commands) == 2
    for command, page in zip(commands, ("RUN/report.html", "runs.html"), strict=True):
        code, errors, told = tools.invoke_output(*shlex.split(command)[1:])
        assert (code, told.strip(), errors) == (0, page, "")
        assert "Held out and training" in Path(page).read_text(encoding="utf-8")
    assert "Filled gaps" in Path("runs.html").read_text(encoding="utf-8")
    assert not [path.name for path in tmp_path.rglob(".*.tmp")]


def test_wrong_use_is_told(finished_run: Path, tmp_path: Path, tools) -> None:
    for arguments, told in (
        ((tmp_path,), "no run here"),
        ((finished_run, finished_run), "named twice"),
        ((finished_run, "-o", tmp_path / "no/page.html"), "no such directory"),
    ):
        code, errors, _ = tools.invoke_output("report", *arguments)
        assert code == 1
        assert told in errors
        assert errors.count("\n") == 1
