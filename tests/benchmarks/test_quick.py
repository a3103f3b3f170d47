"""The whole of it on samples/: shards, search, seeds, parts of a budget, measures, report."""

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_quick(root: Path) -> None:
    command = [sys.executable, "benchmarks/ablation.py", "--quick"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=560, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert {name: arm["seeds"] for name, arm in told["arms"].items()} == {"bert": 1, "tupe-a": 1}
    assert all(arm["loss"] for arm in told["arms"].values())
    assert done.stdout.count("sst2, fine-tuned") == 1
    assert "searches: losses of single runs" in done.stdout
