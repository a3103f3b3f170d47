"""Cleaning: MB/s of the rules, of the whole stage, and what Beam adds to it. One core.

    python benchmarks/cleaning.py [--data DIR] [--mb N] [--peers PYTHON] [--quick]

Without --data it takes samples/, over and over until there are --mb megabytes. Kernels are compiled and warmed up
before anything is timed; the warm-up is printed apart. PYTHON has datatrove (see rules.py). The last line is one JSON
object:

- rules_mb_s: all statistics and all rules of all sets (`measure` and `judge`), UTF-8 text in MB over seconds of CPU
- clean_mb_s: one part of the stage without Beam: reading, `clean_batch`, signatures, writing; over seconds of CPU
- beam_share: (the stage as a Beam job - the same parts without Beam) / the stage as a Beam job, seconds of CPU
- rules_vs_datatrove: see rules.py; null without that peer
- repair_vs_ftfy: see repair.py
- peak_mb: resident memory of this process at its highest, peers' processes not counted. That of the whole command on
  1 GB with two workers is prepare.py's
"""

import argparse
import json
import os
import platform
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
if Path(sys.path[0]).resolve() == ROOT / "benchmarks":
    sys.path[0] = str(ROOT)
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pyarrow as pa  # noqa: E402

from benchmarks import repair as repair_benchmark  # noqa: E402
from benchmarks.rules import INSTALL, rules_vs_datatrove  # noqa: E402
from pipeline.config import PipelineConfig, make_config  # noqa: E402
from pipeline.io.inputs import list_inputs  # noqa: E402
from pipeline.io.read import read_batches  # noqa: E402
from pipeline.runner import Execution, quiet_logs, run_job  # noqa: E402
from pipeline.stages import clean  # noqa: E402
from pipeline.stages.parts import PartWriter, Task, write_tasks  # noqa: E402
from pipeline.text.classes import classes  # noqa: E402
from pipeline.text.counts import count  # noqa: E402
from pipeline.text.html import main_text  # noqa: E402
from pipeline.text.judge import judge  # noqa: E402
from pipeline.text.language import identify  # noqa: E402
from pipeline.text.repair import repair  # noqa: E402
from pipeline.text.rules import RULES  # noqa: E402
from pipeline.text.statistics import STATISTICS, measure  # noqa: E402

CONFIG = make_config(
    {
        "input": {
            "text_fields": ["text", "paragraphs", "content", "original"],
            "exclude": ["SOURCES.md"],
            "split_characters": 6000,
            "max_quarantined": 1.0,
        }
    }
)


def timed(work: Callable[[], object], repeats: int) -> float:
    """The least seconds of CPU of several runs: what other processes do only adds."""
    best = float("inf")
    for _ in range(repeats):
        started = time.process_time()
        work()
        best = min(best, time.process_time() - started)
    return best


def inputs(data: Path, megabytes: float, work: Path) -> tuple[Path, float]:
    """A directory of links to the files of `data`, repeated until there are so many megabytes; and how many."""
    files = sorted(p for p in data.rglob("*") if p.is_file() and not p.name.startswith((".", "_")))
    files = [path for path in files if path.name != "SOURCES.md" and path.stat().st_size]
    if not files:
        raise SystemExit(f"{data}: no files")
    size, turn = 0.0, 0
    while size < megabytes * 1e6:
        for path in files:
            link = work / f"turn{turn:03d}" / path.relative_to(data)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(path.resolve())
            size += path.stat().st_size
            if size >= megabytes * 1e6:
                break
        turn += 1
    return work, size / 1e6


def raw_batches(data: Path, config: PipelineConfig) -> list[pa.RecordBatch]:
    """Records as they are read, small files together."""
    held: list[pa.RecordBatch] = []
    for file in list_inputs([str(data)]):
        held += list(read_batches(file, config.input))
    table = pa.Table.from_batches(held).combine_chunks()
    return table.to_batches(max_chunksize=1024)


def stage_tasks(data: Path, config: PipelineConfig) -> list[Task]:
    return clean.plan_units(list_inputs([str(data)]), config)


def without_beam(tasks: list[Task], config: PipelineConfig, output: Path) -> None:
    make = clean.CleanUnit(config)
    for task in tasks:
        make(task.spec, PartWriter(str(output), task.index))
    shutil.rmtree(output)


