"""What a meter reads from the sidecars that workers leave."""

import io
import time

from rich.console import Console

from pipeline.meter import Meter, current_meter, metered, metered_job
from pipeline.progress import StageProgress, clock, described
from pipeline.stages.parts import Task, write_tasks


def test_only_parts_of_this_job_count_and_large_ones_count_for_more(tmp_path):
    parts = tmp_path / "stages/clean/parts"
    parts.mkdir(parents=True)
    (parts / "00007.json").write_text("of an earlier run, to be made again")
    (parts / "00009.json").write_text("of an earlier run, not this job's")
    meter = Meter("clean", in_bytes=True)
    with metered(meter), metered_job("clean"):
        write_tasks(str(tmp_path), "clean", [Task(0, {}, "a", 3_000_000), Task(1, {}, "b", 1_000_000)])
        assert current_meter() is meter
        assert meter.read().share == 0
        assert meter.read().left is None
        (parts / "00000.json").write_text("{}")
        time.sleep(0.01)
        reading = meter.read()
        assert (reading.share, reading.done, reading.total, reading.rate_unit) == (0.75, 1, 2, "MB/s")
        assert 0 < reading.left < reading.seconds
        (parts / "00001.json").write_text("{}")
        assert meter.read().share == 1
    assert meter.finished_parts == 2
    assert current_meter() is None


def test_a_resumed_job_counts_what_is_left(tmp_path):
    from pipeline.stages.parts import PartRecord, sidecar_path

    done = PartRecord(0, "a")
    path = tmp_path / "stages/count/parts"
    path.mkdir(parents=True)
    (path / "00000.json").write_bytes(done.to_bytes())
    assert sidecar_path(str(tmp_path), "count", 0) == str(path / "00000.json")
    meter = Meter("count")
    with metered(meter), metered_job("count"):
        write_tasks(str(tmp_path), "count", [Task(0, {}, "a"), Task(1, {}, "b"), Task(2, {}, "c")])
        assert meter.read().total == 2


def test_a_plain_line_for_each_interval_and_none_before():
    out = io.StringIO()
    progress = StageProgress(Console(file=out, width=200), mode="plain", seconds=0.3)
    with progress.stage("export") as cost:
        current_meter().tell(1, 4, "documents")
        assert out.getvalue() == ""
        began = time.monotonic()
        while not out.getvalue():
            assert time.monotonic() - began < 30
            time.sleep(0.05)
    lines = out.getvalue().splitlines()
    assert len(lines) <= (time.monotonic() - began) / 0.3
    assert lines[0].startswith("export        25%  1 of 4 documents")
    assert lines[0].endswith("left")
    assert cost.peak_mb > 1
    assert cost.seconds >= 0.3


def test_a_bar_on_a_terminal():
    out = io.StringIO()
    progress = StageProgress(Console(file=out, width=120, force_terminal=True))
    with progress.stage("export"):
        current_meter().tell(1, 4, "documents")
        began = time.monotonic()
        while "25%" not in out.getvalue() and time.monotonic() - began < 30:
            time.sleep(0.05)
    assert "25%" in out.getvalue()
    assert "1 of 4 documents" in out.getvalue()


def test_work_without_parts_tells_its_time():
    assert described(Meter("vocabulary").read()) == "0:00"
    assert clock(3725) == "1:02:05"
