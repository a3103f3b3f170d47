"""benchmarks/int8.py runs alone and ends with one JSON object."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_quick():
    command = [sys.executable, "benchmarks/int8.py", "--quick"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    rows = found["milliseconds"]
    assert rows["ONNX Runtime fp32"]["error"] < 1e-4
    assert 0 < rows["int8, by channel (quantise)"]["error"] < 1
    assert found["bytes"]["int8, by channel (quantise)"] < 0.3 * found["bytes"]["ONNX Runtime fp32"]
