"""Light models: accuracy beside latency, from raw text to labels, of the full model and of what is made of it.

    python benchmarks/light.py --run RUN --evaluation DIR [--output DIR]
    python benchmarks/light.py --data SHARDS --pretrain-seconds 1800 --evaluation DIR [--peers PYTHON] [--make]
    python benchmarks/light.py --quick

The full and the half-depth model are pre-trained for --pretrain-seconds, each student (with a teacher and without) for
--student-seconds. DIR holds sst2/{train,dev,test}.tsv and cola/{in_domain_train,in_domain_dev,out_of_domain_dev}.tsv.
Rates, epochs, speeds and the student are chosen by the dev files; accuracy is of the test files (CoLA: out of domain),
of which nothing is chosen. Batches of 1 and 32; texts as they are, and of 32, 128 and 512 pieces (those the model
reads); 1 and 2 threads. What is made stays in OUTPUT and is used again; rows and their spread: benchmarks/lights/. The
last line's speed-ups are of batches of 32 texts of the first task as they are, in one thread.
"""

import argparse
import json
import platform
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.lights.measure import Cell, measure  # noqa: E402
from benchmarks.lights.model import Row  # noqa: E402
from benchmarks.lights.report import headline, numbers, plot, print_table  # noqa: E402
from benchmarks.lights.rows import BUILDERS  # noqa: E402
from benchmarks.lights.work import Task, Work  # noqa: E402

LENGTHS = (None, 32, 128, 512)
BATCHES = (1, 32)
NATURAL_TEXTS = {1: 96, 32: 16 * 32}
"""Texts of a pass; of a fixed length it is fewer, below."""
FIXED_TEXTS = {1: 4, 32: 64}
METRICS = (
    "early_exit_speedup", "early_exit_points_lost", "student_speedup", "pruned_speedup", "all_together_speedup",
    "export_equal",
)  # fmt: skip
LONGEST = 512


def evaluation_tasks(directory: Path) -> list[Task]:
    sst2, cola = directory / "sst2", directory / "cola"
    found = [
        Task("sst2", sst2 / "train.tsv", sst2 / "dev.tsv", sst2 / "test.tsv"),
        Task(
            "cola", cola / "in_domain_train.tsv", cola / "in_domain_dev.tsv", cola / "out_of_domain_dev.tsv",
            text="4", label="2", metric="matthews",
        ),
    ]  # fmt: skip
    return [task for task in found if task.train.is_file()]


def quick_work(output: Path) -> tuple[Task, Path]:
    """(a task, shards) of samples: who wrote a passage."""
    shards, task = output / "shards", output / "passages"
    if not (shards / "manifest.json").is_file():
        command = ["prepare", "samples", "--output", shards, "--config", "docs/demo/pipeline.toml"]
        subprocess.run(
            [sys.executable, "-m", "pipeline", *map(str, command)], cwd=ROOT, check=True, capture_output=True
        )
    subprocess.run([sys.executable, ROOT / "docs/demo/passages.py", task], cwd=ROOT, check=True)
    files = [task / f"{name}.tsv" for name in ("train", "valid", "test")]
    return Task("passages", *files, text="text", label="author"), shards


