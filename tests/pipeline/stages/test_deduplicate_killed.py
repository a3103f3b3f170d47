"""The deduplicate stage after SIGKILL: the run goes on with what is left and ends with the same bytes."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.config import make_config

ROOT = Path(__file__).parents[3]
PROGRAM = """
import sys
from pathlib import Path
from pipeline.config import make_config
from pipeline.runner import Execution, run_job
from pipeline.settle_duplicates import Deduplication
from pipeline.stages.chain import build_chain
from pipeline.stages.parts import collect_parts, finished_part, write_tasks
output, sizes = sys.argv[1], eval(sys.argv[2])
def run(name, steps):
    if any(finished_part(output, step.name, task) is None for step in steps for task in step.tasks):
        made = [(step.name, write_tasks(output, step.name, step.tasks), step.make) for step in steps]
        run_job(name, lambda p: build_chain(p, output, made), Execution(), 1)
    return {step.name: collect_parts(output, step.name, step.tasks) for step in steps}
values = {"partitions": 3, "bucket_cap": 2, "resolution": "rounds"}
config = make_config({"deduplicate": values}).deduplicate
stage = Deduplication(output, config, dict(enumerate(sizes)), "fingerprint", run)
drops, facts = stage.decide()
stage.write_decisions(drops)
print(facts)
"""
WHEN = ["resolve-001-round-00001", "further-001", "bands", "pairs", "edges", "edges-001", "resolve-002-round-00000"]


def files(output: Path) -> dict[str, bytes]:
    base = output / "stages/deduplicate"
    return {p.relative_to(base).as_posix(): p.read_bytes() for p in sorted(base.rglob("*.arrow"))}


@pytest.fixture(scope="module")
def texts() -> list[list[str]]:
    """Mails of one template, of which some are near copies: several rounds of everything."""
    import random

    generator = random.Random(3)
    words = [f"word{number}" for number in range(3000)]
    body = generator.choices(words, k=150)
    found: list[str] = []
    for number in range(120):
        if number % 9 == 8:
            mail = found[generator.randrange(len(found))].split()
            mail[generator.randrange(150)] = f"new{number}"
        else:
            mail = list(body)
            mail[number % 24 :: 24] = [f"x{number}y{place}" for place in range(len(mail[number % 24 :: 24]))]
        found.append(" ".join(mail))
    return [found[:70], found[70:]]


@pytest.mark.parametrize("when", [WHEN[0], *(pytest.param(name, marks=pytest.mark.slow) for name in WHEN[1:])])
def test_a_killed_stage_goes_on_to_the_same_bytes(duplicates, texts, tmp_path, when) -> None:
    config = make_config({"deduplicate": {"partitions": 3, "bucket_cap": 2, "resolution": "rounds"}})
    sizes = [len(part) for part in texts]
    whole, output = tmp_path / "whole", tmp_path / "killed"
    duplicates.write_corpus(output, texts, config)
    stage = duplicates.deduplication(whole, texts, config)
    drops, facts = stage.decide()
    stage.write_decisions(drops)
    assert facts["rounds"] >= 1

    command = [sys.executable, "-c", PROGRAM, str(output), str(sizes)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not (output / f"stages/deduplicate/{when}/parts").exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (output / "stages/deduplicate/decisions").exists()
    done = {p: p.stat().st_mtime_ns for p in (output / "stages/deduplicate/digests").glob("*.arrow")}
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200)
    assert finished.returncode == 0, finished.stderr
    assert files(output) == files(whole)
    assert finished.stdout.strip() == str(facts)
    assert {p: p.stat().st_mtime_ns for p in done} == done, "finished parts are not made again"
