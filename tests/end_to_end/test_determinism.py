"""Same bytes for any number of workers, bundles, runners and input order; also after a kill."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import orjson
import psutil
import pytest

from pipeline.io import filesystem
from pipeline.run import Request, prepare
from pipeline.runner import Execution
from pipeline.workers.worker import NAME

pytestmark = pytest.mark.xdist_group("prepared")


def manifest_of(directory: Path) -> bytes:
    return (directory / "manifest.json").read_bytes()


@pytest.mark.parametrize(
    "execution",
    [
        Execution(workers=2),
        # Threads cut the bundles in another way again.
        Execution(options=("--direct_running_mode=multi_threading", "--direct_num_workers=3")),
        Execution(runner="PortableRunner", options=("--job_endpoint=embed", "--environment_type=LOOPBACK")),
    ],
    ids=["two-processes", "three-threads", "portable"],
)
def test_the_runner_changes_no_byte(raw, prepared, config, tmp_path, execution):
    prepare(Request((str(raw),), str(tmp_path / "data"), config, execution=execution))
    assert manifest_of(tmp_path / "data") == manifest_of(prepared)


def test_a_store_that_is_no_local_disk_changes_no_byte(raw, prepared, config):
    """fsspec's memory file system stands for every object store: no mmap, no rename of its own, no local path."""
    output = "memory://siliang-remote/data"
    prepare(Request((str(raw),), output, config))
    assert filesystem.read_bytes(f"{output}/manifest.json") == manifest_of(prepared)
    shard = f"{output}/train/{filesystem.listing(output + '/train')[0]}"
    assert filesystem.open_arrow(shard).num_record_batches > 0
    told = orjson.loads(filesystem.read_bytes(f"{output}/report/report.json"))
    local = orjson.loads((prepared / "report/report.json").read_bytes())
    for report in (told, local):
        # Neither the shards of train nor the stages' texts are fetched: the check of documents in two splits is told as
        # not made, and pairs are compared by their excerpts.
        report |= {"performance": None, "splits": None}
        for pair in report["duplicates"]["pairs"]:
            pair.pop("difference", None)
            pair.pop("compared", None)
    assert told == local
    assert filesystem.read_bytes(f"{output}/report/index.html").count(b"<section") > 3


def test_input_order_and_place_change_no_byte(raw, prepared, config, tmp_path):
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    directories = sorted((d for d in raw.iterdir()), reverse=True)
    for directory in directories:  # made in another order, so that the file system lists them in another
        target = moved / directory.name
        target.mkdir()
        for file in sorted(directory.iterdir(), reverse=True):
            (target / file.name).write_bytes(file.read_bytes())
    prepare(Request((str(moved),), str(tmp_path / "data"), config))
    assert manifest_of(tmp_path / "data") == manifest_of(prepared)


def test_several_inputs_in_any_order(raw, config, tmp_path):
    names = ["sotu", "moby-dick", "milton"]
    prepare(Request(tuple(str(raw / n) for n in names), str(tmp_path / "a"), config))
    prepare(Request(tuple(str(raw / n) for n in reversed(names)), str(tmp_path / "b"), config))
    assert manifest_of(tmp_path / "a") == manifest_of(tmp_path / "b")


KILLS = [
    pytest.param("driver", "stages/clean/parts/00000.json", 1, marks=pytest.mark.slow, id="driver-clean"),
    pytest.param("worker", "stages/clean/parts/00000.json", 2, id="worker-clean"),
    pytest.param("driver", "stages/deduplicate/copies", 1, id="driver-deduplicate"),
    pytest.param("driver", "stages/vocabulary/sample", 1, marks=pytest.mark.slow, id="driver-vocabulary"),
    pytest.param("worker", "stages/count/parts/00000.json", 2, marks=pytest.mark.slow, id="worker-count"),
    pytest.param("driver", "stages/encode/shards/parts/00000.json", 1, marks=pytest.mark.slow, id="driver-encode"),
]


@pytest.mark.parametrize(("victim", "when", "workers"), KILLS)
def test_a_killed_run_goes_on_to_the_same_bytes(raw, prepared, root, tmp_path, config_file, victim, when, workers):
    """SIGKILL to the driver, or to a worker, as soon as a file of some stage is there."""
    output = tmp_path / "data"
    command = [sys.executable, "-m", "pipeline", "prepare", str(raw), "--output", str(output)]
    command += ["--config", str(config_file), "--workers", str(workers)]
    process = subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not (output / when).exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.002)
    if victim == "driver":
        process.kill()
        process.communicate()
    else:
        workers_found = [
            child for child in psutil.Process(process.pid).children(recursive=True) if child.name() == NAME
        ]
        assert workers_found
        os.kill(workers_found[0].pid, signal.SIGKILL)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 1
        assert "a worker process ended early" in errors
        assert "Traceback" not in errors
    assert not (output / "manifest.json").exists()
    finished = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=200)
    assert finished.returncode == 0, finished.stderr
    assert manifest_of(output) == manifest_of(prepared)
    assert [str(p) for p in output.rglob(".*.tmp")] == [], "what killed writers left is swept"


def test_only_the_changed_unit_is_read_again(raw, config, tmp_path):
    inputs = tmp_path / "in"
    inputs.mkdir()
    for name in ("sotu", "moby-dick"):
        (inputs / name).mkdir()
        for file in (raw / name).iterdir():
            (inputs / name / file.name).write_bytes(file.read_bytes())
    request = Request((str(inputs),), str(tmp_path / "data"), config)
    prepare(request)
    first = manifest_of(tmp_path / "data")
    parts = sorted((tmp_path / "data/stages/clean/parts").iterdir())
    before = {p.name: p.stat().st_mtime_ns for p in parts}
    prepare(request)
    assert {p.name: p.stat().st_mtime_ns for p in parts} == before, "nothing is done again"
    assert manifest_of(tmp_path / "data") == first
    last = sorted((inputs / "sotu").iterdir())[-1]
    last.write_text(last.read_text() + "\n\nOne more paragraph, which no other address has, is added to this speech.\n")
    prepare(request)
    after = {p.name: p.stat().st_mtime_ns for p in parts}
    assert [name for name in before if before[name] != after[name]] == [parts[-1].name]
    assert manifest_of(tmp_path / "data") != first


def test_ctrl_c_ends_the_run_and_its_workers_in_one_line(raw, root, tmp_path, config_file):
    """To the whole group, as a terminal sends it."""
    output = tmp_path / "data"
    command = [sys.executable, "-m", "pipeline", "prepare", str(raw), "--output", str(output)]
    command += ["--config", str(config_file), "--workers", "2"]
    process = subprocess.Popen(
        command,
        cwd=root,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # jobs in the background ignore it
    )
    deadline = time.monotonic() + 120
    while not (output / "stages/clean/tasks.jsonl").exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    workers = [child for child in psutil.Process(process.pid).children() if child.name() == NAME]
    assert len(workers) == 2
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    told = (
        f"siliang-pipeline: stopped in clean; {output} keeps 0 parts of this one; the same command goes on from there:"
    )
    assert errors.splitlines()[0] == told
    assert errors.splitlines()[1].startswith("  siliang-pipeline prepare ")
    assert not [worker for worker in workers if worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE]
