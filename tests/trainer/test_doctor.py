"""What the doctor says of this machine, each check tried for real."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from trainer.doctor import machine

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _restore_torch():
    import torch

    before = torch.are_deterministic_algorithms_enabled()
    yield
    torch.use_deterministic_algorithms(before)


def test_attention_and_repetition_are_tried():
    found = {one.subject: one for look in (machine.attention, machine.repetition, machine.versions) for one in look()}
    assert found["attention float32"].state == "ok"
    assert "math" in found["attention float32"].found
    assert "tupe-a written" in found["attention float32"].found
    assert found["repetition"].state == "ok"
    assert found["torch"].state == "ok"


def test_two_processes_meet():
    (found,) = [one for one in machine.processes() if one.subject == "gloo"]
    assert found.state == "ok", found


def test_a_place_that_cannot_be_written(tmp_path):
    found = {one.subject: one for one in machine.disk(Path("/proc/none"))}
    assert found["write access"].state == "fail"
    assert found["write access"].remedy
    assert {one.subject: one.state for one in machine.disk(tmp_path / "new" / "run")}["write access"] == "ok"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("compiler", ["g++", "/bin/false"])
def test_the_command(tmp_path, compiler):
    done = subprocess.run(
        [sys.executable, "-m", "trainer", "doctor", "--json", "--output", str(tmp_path)],
        cwd=ROOT,
        env=os.environ | {"CXX": compiler, "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr
    found = {one["subject"]: one for one in map(json.loads, done.stdout.splitlines())}
    assert {"device", "matmul", "torch.compile", "gloo", "write access"} <= found.keys()
    assert found["torch.compile"]["state"] == ("ok" if compiler == "g++" else "warn"), found["torch.compile"]
    assert all(one["remedy"] for one in found.values() if one["state"] != "ok")
