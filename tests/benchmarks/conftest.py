"""The benchmarks are not installed: their root goes on the path."""

import sys
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.ablations.arms import AS_IT_IS, Arm, Choice, Setting  # noqa: E402
from benchmarks.ablations.plan import Job, Place  # noqa: E402
from benchmarks.ablations.prices import Price, Prices  # noqa: E402

RATES = (1e-4, 2e-4, 4e-4, 8e-4, 16e-4)
STEP = 0.01
"""Seconds of a step, whatever the config."""


def flat_prices() -> Prices:
    return Prices("abc123", "fp32", 1, defaultdict(lambda: Price(STEP)))


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def place() -> Place:
    return Place("d" * 64, "abc123", "fp32")


@pytest.fixture(scope="session")
def setting() -> Setting:
    return Setting(
        name="small", title="a setting", seconds=100.0, tuning_seconds=25.0, tuning_seed=9, seeds=(1, 2, 3),
        rates=RATES, start=4e-4, values={"model.layers": 2}, prices=flat_prices(),
    )  # fmt: skip


def make_arm(name: str, tier: int = 1, choices: tuple[str, ...] = (), **changes) -> Arm:
    options = tuple(Choice(choice, {"schedule.decay": choice}) for choice in choices)
    given = {"title": name, "group": "g", "values": {"model.positions": name}, **changes}
    return Arm(name=name, tier=tier, choices=(Choice(AS_IT_IS, {}), *options), **given)


@pytest.fixture(scope="session")
def arm():
    return make_arm


@pytest.fixture(scope="session")
def run_of():
    """A run's record as the child leaves it, with a curve that falls to its loss."""

    def make(job: Job, loss: float) -> dict:
        curve = [
            {
                "step": 100 * s,
                "seconds": job.seconds * s,
                "tokens": 1e5 * s,
                "flops": 1e9 * s,
                "loss": 6 - (6 - loss) * s,
            }
            for s in (0, 0.25, 0.5, 0.75, 1)
        ]
        return {
            "loss": loss,
            "curve": curve,
            "machine": "abc123",
            "wall_seconds": 12.5,
            "result": {"steps": 100, "tokens": 100_000, "flops": 1e9, "priced_tokens_per_second": 1000.0},
            "measures": {"bands": {"rare": loss + 1}},
        }

    return make
