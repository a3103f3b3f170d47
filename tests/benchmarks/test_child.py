"""What a run's record is made of."""

import json
from pathlib import Path

import pytest

from benchmarks.ablations.child import curve_of, flops_at, flops_per_token, overrides
from benchmarks.ablations.prices import Bill

DEPTHS = [{"tokens": 100, "flops": 1000.0}, {"tokens": 200, "flops": 4000.0}, {"tokens": 700, "flops": 28_000.0}]


def test_operations_follow_the_depths() -> None:
    found = [flops_at(tokens, 99.0, DEPTHS) for tokens in (0, 50, 100, 200, 300, 1000)]
    assert found == [0, 500, 1000, 3000, 5000, 33_000]
    assert flops_at(50, 3.0, ()) == 150


def test_operations_come_from_the_result_or_from_its_utilisation() -> None:
    told = {"mfu": 0.5, "matmul_gflops": {"bf16": 100.0}, "precision": "bf16", "tokens_per_second": 1e4, "tokens": 10}
    assert flops_per_token(told) == pytest.approx(0.5 * 100e9 / 1e4)
    assert flops_per_token(told | {"flops": 50.0}) == 5.0


def test_a_curve_is_the_log_thinned(tmp_path: Path) -> None:
    lines = [{"kind": "held_out", "step": i, "loss": 6.0 - i / 100, "tokens": 10 * i, "seconds": i} for i in range(100)]
    other = [{"kind": "train", "step": 1, "loss": 9.0}]
    (tmp_path / "log.jsonl").write_text("\n".join(map(json.dumps, lines + other)))
    curve = curve_of(tmp_path, Bill([50, 50], [0.5, 2.0]), 2.0)
    assert len(curve) == 60
    assert curve[-1] == {"step": 99, "seconds": 25 + 49 * 2, "tokens": 990, "flops": 1980.0, "loss": 5.01}


def test_values_become_toml() -> None:
    from trainer.config import build_config

    values = {"optimizer.learning_rate": 5e-4, "model.positions": "absolute", "optimizer.betas": [0.9, 0.95]}
    config = build_config(overrides=overrides({**values, "system.compile": True}))
    assert (config.optimizer.learning_rate, config.optimizer.betas) == (5e-4, (0.9, 0.95))
    assert config.model.overrides["positions"] == "absolute"
    assert config.system.compile is True