def cells_of(texts: Sequence[str], lengths: Sequence[int | None], quick: bool) -> list[Cell]:
    """Every batch size with every length; texts of a length are made by joining."""
    found = []
    for length in lengths:
        for size in BATCHES:
            count = (NATURAL_TEXTS if length is None else FIXED_TEXTS)[size] // (4 if quick else 1)
            count = max(size, min(count, len(texts) // size * size))
            if length is None:
                # Spread over the file, in its order.
                chosen = [texts[k * len(texts) // count] for k in range(count)]
            else:
                chosen = [joined(texts, k, length) for k in range(count)]
            found.append(Cell(size, length, [chosen[k : k + size] for k in range(0, count, size)]))
    return found


def joined(texts: Sequence[str], first: int, length: int) -> str:
    """Texts one behind the other, of more than `length` pieces: a word is one at least."""
    words: list[str] = []
    while len(words) <= length:
        words += texts[first % len(texts)].split()
        first += 1
    return " ".join(words)


def build(work: Work, wanted: Sequence[str] | None) -> list[Row]:
    rows: list[Row] = []
    for number, builder in enumerate(BUILDERS):
        if number and wanted is not None and builder.__name__ not in wanted:
            continue
        try:
            rows += builder(work)
        except Exception as error:
            if not number:
                raise
            print(f"  {builder.__name__} left out: {error}", flush=True)
    return rows


def longest_of(row: Row) -> int:
    described = json.loads((Path(row.arguments["path"]) / "model.json").read_text(encoding="utf-8"))
    return described["config"]["max_length"]


def run_task(work: Work, arguments: argparse.Namespace) -> dict[str, Any]:
    task = work.task
    print(f"{task.name}: making", flush=True)
    rows = build(work, arguments.rows)
    if arguments.make:
        return {"headline": {}}
    texts, truth = task.rows(task.test)
    longest = longest_of(rows[0])
    lengths = [length for length in LENGTHS if length is None or length <= longest]
    if arguments.quick:
        lengths = lengths[:2]
    cells = cells_of(texts, lengths, arguments.quick)
    print(f"{task.name}: measuring {len(rows)} rows, {len(cells)} cells", flush=True)
    found = measure(rows, cells, texts, arguments.threads, arguments.rounds)
    told = numbers(found, cells, arguments.threads, truth, task.metric)
    print_table(told, cells, arguments.threads, task.metric)
    first = next(cell.name for cell in cells if cell.batch == 32 and cell.length is None)
    count = arguments.threads[0]
    plot(work.directory / "curve.png", f"{task.name}: {len(texts):,} test texts", told, first, count, task.metric)
    result = {
        "task": task.name, "metric": task.metric, "texts": len(texts), "rows": told,
        "headline": headline(found, told, first, count) | work.numbers,
    }  # fmt: skip
    (work.directory / "result.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(f"\n{work.directory / 'result.json'}, {work.directory / 'curve.png'}")
    return result


def check_same(output: Path, order: dict[str, Any]) -> None:
    """What lies in OUTPUT is used again, so it has to be of the same order."""
    path = output / "order.json"
    if path.is_file() and json.loads(path.read_text(encoding="utf-8")) != order:
        sys.exit(f"error: {output}: holds models of another order (order.json); name another --output")
    path.write_text(json.dumps(order, indent=1) + "\n", encoding="utf-8")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, help="a pre-trained run; without it one is trained on --data")
    parser.add_argument("--data", type=Path, help="shards to pre-train on")
    parser.add_argument("--pretrain-seconds", type=float, default=600.0)
    parser.add_argument("--student-seconds", type=float, help="of each student's pre-training; as long unless told")
    parser.add_argument("--preset", default="small")
    parser.add_argument("--evaluation", type=Path, help="directory with sst2/ and cola/")
    parser.add_argument("--output", type=Path, default=ROOT / "runs" / "light")
    names = [builder.__name__ for builder in BUILDERS[1:]]
    parser.add_argument("--rows", nargs="+", choices=names, help="beside the full model; all unless told")
    parser.add_argument("--tasks", nargs="+", choices=["sst2", "cola"], help="all unless told")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=3, help="of each fine-tuning; the best on the dev file is kept")
    parser.add_argument("--set", dest="settings", action="append", default=[], help="of each fine-tuning: KEY=VALUE")
    parser.add_argument("--peers", help="an interpreter with transformers and onnxruntime")
    parser.add_argument("--make", action="store_true", help="make the models alone; measure in a quieter hour")
    parser.add_argument("--train-set", dest="training", action="append", default=[], help="of each pre-training")
    parser.add_argument("--full-set", action="append", default=[], help="of the full model's pre-training alone")
    parser.add_argument("--half-set", action="append", default=[], help="of the half-depth model's alone")
    parser.add_argument("--quick", action="store_true", help="small, on samples, under two minutes")
    return parser.parse_args()


def main() -> None:
    arguments = parse()
    output: Path = arguments.output.resolve()
    output.mkdir(parents=True, exist_ok=True)
    training = [f"model.max_length={LONGEST}"] if arguments.preset != "tiny" else []
    # One thread: what is made on one core while another task's models are made on the other is the same.
    training += ["system.threads=1", *arguments.training]
    settings = [f"seeds={arguments.seeds}", "threads=1", *arguments.settings]
    early_exit = ["latency_seconds=5", "threads=1"]
    pruning: list[str] = []
    if arguments.quick:
        arguments.preset, arguments.pretrain_seconds, arguments.threads, arguments.rounds = "tiny", 8.0, [1], 2
        task, shards = quick_work(output)
        tasks, arguments.data, training = [task], shards, ["system.threads=1"]
        settings = ["seeds=1", "epochs=2", "learning_rates=[1e-3]", "threads=1"]
        early_exit = ["epochs=2", "latency_seconds=0.5", "threads=1"]
        pruning = ["rounds=1", "final_epochs=1"]
    elif arguments.evaluation is None or not (tasks := evaluation_tasks(arguments.evaluation)):
        sys.exit("error: name --evaluation DIR with sst2/ or cola/ in it, or --quick")
    if arguments.run is None and arguments.data is None:
        sys.exit("error: name --run RUN, or --data SHARDS to train one on")
    students = arguments.student_seconds or arguments.pretrain_seconds
    check_same(
        output,
        {
            "run": str(arguments.run or ""), "data": str(arguments.data or ""), "preset": arguments.preset,
            "seconds": [arguments.pretrain_seconds, students],
            "settings": [settings, early_exit, training, arguments.full_set, arguments.half_set, pruning],
        },
    )  # fmt: skip
    tasks = [task for task in tasks if not arguments.tasks or task.name in arguments.tasks]
    results = {}
    for task in tasks:
        directory = output / task.name
        directory.mkdir(exist_ok=True)
        work = Work(
            task=task, run=arguments.run or output / "run", directory=directory, shards=arguments.data,
            preset=arguments.preset, pretrain_seconds=arguments.pretrain_seconds, student_seconds=students,
            settings=settings, training=training, full_training=arguments.full_set, half_training=arguments.half_set,
            early_exit=early_exit, pruning=pruning, peers=arguments.peers,
        )  # fmt: skip
        if arguments.run is None:
            work.pretrain(work.run, *work.full_training)
        results[task.name] = run_task(work, arguments)
    if arguments.make:
        return
    told: dict[str, Any] = dict.fromkeys(METRICS)
    told |= next(iter(results.values()))["headline"]
    told["tasks"] = {name: result["headline"] for name, result in results.items()}
    told["machine"] = platform.machine()
    print(json.dumps(told))


if __name__ == "__main__":
    main()
