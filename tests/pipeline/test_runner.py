"""Jobs on real runners: a failure is one line, a dead worker ends the wait."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import apache_beam as beam
import psutil
import pytest

from pipeline.jobs import JobError
from pipeline.runner import Execution, run_job
from pipeline.workers.pool import local_workers
from pipeline.workers.worker import NAME


def numbers(step):
    return lambda pipeline: pipeline | beam.Create(range(6)) | beam.Reshuffle() | beam.Map(step)


def fail(number):
    if number == 4:
        raise OSError(28, "No space left on device")
    return number


def die(number):
    if number == 4:
        time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def write(number, directory):
    (directory / str(number)).write_text(str(os.getpid()))


@pytest.mark.parametrize("workers", [1, 2])
def test_a_failure_is_one_line_that_names_the_stage(workers):
    with pytest.raises(JobError) as found:
        run_job("count", numbers(fail), Execution(workers=workers), 6)
    assert str(found.value).startswith("stage count: ")
    assert "No space left on device" in str(found.value)
    assert len(str(found.value).splitlines()) == 1


def test_a_killed_worker_ends_the_job():
    with pytest.raises(JobError, match="a worker process ended early: killed"):
        run_job("clean", numbers(die), Execution(workers=2), 6)


@pytest.mark.parametrize(("workers", "tasks", "processes"), [(1, 6, 1), (2, 6, 2), (2, 1, 1)])
def test_workers_are_processes_and_no_more_than_tasks(tmp_path, workers, tasks, processes):
    build = lambda p: p | beam.Create(range(6)) | beam.Reshuffle() | beam.Map(write, tmp_path)  # noqa: E731
    run_job("x", build, Execution(workers=workers), tasks)
    found = {path.read_text() for path in tmp_path.iterdir()}
    assert len(list(tmp_path.iterdir())) == 6
    assert len(found) <= processes
    assert (str(os.getpid()) in found) == (processes == 1)


def test_beam_options_are_passed_on():
    options = Execution(runner="FlinkRunner", options=("--flink_master=host:8081", "--parallelism=3")).beam_options()
    found = options.get_all_options()
    assert found["flink_master"] == "host:8081"
    assert found["parallelism"] == 3
    assert found["save_main_session"] is False
    assert "direct_running_mode" not in Execution(runner="FlinkRunner").beam_options().get_all_options(
        drop_default=True
    )


def listening(pid):
    return {c.laddr.ip for c in psutil.Process(pid).net_connections("tcp") if c.status == psutil.CONN_LISTEN}


def look(number, directory, driver):
    (directory / str(os.getpid())).write_text(" ".join(listening(driver)))


def pids(directory):
    """Processes that a job ran in, after it was seen that nothing but this machine can speak to its servers."""
    directory.mkdir(exist_ok=True)
    build = lambda p: p | beam.Create(range(6)) | beam.Reshuffle() | beam.Map(look, directory, os.getpid())  # noqa: E731
    run_job("x", build, Execution(workers=2), 6)
    told = {address for path in directory.iterdir() for address in path.read_text().split()}
    assert told
    assert told <= {"127.0.0.1", "::ffff:127.0.0.1"}
    return {int(path.name) for path in directory.iterdir()}


def gone(pid):
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def wait_until(true, seconds=30.0):
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_workers_live_as_long_as_the_block_and_no_longer(tmp_path):
    with local_workers():
        first = pids(tmp_path / "one")
        assert pids(tmp_path / "two") <= first
        assert not any(map(gone, first))
        for pid in first:  # without a job nothing is lost
            os.kill(pid, signal.SIGKILL)
            wait_until(lambda pid=pid: gone(pid))
        second = pids(tmp_path / "three")
        assert not second & first
    assert all(map(gone, second))


DRIVER = """
import os, sys
from pipeline.workers.pool import local_workers
sys.path.insert(0, sys.argv[1])
from test_runner import pids
from pathlib import Path
with local_workers(2):
    print(*pids(Path(sys.argv[2])), os.getpid(), flush=True)
    sys.stdin.read()
"""


def test_no_worker_outlives_a_killed_driver(tmp_path):
    """Forked workers: each has the driver's side of no socket but its own, else they would keep one another."""
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(Path(__file__).parent), str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert driver.stdout is not None
    *workers, itself = map(int, driver.stdout.readline().split())
    children = psutil.Process(driver.pid).children()
    assert itself == driver.pid
    assert set(workers) <= {child.pid for child in children}
    assert {child.name() for child in children} == {NAME}
    driver.kill()
    driver.wait()
    wait_until(lambda: all(gone(child.pid) for child in children))


def test_another_beam_gets_its_own_workers(monkeypatch):
    monkeypatch.setattr("apache_beam.__version__", "3.0.0")
    assert Execution(workers=2).processes == 0
    assert "3.0.0" in (Execution(workers=2).note or "")
    assert Execution(workers=1).note is None
    assert Execution(workers=2).beam_options().get_all_options()["direct_running_mode"] == "multi_processing"


def test_a_process_with_threads_is_not_forked(monkeypatch):
    monkeypatch.setattr(os, "fork", lambda: pytest.fail("forked"))
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    with local_workers(2):
        pass
    stop.set()
    thread.join()
