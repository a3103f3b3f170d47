"""Directories of runs, made by hand: whatever a log may hold."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

CONFIG = """[model]
preset = "tiny"
[task]
kind = "masked-lm"
[optimizer]
learning_rate = 0.001
"""


def records(steps: int = 40, scale: float = 1.0, **more: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for step in range(steps + 1):
        counters = {"tokens": 1000 * step, "seconds": 0.5 * step * scale}
        if step:
            rest = {"learning_rate": 1e-3, "gradient_norm": 2.0, "tokens_per_second": 2000.0, "mfu": 0.3}
            loss = scale * 6 / (1 + step)
            found.append({"kind": "train", "step": step, "loss": loss, "masked_lm": loss, **counters, **rest, **more})
        if step % 10 == 0:
            found.append({"kind": "held_out", "step": step, "loss": scale * 7 / (1 + step), **counters})
    return found


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Path]:
    """(name, records or lines) -> the directory of a run."""

    def make(name: str, lines: Iterable[Any] | None = None, config: str = CONFIG, result: Any = None) -> Path:
        path = tmp_path / name
        path.mkdir(parents=True)
        (path / "config.toml").write_text(config, encoding="utf-8")
        lines = records() if lines is None else lines
        texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
        (path / "log.jsonl").write_text("\n".join(texts) + "\n", encoding="utf-8")
        if result is not None:
            (path / "result.json").write_text(json.dumps(result))
        return path

    make.records = records  # type: ignore[attr-defined]
    return make
