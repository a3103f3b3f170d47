"""The queue: failed runs, time limits, and what a kill leaves."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.ablations.plan import pending
from benchmarks.ablations.queue import Options, Queue, QueueError
from benchmarks.ablations.results import Results, read_table, write_table


def options(home: Path, seconds: float, **changes) -> Options:
    child = (sys.executable, str(Path(__file__).with_name("fake_child.py")), str(seconds))
    return Options(**{"shards": home, "work": home / "work", "lanes": 2, "child": child, **changes})


def begun(home: Path) -> list[str]:
    return (home / "work" / "begun").read_text().split()


@pytest.fixture
def go(setting, place):
    def run(home: Path, arms, seconds: float = 0.0, **changes) -> tuple[Queue, Results, int]:
        results = Results(home / "results")
        queue = Queue(options(home, seconds, **changes), results, lambda line: None)
        return queue, results, queue.run(lambda losses, seen: pending(arms, setting, place, losses, seen))

    return run


def test_broken_runs_are_tried_twice_then_given_up(arm, go, setting, tmp_path: Path) -> None:
    queue, results, done = go(tmp_path, [arm("sound"), arm("broken")])
    # The best of RATES is the first here: four rates are tried, then three seeds are run.
    assert done == 4 + len(setting.seeds)
    assert len(queue.given_up()) == 3  # the rates that its search began with
    assert sum(map(results.failures, results.records)) == 6
    failed = [run for record in results.records.values() for run in record["runs"] if run.get("failed")]
    assert all("this arm cannot run" in run["failed"] for run in failed)
    write_table(results, tmp_path / "runs.arrow")
    rows = read_table(tmp_path / "runs.arrow").to_pylist()
    assert len(rows) == done + 6
    assert sum(row["failed"] is not None for row in rows) == 6


def test_a_second_call_does_nothing_again(arm, go, tmp_path: Path) -> None:
    _, _, done = go(tmp_path, [arm("a")])
    before = begun(tmp_path)
    assert go(tmp_path, [arm("a")])[2] == 0
    assert begun(tmp_path) == before
    assert len(before) == done


def test_no_run_starts_that_would_not_end_in_time(arm, go, tmp_path: Path) -> None:
    assert go(tmp_path, [arm("a")], hours=0.01)[2] == 0
    assert not (tmp_path / "work" / "begun").exists()


KILLED = """
import sys
from pathlib import Path
sys.path[:0] = {paths!r}
from conftest import flat_prices, make_arm, RATES
from benchmarks.ablations.arms import Setting
from benchmarks.ablations.plan import Place, pending
from benchmarks.ablations.queue import Queue
from benchmarks.ablations.results import Results
from test_queue import options
setting = Setting(name="small", title="", seconds=100.0, tuning_seconds=25.0, tuning_seed=9, seeds=(1, 2, 3),
                  rates=RATES, start=4e-4, values={{"model.layers": 2}}, prices=flat_prices())
home = Path({home!r})
queue = Queue(options(home, {seconds}), Results(home / "results"))
queue.run(lambda losses, seen: pending([make_arm("a")], setting, Place("d" * 64, "abc123", "fp32"), losses, seen))
"""


def start(home: Path, root: Path, seconds: float) -> subprocess.Popen[bytes]:
    paths = [str(root), str(Path(__file__).parent)]
    script = KILLED.format(paths=paths, home=str(home), seconds=seconds)
    return subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.DEVNULL)


def wait_for(condition, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_a_killed_queue_goes_on(arm, go, root: Path, tmp_path: Path, number: signal.Signals) -> None:
    process = start(tmp_path, root, 1.0)
    # The first pair is done, the second runs.
    wait_for(lambda: (tmp_path / "work" / "begun").exists() and len(begun(tmp_path)) >= 3)
    process.send_signal(number)
    process.wait(timeout=30)
    kept = len(list((tmp_path / "results").glob("*.json")))
    before = begun(tmp_path)
    assert 1 <= kept < len(before)
    # Whoever was running ends with its queue and leaves nothing behind.
    time.sleep(1.2)
    swept = len(list((tmp_path / "work").glob("*/outcome.json")))
    _, results, done = go(tmp_path, [arm("a")], 0.0)
    assert len(results.losses()) == 7  # four rates and three seeds
    assert done == 7 - kept
    assert len(begun(tmp_path)) == len(before) + done - swept
    assert all(len(record["runs"]) == 1 for record in results.records.values())


def test_what_a_child_finished_after_its_queue_was_killed_is_kept(arm, go, setting, place, tmp_path: Path) -> None:
    (job, *_) = pending([arm("a")], setting, place, {}, ())
    directory = tmp_path / "work" / job.name
    directory.mkdir(parents=True)
    fields = {**vars(job), "place": vars(place), "bought": vars(job.bought)}
    (directory / "order.json").write_text(json.dumps({"job": fields}))
    (directory / "outcome.json").write_text(json.dumps({"loss": 1.25, "curve": []}))
    _, results, _ = go(tmp_path, [arm("a")])
    assert results.losses()[job.digest] == 1.25
    assert job.name not in begun(tmp_path)


def test_two_queues_do_not_share_a_directory(arm, go, root: Path, tmp_path: Path) -> None:
    process = start(tmp_path, root, 30.0)
    try:
        wait_for(lambda: (tmp_path / "work" / "begun").exists())
        with pytest.raises(QueueError, match="another queue works here"):
            go(tmp_path, [arm("a")])
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait(timeout=30)
