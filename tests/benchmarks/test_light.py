"""The benchmark of light models: rows in processes of their own, turns, losses, speed-ups; and all of it on samples."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.light import cells_of, joined
from benchmarks.lights.measure import Cell, Measured, measure
from benchmarks.lights.model import Row
from benchmarks.lights.report import headline, numbers

FAKE = """
import sys, time
class Model:
    size = 1000
    def __init__(self, arguments): self.arguments = arguments
    def label(self, texts, length):
        print("chatter" * 3000); print("chatter" * 30000, file=sys.stderr)
        if self.arguments.get("dies", "never") == length: raise ValueError("no such length")
        time.sleep(self.arguments["seconds"])
        return [self.arguments.get("says") or text for text in texts]
def load(arguments, threads):
    if "broken" in arguments: raise OSError("weights are missing")
    return Model(arguments)
"""


@pytest.fixture
def kind(tmp_path: Path, monkeypatch) -> str:
    (tmp_path / "fakes").mkdir()
    (tmp_path / "fakes" / "sleeper.py").write_text(FAKE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return "fakes.sleeper"


def test_rows_take_turns_and_a_broken_one_is_left_out(kind: str) -> None:
    rows = [
        Row("slow", kind, {"seconds": 0.02}),
        Row("fast", kind, {"seconds": 0.004, "says": "a"}, metric="light"),
        Row("broken", kind, {"broken": 1}),
        Row("dies", kind, {"seconds": 0, "dies": 32}),
    ]
    cells = [Cell(2, None, [["a", "b"], ["a", "c"]]), Cell(2, 32, [["a", "b"]])]
    texts = ["a", "b", "a", "c", "a"]
    found = measure(rows, cells, texts, [1], rounds=3, batch=2)
    slow, fast, broken, dies = found
    assert slow.labels == texts
    assert fast.labels == ["a"] * 5
    assert "weights are missing" in str(broken.error)
    assert "no such length" in str(dies.error)
    assert slow.error is None
    assert len(slow.seconds[cells[0].name, 1]) == 3
    assert 20 <= slow.milliseconds(cells[1].name, 1)["least"] < 60
    assert fast.speedup(slow, cells[0].name, 1) > 1.5
    told = numbers(found, cells, [1], texts, "accuracy")
    assert [row["points_lost"] for row in told[:2]] == pytest.approx([0, 40])
    assert told[0]["accuracy"] == 1
    assert headline(found, told, cells[0].name, 1) == {
        "light_speedup": told[1]["cells"][0]["speedup"],
        "light_points_lost": pytest.approx(40),
    }


def test_a_row_may_be_compared_with_another(kind: str) -> None:
    a, b, c = (Measured(Row(name, kind), labels=["x", "y"], seconds={("cell", 1): s}) for name, s in (
        ("a", [4.0, 8.0, 6.0]), ("b", [2.0, 2.0, 2.0]), ("c", [1.0, 1.0, 4.0]),
    ))  # fmt: skip
    c.row = Row("c", kind, against="b", metric="c")
    cell = Cell(1, None, [])
    for measured in (a, b, c):
        measured.seconds = {(cell.name, 1): measured.seconds["cell", 1]}
    told = numbers([a, b, c], [cell], [1], ["x", "x"], "accuracy")
    assert [row["against"] for row in told] == ["a", "a", "b"]
    assert [row["cells"][0]["speedup"] for row in told] == [1, 3, 2]
    a.error = "failed"
    told = numbers([a, b, c], [cell], [1], ["x", "x"], "accuracy")
    assert told[1]["points_lost"] is None
    assert told[1]["cells"][0]["speedup"] is None


def test_cells_hold_full_batches_of_the_test_file() -> None:
    texts = [f"text number {k}" for k in range(70)]
    cells = cells_of(texts, [None, 32], quick=False)
    assert [(cell.batch, cell.length) for cell in cells] == [(1, None), (32, None), (1, 32), (32, 32)]
    for cell in cells:
        assert {len(batch) for batch in cell.batches} == {cell.batch}
    assert [len(cell.batches) for cell in cells] == [70, 2, 4, 2]
    assert all(len(text.split()) > 32 for batch in cells[3].batches for text in batch)
    assert cells[1].batches[0][0] == texts[0]
    assert joined(["a b", "c"], 1, 3) == "c a b c"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_quick(root: Path, tmp_path: Path) -> None:
    command = [sys.executable, "benchmarks/light.py", "--quick", "--output", str(tmp_path)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=880, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told.keys() >= {"early_exit_speedup", "early_exit_points_lost", "student_speedup", "pruned_speedup"}
    assert told["early_exit_speedup"] > 1
    assert (tmp_path / "passages" / "curve.png").read_bytes().startswith(b"\x89PNG")
    rows = json.loads((tmp_path / "passages" / "result.json").read_text())["rows"]
    assert rows[0]["name"] == "full model"
    assert rows[0]["accuracy"] > 0.4
    assert all(row["error"] is None for row in rows)
