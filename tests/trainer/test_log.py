"""The log and the progress line."""

import io
from pathlib import Path

import pytest
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from trainer.log import RunLog, read_log
from trainer.progress import ProgressLine, clock, describe


def test_tensorboard_holds_the_same_numbers(tmp_path: Path) -> None:
    with RunLog(tmp_path) as log:
        for step in (1, 2, 3):
            log.write("train", step, loss=1.5 / step, tokens=100 * step)
        log.write("held_out", 3, loss=2.25)
    board = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    for record in read_log(tmp_path / "log.jsonl"):
        for name in record.keys() - {"kind", "step"}:
            scalars = {event.step: event.value for event in board.Scalars(f"{record['kind']}/{name}")}
            assert scalars[record["step"]] == pytest.approx(record[name], rel=1e-6)
    assert len(read_log(tmp_path / "log.jsonl")) == 4


def test_a_resumed_log_holds_every_step_once(tmp_path: Path) -> None:
    with RunLog(tmp_path) as log:
        for step in range(1, 6):
            log.write("train", step, loss=float(step))
    path = tmp_path / "log.jsonl"
    path.write_text(path.read_text(encoding="utf-8") + '{"kind": "train", "st', encoding="utf-8")
    with RunLog(tmp_path, step=3, resumed=True) as log:
        for step in range(4, 7):
            log.write("train", step, loss=10.0 + step)
    assert [(r["step"], r["loss"]) for r in read_log(path)] == [(1, 1), (2, 2), (3, 3), (4, 14), (5, 15), (6, 16)]
    board = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [(e.step, e.value) for e in board.Scalars("train/loss")] == [
        (1, 1),
        (2, 2),
        (3, 3),
        (4, 14),
        (5, 15),
        (6, 16),
    ]


def test_a_fresh_log_drops_the_old_one(tmp_path: Path) -> None:
    for loss in (1.0, 2.0):
        with RunLog(tmp_path) as log:
            log.write("train", 1, loss=loss)
    assert [record["loss"] for record in read_log(tmp_path / "log.jsonl")] == [2.0]
    board = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [event.value for event in board.Scalars("train/loss")] == [2.0]


@pytest.mark.parametrize(("seconds", "text"), [(0, "00:00"), (59.6, "01:00"), (3599, "59:59"), (3723, "1:02:03")])
def test_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text


def test_plain_lines_are_rare_and_a_terminal_gets_a_bar() -> None:
    text = describe(1200, 4.81234, 13_100, 0.423, 492)
    assert text == "step 1,200 · loss 4.8123 · 13.1k tokens/s · MFU 42% · 08:12 left"
    out = io.StringIO()
    with ProgressLine(plain_seconds=3600, console=Console(file=out, width=120)) as line:
        for step in range(100):
            line.update(step / 100, text)
        line.note("step 100: held-out loss 4.2 [MASK]")
    assert out.getvalue().splitlines() == ["  0% " + text, "step 100: held-out loss 4.2 [MASK]"]
    out = io.StringIO()
    with ProgressLine(console=Console(file=out, width=120, force_terminal=True)) as line:
        line.update(0.25, text)
    assert "25%" in out.getvalue()
    assert "━" in out.getvalue()
