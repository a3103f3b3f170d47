"""`benchmarks/report.py` on few rows: a corpus that contradicts nothing, and every key of its last line."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.report_corpus import make_corpus
from pipeline.report.collect import collect


@pytest.mark.slow
def test_the_corpus_contradicts_nothing(tmp_path: Path) -> None:
    manifest = make_corpus(tmp_path / "data", 2_000)
    report = collect(tmp_path / "data")
    assert report.counts == manifest.counts
    assert {"contradiction", "leak"}.isdisjoint(alarm.kind for alarm in report.alarms)
    assert sum(rule.decided for rule in report.rules) == manifest.counts.filtered


@pytest.mark.slow
def test_quick(root: Path) -> None:
    command = [sys.executable, "benchmarks/report.py", "--quick"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=250, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["rows"] == 20_000
    assert told["report_s"] > 0
    assert 50 < told["peak_mb"] < 2_000
    assert {"page_ms", "html_kb", "index_s", "inspect_ms"} <= told.keys()
    assert 0 < told["search_ms"] < 1_000
