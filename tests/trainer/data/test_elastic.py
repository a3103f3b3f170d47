"""The same global batches for any number of workers and processes, also when both change at every resume."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def places(tmp_path_factory, make_corpus):
    rng = np.random.default_rng(0)
    return [
        str(
            make_corpus(
                tmp_path_factory.mktemp("c"), [rng.integers(6, 500, n).tolist() for n in rng.integers(0, 200, k)]
            )
        )
        for k in (150, 60)
    ]


def launch(world, **job):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(world), "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(ROOT),
    }  # fmt: skip
    command = [sys.executable, str(Path(__file__).with_name("gloo_rank.py")), json.dumps(job)]
    ranks = [
        subprocess.Popen(
            command, env=environment | {"RANK": str(rank)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for rank in range(world)
    ]
    outputs = [process.communicate(timeout=120) for process in ranks]
    for process, (_, errors) in zip(ranks, outputs, strict=True):
        assert process.returncode == 0, errors
    return json.loads(outputs[0][0])


def relay(places, weights, legs):
    """Digests of the batches of legs (world, workers, steps), each resumed from the one before; steps of 2 epochs."""
    sources = [[place, weight] for place, weight in zip(places, weights, strict=False)]
    digests, state, steps = [], None, set()
    for world, workers, count in legs:
        found = launch(world, sources=sources, workers=workers, steps=count, state=state)
        digests += found["digests"]
        state = found["state"]
        steps.add(found["steps"])
    assert len(steps) == 1
    return digests, steps.pop()


@pytest.mark.slow
def test_two_processes_and_one_with_other_workers(places):
    _, steps = whole = relay(places, [1.0], [(1, 0, 90)])
    assert 10 < steps < 85  # so that the legs go on over two seams of epochs
    assert relay(places, [1.0], [(2, 2, 17), (1, 4, 73)]) == whole


@pytest.mark.slow
@pytest.mark.parametrize("weights", [[1.0], [3.0, 1.0]])
def test_one_two_four_and_back(places, weights):
    whole = relay(places, weights, [(1, 0, 120)])
    legs = [(4, 1, 9), (2, 0, 30), (1, 2, 21), (4, 4, 41), (2, 1, 19)]
    assert relay(places, weights, legs) == whole
