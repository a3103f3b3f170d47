"""Which models are measured. A builder makes what its rows need inside `work.directory` and returns them.

A builder that fails is told and its rows are left out; the first one's row is what the others are measured against.
"""

import json
from collections.abc import Callable
from pathlib import Path

from benchmarks.lights.measure import Child
from benchmarks.lights.model import Row
from benchmarks.lights.smaller import everything, pruned, student
from benchmarks.lights.work import Work

Builder = Callable[[Work], list[Row]]

FULL = "full model"
SPEEDS = (0.2, 0.4, 0.6, 0.8, 1.0)
"""Of the curve; the calibrated one is a row of its own."""


def full(work: Work) -> list[Row]:
    """The whole model, fine-tuned."""
    path = work.finetune(work.run, work.full)
    return [Row(FULL, "classifier", {"path": str(path)})]


def early_exit(work: Work) -> list[Row]:
    """Self-distilled from the full model; its speed may lose one point on the validation file."""
    path, chosen = _with_exits(work, "early-exit")
    rows = [Row(f"early exit, chosen speed {chosen:g}", "early_exit", _at(path, chosen), metric="early_exit")]
    rows += [Row(f"early exit, speed {s:g}", "early_exit", _at(path, s), group="early exit") for s in SPEEDS]
    return rows


def early_exit_from_embeddings(work: Work) -> list[Row]:
    """The same with one exit more, before the first layer: what a text's words by themselves can tell."""
    layers = json.loads((work.full / "model.json").read_text(encoding="utf-8"))["config"]["layers"]
    path, chosen = _with_exits(work, "early-exit-0", f"exits={list(range(layers))}")
    name = f"early exit from embeddings, {chosen:g}"
    return [Row(name, "early_exit", _at(path, chosen), metric="early_exit_from_embeddings")]


def _with_exits(work: Work, name: str, *settings: str) -> tuple[Path, float]:
    """(the directory, the speed that was chosen)."""
    task, path = work.task, work.directory / name
    if not path.is_dir():
        sets = [part for value in (*work.early_exit, *settings) for part in ("--set", value)]
        files = ["--train", task.train, "--valid", task.valid, *task.columns()]
        work.trainer("compress", "early-exit", work.full, *files, *sets, "--lose", 1, "--output", path)
    described = json.loads((path / "model.json").read_text(encoding="utf-8"))
    return path, described["early_exit"]["speed"]


def _at(path: Path, speed: float) -> dict[str, object]:
    return {"path": str(path), "speed": speed}


def half_depth(work: Work) -> list[Row]:
    """A model of half the layers, pre-trained for the same time and fine-tuned in the same way (as DistilBERT is half
    of BERT, but without a teacher)."""
    if work.shards is None or not work.pretrain_seconds:
        return []
    layers = json.loads((work.full / "model.json").read_text(encoding="utf-8"))["config"]["layers"]
    # Beside the tasks' directories: pre-trained once for all of them.
    run = work.pretrain(work.directory.parent / "half-depth-run", f"model.layers={layers // 2}", *work.half_training)
    path = work.finetune(run, work.directory / "half-depth")
    return [Row("half depth, same time", "classifier", {"path": str(path)}, metric="half_depth")]


def transformers(work: Work) -> list[Row]:
    """The full model exported, in transformers: as a plain BERT where it is one, else with its own modelling file."""
    code, path = False, work.directory / "bert"
    if not path.is_dir():
        try:
            work.trainer("export", work.full, "--format", "bert", "--output", path)
        except RuntimeError:
            code, path = True, work.directory / "huggingface"
            if not path.is_dir():
                work.trainer("export", work.full, "--format", "huggingface", "--output", path)
    row = Row("full model, transformers eager", "transformers_eager", {"path": str(path), "code": code}, work.peers)
    work.numbers["export_equal"] = _difference(Row(FULL, "classifier", {"path": str(work.full)}), row, work)
    return [row]


def _difference(one: Row, other: Row, work: Work, count: int = 256) -> float:
    """Greatest between two rows' logits of test texts, in batches of 32."""
    texts, greatest = work.task.rows(work.task.test)[0][:count], 0.0
    with Child(one, 1) as first, Child(other, 1) as second:
        for k in range(0, len(texts), 32):
            a, b = (child.ask({"logits": texts[k : k + 32]})["logits"] for child in (first, second))
            pairs = (pair for left, right in zip(a, b, strict=True) for pair in zip(left, right, strict=True))
            greatest = max(greatest, *(abs(x - y) for x, y in pairs))
    return greatest


def onnx(work: Work) -> list[Row]:
    """The full model in ONNX Runtime: in fp32, and with int8 weights."""
    rows = []
    for name, told, order in (("onnx", "fp32", ("export", "--format", "onnx")), ("int8", "int8", ("quantise",))):
        path = work.directory / name
        if not path.is_dir():
            work.trainer(order[0], work.full, *order[1:], "--output", path)
        metric = "int8" if name == "int8" else ""
        rows.append(Row(f"full model, ONNX Runtime {told}", "onnx_runtime", {"path": str(path)}, metric=metric))
    return rows


def int8_exits(work: Work) -> list[Row]:
    """Early exit and int8 together, at the speed that was chosen in fp32."""
    path, chosen = _with_exits(work, "early-exit")
    small = work.directory / "early-exit-int8"
    if not small.is_dir():
        work.trainer("quantise", path, "--output", small)
    return [Row(f"early exit in int8, speed {chosen:g}", "onnx_exits", _at(small, chosen), metric="int8_early_exit")]


BUILDERS: list[Builder] = [
    full, early_exit, early_exit_from_embeddings, student, pruned, half_depth, transformers, onnx, int8_exits,
    everything,
]  # fmt: skip
