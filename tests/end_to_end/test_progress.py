"""What long commands tell while they work, how Ctrl-C ends them, and what a dry run says: real processes."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import fields
from pathlib import Path

import pytest

from pipeline.cli import run
from pipeline.meter import Reading
from pipeline.progress import MODES, Cost

pytestmark = pytest.mark.xdist_group("prepared")


def events(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def state_of(directory: Path) -> dict[str, tuple[int, int]]:
    return {str(p): (p.stat().st_mtime_ns, p.stat().st_size) for p in sorted(directory.rglob("*"))}


def test_json_progress_tells_each_stage_and_its_parts(raw, tmp_path, config_file, siliang_pipeline):
    done = siliang_pipeline(
        "prepare", raw / "moby-dick", "--output", tmp_path / "o", "--config", config_file, "--progress", "json",
        "--progress-seconds", "0.1",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = events(done.stderr)
    assert len(told) == len(done.stderr.splitlines()), "nothing but JSON"
    stages = ["clean", "boilerplate", "deduplicate", "vocabulary", "count", "encode", "report"]
    assert [event["stage"] for event in told if event["event"] == "begin"] == stages
    assert [event["stage"] for event in told if event["event"] == "end"] == stages
    readings = [event for event in told if event["event"] == "progress" and event["stage"] == "clean"]
    parts = len(list((tmp_path / "o/stages/clean/parts").iterdir()))
    assert parts >= 2
    assert {event["total"] for event in readings if event["total"]} == {parts}
    assert [event["done"] for event in readings] == sorted(event["done"] for event in readings)
    assert all(event["rate"] > 0 for event in readings if event["done"])
    tuned = siliang_pipeline("tune", tmp_path / "o", "--progress", "json")
    assert [(event["event"], event["stage"]) for event in events(tuned.stderr)] == [("begin", "tune"), ("end", "tune")]
    quiet = siliang_pipeline("report", tmp_path / "o", "--progress", "none")
    assert (quiet.returncode, quiet.stderr) == (0, "")


def test_an_unknown_form_is_refused(tmp_path, capsys):
    assert run(["tune", str(tmp_path), "--progress", "loud"]) == 2
    assert "auto, plain, json, none" in capsys.readouterr().err


def test_the_page_names_what_is_told():
    page = (Path(__file__).parents[2] / "docs/progress.md").read_text(encoding="utf-8")
    for word in (*(field.name for field in fields(Reading)), *MODES, *(field.name for field in fields(Cost))):
        assert f"`{word}`" in page, word


def interrupted(command: list[str], root: Path, when) -> tuple[int, str]:
    """Exit code and stderr of a command that gets what a terminal sends for Ctrl-C as soon as `when()`."""
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline", *command],
        cwd=root,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # jobs in the background ignore it
    )
    deadline = time.monotonic() + 120
    while not when():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    return process.returncode, errors


def test_ctrl_c_says_what_is_kept_and_the_command_it_names_goes_on(raw, prepared, root, tmp_path, config_file):
    output = tmp_path / "a b"
    command = ["prepare", str(raw), "--output", str(output), "--config", str(config_file), "--progress", "none"]
    code, errors = interrupted(command, root, (output / "stages/deduplicate/digests/tasks.jsonl").exists)
    if (output / "manifest.json").exists():  # it came too late: nothing to see
        return
    assert code == 130
    assert "Traceback" not in errors
    assert "keeps the finished stages clean, boilerplate" in errors
    told = errors.strip().splitlines()[-1].strip()
    assert told.startswith("siliang-pipeline prepare ")
    again = subprocess.run(
        [sys.executable, "-m", "pipeline", *shlex.split(told)[1:]],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert again.returncode == 0, again.stderr
    assert (output / "manifest.json").read_bytes() == (prepared / "manifest.json").read_bytes()


def test_ctrl_c_in_an_export_leaves_nothing(prepared, root, tmp_path):
    output = tmp_path / "out"
    command = ["export", str(prepared), "--output", str(output), "--format", "jsonl", "--progress", "none"]

    def begun() -> bool:
        return any(path.suffix == ".tmp" for path in tmp_path.iterdir())

    code, errors = interrupted(command, root, begun)
    if output.exists():  # the export was faster than the signal
        return
    assert code == 130
    assert errors == "siliang-pipeline: stopped; nothing was written\n"
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_lists_and_writes_nothing(raw, prepared, tmp_path, config_file, siliang_pipeline):
    before = state_of(tmp_path), state_of(prepared), state_of(raw)
    fresh = siliang_pipeline("prepare", raw, "--output", tmp_path / "o", "--config", config_file, "--dry-run")
    assert fresh.returncode == 0, fresh.stderr
    assert "parts to make" in fresh.stdout
    assert "of disk" in fresh.stdout
    files = sum(path.is_file() for path in raw.rglob("*"))
    assert fresh.stdout.startswith(f"{files:,} input files")
    done = siliang_pipeline("prepare", raw, "--output", prepared, "--config", config_file, "--dry-run")
    assert done.stdout.count("finished before") == 6, done.stdout
    assert (state_of(tmp_path), state_of(prepared), state_of(raw)) == before
    foreign = siliang_pipeline("prepare", raw, "--output", prepared, "--dry-run")
    assert foreign.returncode == 2
    assert "was made with" in foreign.stderr


def test_a_dry_run_of_a_half_done_output_tells_what_is_left(raw, prepared, tmp_path, config_file, siliang_pipeline):
    half = tmp_path / "half"
    shutil.copytree(prepared, half)
    sidecars = sorted((half / "stages/clean/parts").iterdir())
    for path in sidecars[:3]:
        path.unlink()
    done = siliang_pipeline("prepare", raw, "--output", half, "--config", config_file, "--dry-run")
    assert f"{len(sidecars) - 3} of {len(sidecars)} parts are there" in done.stdout, done.stdout
    assert "finished before" not in done.stdout
