"""A reader and a task of one's own: the pages' code and edits, in a copy of the project, do what the pages say."""

import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pytest
import torch
from safetensors.torch import load_file

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


def follow(page: str, tree: Path) -> list[Path]:
    """Make the page's new files and edits; an edit's old lines must stand in the file exactly once."""
    text = (DOCS / page).read_text(encoding="utf-8")
    new = re.findall(r"`([\w/]+\.py)`:\n\n```python\n(.*?)```", text, re.DOTALL)
    for name, content in new:
        (tree / name).write_text(content, encoding="utf-8")
    for name, lines in re.findall(r"```diff\n--- (\S+)\n(.*?)```", text, re.DOTALL):
        old = "".join(line[1:] for line in lines.splitlines(keepends=True) if line[0] in " -")
        edited = "".join(line[1:] for line in lines.splitlines(keepends=True) if line[0] in " +")
        source = (tree / name).read_text(encoding="utf-8")
        assert source.count(old) == 1, f"{page}: {name} no longer has\n{old}"
        (tree / name).write_text(source.replace(old, edited), encoding="utf-8")
    return [tree / name for name, _ in new]


@pytest.fixture(params=["own-reader.md", "own-task.md"])
def tree(request, tmp_path) -> Path:
    for room in ("pipeline", "trainer", "schemas"):
        shutil.copytree(ROOT / room, tmp_path / room, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    assert len(follow(request.param, tmp_path)) == 1
    return tmp_path


def environment(tree: Path) -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1"}


def run(tree: Path, *command: str) -> str:
    done = subprocess.run(
        [sys.executable, *command], cwd=tree, env=environment(tree), capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


SRT = """1
00:00:01,000 --> 00:00:02,500
<i>Who goes there?</i>

2
00:00:03,000 --> 00:00:04,000
- A friend.
- Pass.
"""
READ = """
import json, os, sys
from pipeline.config import InputConfig
from pipeline.io.content import read_content
for path in sys.argv[1:]:
    found = read_content(path, "srt", os.path.getsize(path), InputConfig())
    print(json.dumps([[r.position, r.text, r.reason] for r in found]))
"""


@pytest.mark.parametrize("tree", ["own-reader.md"], indirect=True)
def test_the_reader_reads_subtitles_of_every_shape(tree):
    shapes = {
        "plain": SRT.encode(),
        "windows": SRT.replace("\n", "\r\n").encode("utf-16"),
        "latin": SRT.replace("friend", "frère dévoué, répété à l'été, naïf, où ça").encode("latin-1"),
        "cut": SRT.split("2\n00:00:03")[0].encode(),
        "none": b"These are no subtitles.\n",
        "empty": b"",
        "random": bytes(range(256)) * 20,
    }
    for name, content in shapes.items():
        (tree / f"{name}.srt").write_bytes(content)
    lines = run(tree, "-c", READ, *(f"{name}.srt" for name in shapes)).splitlines()
    found = dict(zip(shapes, map(json.loads, lines), strict=True))
    spoken = "Who goes there? - A friend. - Pass."
    assert found["plain"] == found["windows"] == [[1, spoken, None]]
    assert found["latin"] == [[1, spoken.replace("friend", "frère dévoué, répété à l'été, naïf, où ça"), None]]
    assert found["cut"] == [[1, "Who goes there?", None]]
    reasons = {name: [record[2] for record in records] for name, records in found.items()}
    assert reasons["none"] == ["corrupt_stream"]
    assert reasons["empty"] == ["empty"]
    assert reasons["random"][0] in {"invalid_utf8", "corrupt_stream", "nul_bytes"}


@pytest.mark.slow
@pytest.mark.parametrize("tree", ["own-reader.md"], indirect=True)
def test_prepare_takes_subtitles_beside_other_files(tree):
    shutil.copytree(ROOT / "samples/sotu", tree / "in/sotu")
    (tree / "in/films").mkdir()
    (tree / "in/films/gate.srt").write_text(SRT + "\n".join(SRT for _ in range(3)))
    run(tree, "-m", "pipeline", "prepare", "in", "--output", "out", "--config", str(DOCS / "demo/pipeline.toml"))
    audit = pa.concat_tables(pa.ipc.open_file(path).read_all() for path in sorted((tree / "out/audit").glob("*.arrow")))
    rows = {row["record"]: row for row in audit.to_pylist()}
    assert rows["films/gate.srt#1"]["verdict"] != "quarantined"
    assert rows["films/gate.srt#1"]["chars_in"] > 100


@pytest.mark.slow
@pytest.mark.parametrize("tree", ["own-task.md"], indirect=True)
def test_the_task_learns_and_goes_on_to_the_same_bits(tree):
    demo = str(DOCS / "demo/pipeline.toml")
    run(tree, "-m", "pipeline", "prepare", str(ROOT / "samples/shakespeare"), "--output", "shards", "--config", demo)
    shape = ["layers=2", "width=64", "heads=2", "feed_forward=128", "max_length=64"]
    values = [f"model.{value}" for value in shape] + [
        "task.kind=shuffled-token", "data.sequence_length=64", "data.batch_rows=32", "data.mask_rate=0.3",
        "schedule.steps=600", "optimizer.learning_rate=3e-3", "checkpoint.every_steps=200", "evaluate.every_steps=300",
        "evaluate.rows=64", "evaluate.samples=4", "system.device=cpu", "system.precision=fp32", "system.threads=1",
    ]  # fmt: skip
    train = ["-m", "trainer", "train", "shards", *(part for value in values for part in ("--set", value)), "--resume"]
    run(tree, *train, "--output", "whole")
    process = subprocess.Popen([sys.executable, *train, "--output", "killed"], cwd=tree, env=environment(tree))
    end = time.monotonic() + 120
    while not list((tree / "killed/checkpoints").glob("step-*")) and time.monotonic() < end:
        time.sleep(0.02)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    run(tree, *train, "--output", "killed")
    one, other = (load_file(tree / name / "model.safetensors") for name in ("whole", "killed"))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    records = [json.loads(line) for line in (tree / "whole/log.jsonl").read_text(encoding="utf-8").splitlines()]
    found = [record for record in records if record["kind"] == "held_out"]
    # A share p of the pieces moves, so that knowing nothing else costs this much.
    share = 0.3 * 0.97
    nothing = -share * math.log(share) - (1 - share) * math.log(1 - share)
    # 0.586 found in 1.2 million tokens.
    assert found[-1]["loss"] < nothing - 0.01
