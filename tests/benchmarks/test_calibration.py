"""When a run is void."""

import time
from dataclasses import replace

import pytest

from benchmarks.ablations.calibration import (
    Disturbance,
    Rates,
    Watch,
    all_cores,
    core_times,
    machine,
    reference_of,
    void,
)

RATES, CALM = Rates(100.0, 10.0), Disturbance(waited=0.01, stolen=0.0, cpu=0.99, load=2.0)


def test_a_calm_run_counts() -> None:
    assert void(RATES, Rates(91.0, 10.9), Rates(99.0, 10.1), CALM) is None
    assert void(RATES, RATES, None, Disturbance(None, None, 1.0, 50.0)) is None


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"after": Rates(89.0, 10.0)}, "matmul_gflops moved by -11%"),
        ({"after": Rates(100.0, 11.2)}, "memory_gb_s moved by"),
        ({"reference": Rates(120.0, 10.0)}, "matmul_gflops before the run -17% of earlier"),
        ({"disturbance": replace(CALM, waited=0.2)}, "waited 20%"),
        ({"disturbance": replace(CALM, stolen=0.11)}, "stolen 11%"),
    ],
)
def test_what_makes_a_run_void(change: dict, told: str) -> None:
    given = {"before": RATES, "after": RATES, "reference": RATES, "disturbance": CALM, **change}
    assert told in void(**given)


def test_the_reference_is_a_median_of_three_or_more() -> None:
    assert reference_of([RATES, RATES]) is None
    assert reference_of([RATES, Rates(1.0, 1.0), Rates(90.0, 11.0)]) == Rates(90.0, 10.0)


def test_a_watch_sees_this_process_work() -> None:
    with Watch(all_cores(), 1) as watch:
        end = time.process_time() + 0.05
        while time.process_time() < end:
            pass
    assert 0 < watch.found.cpu <= 1.5
    for share in (watch.found.waited, watch.found.stolen):
        assert share is None or 0 <= share <= 1
    assert core_times([]) is None


def test_a_machine_has_one_id() -> None:
    assert machine() == machine()
    assert len(machine()["id"]) == 6
