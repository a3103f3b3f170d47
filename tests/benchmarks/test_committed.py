"""The results that are committed: what they say is what the trainer offers."""

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.ablations.arms import read_arms, read_settings
from benchmarks.ablations.plan import reported
from benchmarks.ablations.prices import read_prices
from benchmarks.ablations.results import Results
from benchmarks.ablations.summary import best_place
from trainer.config import build_config, flat

RESULTS = Path(__file__).parents[2] / "benchmarks" / "ablation" / "results"
OF_THE_TEST = ("schedule.by", "schedule.steps", "evaluate.", "checkpoint.", "system.", "model.preset")
"""Keys that say how the fair test measures, not what it trains."""


def test_the_preset_is_the_best_combination_that_was_found() -> None:
    setting = read_settings()["first"]
    setting = replace(setting, prices=read_prices(RESULTS, setting.name))
    results, arm = Results(RESULTS), read_arms()["all"]
    place = best_place(results, setting)
    assert place is not None
    runs = reported(arm, setting, place, results.losses())
    assert runs, "the search of all together is not finished"
    config = build_config(preset="tiny-grown")
    # Keys of [model] are in the config only where a preset overrides the trainer's default.
    preset = flat(config) | {f"model.{key}": value for key, value in config.encoder(4096).model_dump().items()}
    told = {key: value for key, value in runs[0].values.items() if not key.startswith(OF_THE_TEST)}
    assert told.keys() >= {"data.batch_rows", "data.mask_rate", "growth.at", "optimizer.learning_rate", "model.norm"}
    # The test's shares are of time; a run by steps grows at those of its steps.
    assert preset.pop("growth.at") == pytest.approx(told.pop("growth.at"), abs=1e-3)
    assert {key: preset[key] for key in told} == told