def with_beam(tasks: list[Task], config: PipelineConfig, output: Path) -> None:
    path = write_tasks(str(output), clean.STAGE, tasks)
    run_job(clean.STAGE, lambda p: clean.build(p, str(output), path, config), Execution(), len(tasks))
    shutil.rmtree(output)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT / "samples")
    parser.add_argument("--mb", type=float, help="megabytes of input; 16, or 4 with --quick")
    parser.add_argument("--peers", type=Path, help="a Python with datatrove 0.10 and spacy")
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    quiet_logs()
    megabytes = arguments.mb or (4.0 if arguments.quick else 16.0)
    repeats = 2 if arguments.quick else 5
    with tempfile.TemporaryDirectory() as folder:
        data, size = inputs(arguments.data, megabytes, Path(folder) / "input")
        output = Path(folder) / "output"
        started = time.perf_counter()
        small, _ = inputs(arguments.data, 0.2, Path(folder) / "small")
        without_beam(stage_tasks(small, CONFIG), CONFIG, output)
        print(f"warm-up, compilers and tables: {time.perf_counter() - started:.1f} s")

        before: dict[str, float] = {}
        batches = raw_batches(data, CONFIG)
        unrepaired = [text for batch in batches for text in batch["text"].to_pylist()]
        for step in (main_text, repair, identify):
            started = time.process_time()
            batches = [step(batch) for batch in batches]
            before[step.__name__] = time.process_time() - started
        text = sum(sum(len(t.encode()) for t in batch["text"].to_pylist()) for batch in batches) / 1e6
        rows = sum(batch.num_rows for batch in batches)
        classes()
        kernels = timed(
            lambda: [count(b["text"], b["quarantine"].is_null().to_numpy(False), min_words=(5, 3)) for b in batches],
            repeats,
        )
        measuring = timed(lambda: [measure(batch) for batch in batches], repeats)
        measured = [measure(batch) for batch in batches]
        judging = timed(lambda: [judge(batch, CONFIG.rules) for batch in measured], repeats)
        rules = measuring + judging
        print(f"\n{text:.1f} MB of text in {rows:,} records; {len(STATISTICS)} statistics, {len(RULES)} rules")
        for name, seconds in (
            *before.items(),
            ("measure", measuring),
            ("  of which kernels", kernels),
            ("judge", judging),
            ("all statistics and rules", rules),
        ):
            print(
                f"  {name:<26} {seconds:8.3f} s {seconds / text * 1e3:8.2f} ms/MB {text / max(seconds, 1e-9):9.1f} MB/s"
            )

        tasks = stage_tasks(data, CONFIG)
        once = max(1, repeats // 2)
        stage = timed(lambda: without_beam(tasks, CONFIG, output), once)
        job = timed(lambda: with_beam(tasks, CONFIG, output), once)
        print(f"\n{size:.1f} MB of input in {len(tasks)} parts")
        print(f"  {'the stage without Beam':<26} {stage:8.3f} s {size / stage:20.1f} MB/s")
        print(f"  {'the stage as a Beam job':<26} {job:8.3f} s {size / job:20.1f} MB/s")
    texts = [text for batch in batches for text in batch.filter(batch["quarantine"].is_null())["text"].to_pylist()]
    print("\nrules beside datatrove's filters, the same texts:")
    ratio = rules_vs_datatrove(texts[:: 4 if arguments.quick else 1], arguments.peers, 2)["rules_vs_datatrove"]
    print(f"  {ratio}" if ratio is not None else f"  not measured: {INSTALL}")
    print("\nrepair beside ftfy.fix_text, the same texts as they were read:")
    repaired = repair_benchmark.measure({arguments.data.name: unrepaired}, once)
    metrics = {
        "rules_mb_s": round(text / rules, 2),
        "kernels_mb_s": round(text / kernels, 2),
        "clean_mb_s": round(size / stage, 2),
        "beam_share": round(max(0.0, 1 - stage / job), 4),
        "rules_vs_datatrove": ratio,
        "repair_vs_ftfy": repaired["repair_vs_ftfy"],
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
        "mb": round(size, 1),
        "records": rows,
        "python": platform.python_version(),
        "quick": arguments.quick,
    }
    print(json.dumps(metrics))


if __name__ == "__main__":
    main()
