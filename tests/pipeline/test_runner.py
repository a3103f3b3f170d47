"""Jobs on real runners: a failure is one line, a dead worker ends the wait."""

import os
import signal
import time

import apache_beam as beam
import pytest

from pipeline.runner import Execution, JobError, run_job


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
