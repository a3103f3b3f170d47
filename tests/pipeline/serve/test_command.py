"""`siliang-pipeline report DIR --serve PORT` from its start to Ctrl-C."""

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import urllib.request
from functools import partial
from pathlib import Path

import pytest

from pipeline.cli import run

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_it_serves_until_it_is_stopped(output: Path, tmp_path: Path, number: int) -> None:
    before = {path: path.stat().st_mtime_ns for path in output.rglob("*")}
    page = (ROOT / "docs/serve.md").read_text(encoding="utf-8")
    (command,) = (line for block in re.findall(r"```bash\n(.*?)```", page, re.DOTALL) for line in block.splitlines())
    program, *arguments = shlex.split(command)
    assert (program, arguments) == ("siliang-pipeline", ["report", "DIR", "--serve", "8000"])
    arguments = ["report", str(output), "--serve", "0", "--progress", "none"]
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline", *arguments],
        cwd=ROOT,
        env=os.environ | {"TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Whatever started the tests may ignore Ctrl-C, and its children with it.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    try:
        line = process.stdout.readline()
        url = re.match(r"(http://127\.0\.0\.1:\d+/)  report and search of 100 records; Ctrl-C ends$", line)[1]
        with urllib.request.urlopen(url + "search.json?verdict=filtered", timeout=10) as answer:
            assert json.load(answer)["total"] == 20
        process.send_signal(number)
        rest, errors = process.communicate(timeout=20)
    finally:
        process.kill()
    assert (process.returncode, rest, errors) == (0, "stopped\n", "")
    assert list(tmp_path.iterdir()) == []
    assert {path: path.stat().st_mtime_ns for path in output.rglob("*")} == before


def test_a_port_in_use_is_told(output: Path, capsys) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert run(["report", str(output), "--serve", str(port), "--progress", "none"]) == 1
    error = capsys.readouterr().err
    assert f"--serve {port}: 127.0.0.1 port {port}: Address already in use; name another" in error
    assert error.count("\n") == 1


def test_wrong_use_is_told(output: Path, tmp_path: Path, capsys) -> None:
    assert run(["report", str(output), "--serve", "99999"]) == 2
    assert "65535" in capsys.readouterr().err
    assert run(["report", str(tmp_path), "--serve", "0", "--progress", "none"]) == 1
    assert "no manifest.json here" in capsys.readouterr().err
