"""A labelled task, a pre-trained run, and where what is made of them lies."""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Task:
    """Files as `siliang-trainer finetune` takes them."""

    name: str
    train: Path
    valid: Path
    """Rates, epochs and speeds are chosen by it."""
    test: Path
    """What accuracy is told of; nothing is chosen by it."""
    text: str = "1"
    label: str = "2"
    metric: str = "accuracy"
    header: bool = False

    def columns(self) -> list[str]:
        return ["--text", self.text, "--label", self.label]

    def rows(self, path: Path) -> tuple[list[str], list[str]]:
        """(texts, labels)."""
        from trainer.finetune.table import Columns, read_rows

        rows = list(read_rows(path, Columns(self.text, None, self.label)))
        return [str(row.text) for row in rows], [str(row.label).strip() for row in rows]


@dataclass(frozen=True)
class Work:
    """What the builders of rows are given."""

    task: Task
    run: Path
    """The pre-trained model."""
    directory: Path
    """Each builder makes directories of its own in it; one that is finished is used again."""
    shards: Path | None = None
    """The corpus that the run was trained on."""
    preset: str = "small"
    pretrain_seconds: float = 0.0
    student_seconds: float = 0.0
    """Of each student's pre-training."""
    settings: Sequence[str] = ()
    """`--set` values of every fine-tuning."""
    training: Sequence[str] = ()
    """Those of every pre-training, the preset apart."""
    full_training: Sequence[str] = ()
    """Further ones of the full model's."""
    half_training: Sequence[str] = ()
    """Further ones of the half-depth model's."""
    early_exit: Sequence[str] = ()
    """Those of every early exit."""
    pruning: Sequence[str] = ()
    """Those of every pruning."""
    peers: str | None = None
    """An interpreter with transformers and onnxruntime."""
    numbers: dict[str, float] = field(default_factory=dict)
    """What a builder has to tell beside its rows: further names of the last line."""

    @property
    def full(self) -> Path:
        """The fine-tuned classifier that all others are measured against."""
        return self.directory / "full"

    def trainer(self, *arguments: object) -> None:
        """`siliang-trainer ...`. Raises RuntimeError with its last words where it fails."""
        command = [sys.executable, "-m", "trainer", *map(str, arguments)]
        start = time.perf_counter()
        done = subprocess.run(
            command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(command[2:])}\n{done.stderr[-2000:]}")
        print(f"  {arguments[0]} {arguments[-1]}: {time.perf_counter() - start:.0f} s", flush=True)

    def pretrain(self, output: Path, *changes: str, seconds: float | None = None) -> Path:
        """A pre-training for `seconds` (or `pretrain_seconds`), unless it is there. `changes` are KEY=VALUE."""
        if not (output / "result.json").is_file():
            schedule = ["schedule.by=seconds", f"schedule.seconds={seconds or self.pretrain_seconds}"]
            sets = [part for value in (*schedule, *self.training, *changes) for part in ("--set", value)]
            self.trainer("train", self.shards, "--preset", self.preset, *sets, "--resume", "--output", output)
        return output

    def finetune(self, run: Path, output: Path, *more: object) -> Path:
        """A fine-tuning of a run, unless it is there."""
        if not (output / "result.json").is_file():
            sets = [part for value in self.settings for part in ("--set", value)]
            files = ["--train", self.task.train, "--valid", self.task.valid, *self.task.columns()]
            metric = ["--metric", self.task.metric]
            self.trainer("finetune", run, *files, *sets, *metric, *more, "--resume", "--output", output)
        return output
