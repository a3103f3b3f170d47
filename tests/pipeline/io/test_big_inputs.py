"""Inputs that are one huge line: bounded memory, bounded time, and one record that says why."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.config import InputConfig, PipelineConfig
from pipeline.io.inputs import list_inputs
from pipeline.io.read import read_batches
from pipeline.stages.clean import audit_rows, clean_batch

NAMES = (
    "a.txt",
    "a.jsonl",
    "a.json",
    "a.csv",
    "a.tsv",
    "a.html",
    "a.eml",
    "a.mbox",
    "wiki_00",
    "a.db",
    "a.epub",
    "a.tar",
)
HEADS = {
    "a.jsonl": b'{"text": "',
    "a.json": b'[{"text": "',
    "a.csv": b"text\n",
    "a.tsv": b"text\n",
    "a.eml": b"Subject: x\n\n",
    "a.mbox": b"From a@b.c Sat Jan  3 01:05:34 1996\nSubject: x\n\n",
    "wiki_00": b"<doc id='1'>\n",
    "a.db": b"SQLite format 3\0",
    "a.epub": b"PK\3\4",
}
CHILD = """
import json, sys
from pipeline.config import InputConfig
from pipeline.io.inputs import list_inputs
from pipeline.io.read import read_batches
config = InputConfig(**json.loads(sys.argv[2]))
found = {}
for file in list_inputs([sys.argv[1]]):
    rows = [row for batch in read_batches(file, config) for row in batch.to_pylist()]
    found[file.relative] = [len(rows), rows[-1]["quarantine"]]
# Not ru_maxrss, which begins with that of the process that forked.
[peak] = [line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")]
print(json.dumps({"found": found, "peak_mb": int(peak) / 1024}))
"""


def one_line(path: Path, size: int, fill: bytes | None) -> None:
    """A head that the format begins with, then `size` bytes without a line end; None: a hole, which takes no disk."""
    with path.open("wb") as sink:
        sink.write(HEADS.get(path.name, b""))
        if fill is None:
            sink.truncate(size)
            return
        for _ in range(size >> 20):
            sink.write(fill * (1 << 20))


def measured(folder: Path, root: Path, **config) -> dict:
    command = [sys.executable, "-c", CHILD, str(folder), json.dumps(config)]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=280, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


def check(folder: Path, root: Path, size: int, fill: bytes | None, peak_mb: int) -> None:
    for name in NAMES:
        one_line(folder / name, size, fill)
    for config in ({}, {"split_characters": 1000}):
        outcome = measured(folder, root, **config)
        found = outcome["found"]
        assert set(found) == set(NAMES)
        assert all(rows == 1 and reason for name, (rows, reason) in found.items() if name != "a.txt"), found
        assert {found[name][1] for name in ("a.jsonl", "a.csv", "a.tsv", "a.html")} <= {"record_too_long", "empty"}
        rows, reason = found["a.txt"]
        assert rows == 1 if not config else abs(rows - size // 1000) <= 1, found
        assert reason in (("record_too_long",) if not config else (None, "nul_bytes"))
        assert outcome["peak_mb"] < peak_mb, outcome


pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")


@pytest.fixture
def root() -> Path:
    return Path(__file__).parents[3]


@pytest.mark.parametrize("fill", [b"x", None])
def test_one_line_of_16_mb(tmp_path, root, fill):
    check(tmp_path, root, 16 << 20, fill, 400)


def test_one_line_of_64_mb(tmp_path, root):
    one_line(tmp_path / "a.jsonl", 64 << 20, b"x")
    one_line(tmp_path / "a.txt", 64 << 20, b"x")
    outcome = measured(tmp_path, root)
    assert {reason for _, reason in outcome["found"].values()} == {"record_too_long"}
    assert outcome["peak_mb"] < 400


@pytest.mark.slow
@pytest.mark.parametrize("fill", [b"x", None])
def test_one_line_of_1_gb(tmp_path, root, fill):
    for name in NAMES:
        one_line(tmp_path / name, 1 << 30, fill)
        outcome = measured(tmp_path, root)
        [[rows, reason]] = outcome["found"].values()
        assert (rows, reason is not None) == (1, True), name
        assert outcome["peak_mb"] < 1000, (name, outcome)
        (tmp_path / name).unlink()


@pytest.mark.parametrize(
    "text",
    [
        "x" * 10_000_000,  # one word
        "語" * 3_300_000,
        "e" + "\u0301\u0338\u0353\u0345" * 1_200_000,  # one letter
        "\u202e\u2066" * 1_500_000 + "x",
        "<" * 10_000_000,
        "a@" * 5_000_000,
        "4111111111111111" * 600_000,
    ],
    ids=["word", "han", "zalgo", "overrides", "brackets", "mail", "digits"],
)
def test_one_word_of_10_mb_through_cleaning(tmp_path, text):
    (tmp_path / "a.txt").write_text(text, encoding="utf-8")
    (tmp_path / "b.txt").write_text("A short text beside it.")
    config = PipelineConfig(input=InputConfig(max_record_bytes=10 << 20))
    start = time.process_time()
    rows = []
    for file in list_inputs([str(tmp_path)]):
        for batch in read_batches(file, config.input):
            rows += audit_rows(clean_batch(batch, config), config.privacy).to_pylist()
    assert [row["record"].rpartition("/")[2] for row in rows] == ["a.txt#1", "b.txt#1"]
    assert rows[0]["verdict"] in ("filtered", "kept") or rows[0]["rule"] == "not_text"
    assert time.process_time() - start < 60


@pytest.mark.parametrize(("marks", "reason"), [(400, None), (900, None), (2000, "not_text"), (100_000, "not_text")])
def test_runs_of_combining_marks(tmp_path, marks, reason):
    for lead in (1, 500, 999, 12_345):
        (tmp_path / "a.txt").write_text("x" * lead + "\u0301\u0338" * (marks // 2) + " and on" * 1000, encoding="utf-8")
        [file] = list_inputs([str(tmp_path)])
        [row] = [row for batch in read_batches(file, InputConfig()) for row in batch.to_pylist()]
        assert row["quarantine"] == reason
