"""The dictionary is the same on all processes, and that of one process."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
V, WORDS = 300, 12


@pytest.fixture(scope="module")
def shards(tmp_path_factory, make_corpus) -> Path:
    draw = np.random.default_rng(0)
    documents, rare, contexts = [], [], [[] for _ in range(WORDS)]
    for _ in range(60):
        document = draw.integers(6, 250, 30).tolist()
        spans = []
        for start in range(3, 27, 8):
            word = int(draw.integers(0, WORDS))
            document[start : start + 2] = [250 + 2 * word, 251 + 2 * word]
            spans.append((start, start + 2, word))
            contexts[word].append((document[start - 3 : start + 5], 3, 5))
        documents.append(document)
        rare.append(spans)
    return make_corpus(tmp_path_factory.mktemp("ranks"), documents, V, rare=rare, contexts=contexts)


def launch(shards: Path, world: int, strategy: str = "ddp", accumulate: int = 1) -> dict:
    """What rank 0 holds; all others hold the same bits."""
    arguments = [str(Path(__file__).with_name("notes_ranks.py")), str(world), strategy, str(accumulate), str(shards)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert len(found) == world
    for name in ("made_up", "trained"):
        assert len({one[name] for one in found}) == 1, name
    return found[0]


@pytest.fixture(scope="module")
def alone(shards) -> dict:
    return launch(shards, 1)


def check(found: dict, alone: dict) -> None:
    # The same bits where the states are; where the encoder computes them, as near as its products are.
    assert found["made_up"] == alone["made_up"]
    assert found["taken"] == alone["taken"]
    assert np.allclose(found["table"], alone["table"], atol=1e-5)


def test_two_processes_with_micro_batches(shards, alone):
    check(launch(shards, 2, accumulate=2), alone)


@pytest.mark.slow
def test_four_processes(shards, alone):
    check(launch(shards, 4), alone)
    check(launch(shards, 4, "fsdp"), alone)
    check(launch(shards, 2, "fsdp", accumulate=4), alone)
