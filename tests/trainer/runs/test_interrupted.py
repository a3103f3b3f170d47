"""Ctrl-C in the trainer's other long commands: exit 130, and the command that goes on."""

import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest


def interrupted(tools, arguments: list[str], begun) -> tuple[int, str]:
    process = subprocess.Popen(
        arguments,
        cwd=tools.root,
        env=tools.environment(),
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # jobs in the background ignore it
    )
    deadline = time.monotonic() + 100
    while not begun():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    return process.returncode, errors


@pytest.mark.slow
def test_a_sweep_goes_on_by_the_command_that_it_names(prepared: Path, tmp_path: Path, tools) -> None:
    output = tmp_path / "sweep"
    settings = tools.sets(tools.settings(schedule__steps=60, checkpoint__every_steps=5))
    rates = ["--rates", "1e-3,2e-3", "--rungs", "1", "--progress", "none"]
    command = tools.command("sweep", prepared, "--output", output, *rates, *settings)

    def begun() -> bool:
        return any('"step": 6,' in log.read_text() for log in output.glob("rung-0/*/log.jsonl"))

    code, errors = interrupted(tools, command, begun)
    assert code == 130, errors
    assert "Traceback" not in errors
    *_, what, line = errors.rstrip().splitlines()
    assert what == "go on with:"
    told = shlex.split(line)
    assert told[:2] == ["siliang-trainer", "sweep"]
    assert told[2:] == command[4:]
    done = tools.run_command([sys.executable, "-m", "trainer", *told[1:], "--json"])
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("learning_rate") == 2


@pytest.mark.parametrize("mode", ["json", "plain", "none"])
def test_evaluate_shows_its_progress(finished_run: Path, tools, mode: str) -> None:
    asked = ("--probe", "--probe-steps", "3", "--json", "--progress", mode)
    code, errors, output = tools.invoke_output("evaluate", finished_run, *asked)
    assert code == 0, errors
    assert output.startswith("{")
    told = {"json": '"event": "progress"', "plain": "  0% "}
    assert [name for name, text in told.items() if text in errors] == ([] if mode == "none" else [mode])
