"""Smaller models: a student that learnt from the full model in both stages, and the full model pruned."""

import json
from pathlib import Path

from benchmarks.lights.model import Row
from benchmarks.lights.work import Work

SPEEDS = (1.5, 2.2, 3.0)
"""That are asked of pruning on the validation texts; the metric is of the second."""


def _layers(path: Path) -> int:
    return json.loads((path / "model.json").read_text(encoding="utf-8"))["config"]["layers"]


def _student(work: Work) -> tuple[Path, Path] | None:
    """(the student, the same without a teacher): a sixth of the layers, at least one, pre-trained for the same time."""
    if work.shards is None or not work.pretrain_seconds:
        return None
    layers = max(_layers(work.full) // 6, 1)
    beside, shape = work.directory.parent, f"model.layers={layers}"
    teacher = [f"distillation.teacher={json.dumps(str(work.run))}", f"distillation.layers={list(range(layers))}"]
    taught = work.pretrain(beside / "student-run", shape, *teacher)
    alone = work.pretrain(beside / "student-alone-run", shape)
    return (
        work.finetune(taught, work.directory / "student", "--teacher", work.full),
        work.finetune(alone, work.directory / "student-alone"),
    )


def student(work: Work) -> list[Row]:
    """What it is compared with is its teacher, the full model; the control has the same shape and time."""
    found = _student(work)
    if found is None:
        return []
    name = f"student, {_layers(found[0])} of {_layers(work.full)} layers"
    return [
        Row(name, "classifier", {"path": str(found[0])}, metric="student"),
        Row("the same without a teacher", "classifier", {"path": str(found[1])}, metric="student_alone"),
    ]


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
    found = _student(work)
    if found is None:
        return []
    task, exits, small = work.task, work.directory / "student-exits", work.directory / "student-exits-int8"
    if not exits.is_dir():
        files = ["--train", task.train, "--valid", task.valid, *task.columns()]
        values = (*work.early_exit, f"exits={list(range(_layers(found[0])))}")
        sets = [part for value in values for part in ("--set", value)]
        work.trainer("compress", "early-exit", found[0], *files, *sets, "--lose", 1, "--output", exits)
    if not small.is_dir():
        work.trainer("quantise", exits, "--output", small)
    speed = json.loads((exits / "model.json").read_text(encoding="utf-8"))["early_exit"]["speed"]
    name, against = "student, early exit, int8", "full model, transformers eager"
    told = {"path": str(small), "speed": speed}
    return [Row(name, "onnx_exits", told, metric="all_together", against=against)]
