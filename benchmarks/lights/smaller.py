"""Smaller models: a student that learnt from the full model in both stages, and the full model pruned."""

import json
from dataclasses import dataclass
from pathlib import Path

from benchmarks.lights.model import Row
from benchmarks.lights.work import Work

SPEEDS = (1.5, 2.2, 3.0)
"""That are asked of pruning on the validation texts; the metric is of the second."""


def _layers(path: Path) -> int:
    return json.loads((path / "model.json").read_text(encoding="utf-8"))["config"]["layers"]


@dataclass(frozen=True)
class Students:
    """One shape, pre-trained for the same time and fine-tuned alike; what differs is when it has a teacher."""

    both: Path
    """In both stages, as in LightPAFF."""
    pretraining: Path
    finetuning: Path
    alone: Path
    """In neither: the control."""

    @property
    def chosen(self) -> Path:
        """The better of the two that learn the task from the full model, by the validation file."""
        return max([self.both, self.finetuning], key=_score)


def _score(path: Path) -> float:
    return json.loads((path / "result.json").read_text(encoding="utf-8"))["chosen"]["score"]


def _students(work: Work) -> Students | None:
    """Of a sixth of the layers, at least one."""
    if work.shards is None or not work.pretrain_seconds:
        return None
    layers = max(_layers(work.full) // 6, 1)
    beside, shape = work.directory.parent, f"model.layers={layers}"
    teacher = [f"distillation.teacher={json.dumps(str(work.run))}", f"distillation.layers={list(range(layers))}"]
    taught = work.pretrain(beside / "student-run", shape, *teacher, seconds=work.student_seconds)
    alone = work.pretrain(beside / "student-alone-run", shape, seconds=work.student_seconds)
    here, told = work.directory, ("--teacher", work.full)
    return Students(
        work.finetune(taught, here / "student", *told),
        work.finetune(taught, here / "student-pretraining"),
        work.finetune(alone, here / "student-finetuning", *told),
        work.finetune(alone, here / "student-alone"),
    )


def student(work: Work) -> list[Row]:
    """What they are compared with is their teacher, the full model."""
    found = _students(work)
    if found is None:
        return []
    chosen = found.chosen
    size = f"{_layers(chosen)} of {_layers(work.full)} layers"
    stages = {"both stages": found.both, "pre-training": found.pretraining, "fine-tuning": found.finetuning}
    rows = [
        Row(f"student, {size}, teacher in {stage}", "classifier", {"path": str(path)},
            metric="student" if path == chosen else "")
        for stage, path in stages.items()
    ]  # fmt: skip
    work.numbers["student_teacher_in_pretraining"] = float(found.both == chosen)
    return [*rows, Row("the same without a teacher", "classifier", {"path": str(found.alone)}, metric="student_alone")]


def pruned(work: Work) -> list[Row]:
    """Heads, inner features and layers of the full model taken away, to several speeds."""
    task, rows = work.task, []
    for speed in SPEEDS:
        path = work.directory / f"pruned-{speed:g}"
        if not path.is_dir():
            files = ["--train", task.train, "--valid", task.valid, *task.columns()]
            sets = [part for value in ("threads=1", *work.pruning) for part in ("--set", value)]
            work.trainer("compress", "prune", work.full, *files, *sets, "--speed", speed, "--output", path)
        metric = "pruned" if speed == SPEEDS[1] else ""
        rows.append(Row(f"pruned, {speed:g}", "classifier", {"path": str(path)}, group="pruned", metric=metric))
    return rows


def everything(work: Work) -> list[Row]:
    """The student with early exits in int8, against the full model in transformers."""
    found = _students(work)
    if found is None:
        return []
    best = found.chosen
    task, exits, small = work.task, work.directory / "student-exits", work.directory / "student-exits-int8"
    if not exits.is_dir():
        files = ["--train", task.train, "--valid", task.valid, *task.columns()]
        values = (*work.early_exit, f"exits={list(range(_layers(best)))}")
        sets = [part for value in values for part in ("--set", value)]
        work.trainer("compress", "early-exit", best, *files, *sets, "--lose", 1, "--output", exits)
    if not small.is_dir():
        work.trainer("quantise", exits, "--output", small)
    speed = json.loads((exits / "model.json").read_text(encoding="utf-8"))["early_exit"]["speed"]
    name, against = "student, early exit, int8", "full model, transformers eager"
    told = {"path": str(small), "speed": speed}
    return [Row(name, "onnx_exits", told, metric="all_together", against=against)]
