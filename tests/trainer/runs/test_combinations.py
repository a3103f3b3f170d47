"""Every pair of the methods' switches trains together: few runs that hold all pairs, each on a handful of documents."""

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations, product
from pathlib import Path
from typing import get_args

import pytest

from trainer import train as train_module
from trainer.config import ConfigError, build_config
from trainer.log import read_log
from trainer.model.config import ModelConfig
from trainer.sections.task import TaskConfig

Row = dict[str, str]


def options(model: type, field: str) -> tuple[str, ...]:
    """Values of a switch that is a Literal: a new one is tried as soon as there is one."""
    return get_args(model.model_fields[field].annotation)


GROWS = {"growth__depths": [1, 2], "growth__at": [0.5]}
NOTES = {"notes__enabled": True, "notes__half_window": 4}
CHANGES: dict[str, dict[str, dict[str, object]]] = {
    "positions": {value: {"model__positions": value} for value in options(ModelConfig, "positions")},
    "norm": {value: {"model__norm": value} for value in options(ModelConfig, "norm")},
    "task": {
        **{value: {"task__kind": value} for value in options(TaskConfig, "kind")},
        "steered choice": {"task__kind": "multiple-choice", "task__candidates": 4, "task__difficulty": "candidates"},
    },
    "notes": {"none": {}, "cold": NOTES, "warm": {**NOTES, "notes__start": "warm", "notes__warm_step": 2}},
    "growth": {
        "none": {}, "stack": GROWS, "identity": {**GROWS, "growth__rule": "identity"},
        "interleave, reset": {**GROWS, "growth__rule": "interleave", "growth__optimizer": "reset"},
    },
    "masks": {
        **{unit: {"data__mask_unit": unit} for unit in ("piece", "word", "span")},
        "bands": {"data__mask_bands": [1, 2, 4]}, "rate": {"data__mask_rate_final": 0.1, "data__mask_rate_steps": 8},
    },
    "optimizer": {kind: {"optimizer__kind": kind} for kind in ("adamw", "muon")},
    "ema": {"none": {}, "0.5": {"optimizer__ema": 0.5}},
    "precision": {name: {"system__precision": name} for name in ("fp32", "bf16")},
}  # fmt: skip
FACTORS = {name: tuple(values) for name, values in CHANGES.items()}


def allowed(row: Mapping[str, str]) -> bool:
    """What the config refuses with a reason; a test holds it to that."""
    return not (row.get("growth") == "identity" and row.get("norm") == "post")


def pairs(factors: Mapping[str, Sequence[str]], fits: Callable[[Row], bool]) -> list[frozenset[tuple[str, str]]]:
    """All pairs of values of two factors that may stand together, in a fixed order."""
    return [
        frozenset([(one, a), (other, b)])
        for one, other in combinations(factors, 2)
        for a, b in product(factors[one], factors[other])
        if fits({one: a, other: b})
    ]


def covering_rows(factors: Mapping[str, Sequence[str]], fits: Callable[[Row], bool]) -> list[Row]:
    """A covering array of strength two, greedy and without randomness: a row begins with the first pair that is left,
    then each factor, those of most values first, takes the value that brings most pairs that are left."""
    left = dict.fromkeys(pairs(factors, fits))
    rows: list[Row] = []
    while left:
        row: Row = dict(sorted(next(iter(left))))
        for factor in sorted(factors, key=lambda name: -len(factors[name])):
            if factor in row:
                continue
            values = [value for value in factors[factor] if fits(row | {factor: value})]
            new = {value: sum(frozenset([(factor, value), item]) in left for item in row.items()) for value in values}
            row[factor] = max(values, key=new.__getitem__)
        for pair in combinations(row.items(), 2):
            left.pop(frozenset(pair), None)
        rows.append({name: row[name] for name in factors})
    return rows


ROWS = covering_rows(FACTORS, allowed)


def test_the_rows_hold_every_pair() -> None:
    held = {frozenset(pair) for row in ROWS for pair in combinations(row.items(), 2)}
    assert held >= set(pairs(FACTORS, allowed))
    assert all(allowed(row) for row in ROWS)
    longest = sorted(map(len, FACTORS.values()))[-2:]
    assert math.prod(longest) <= len(ROWS) <= 1.4 * math.prod(longest)
    three = {"a": "xyz", "b": "xyz", "c": "xyz", "d": "xyz"}
    assert 9 <= len(covering_rows(three, lambda row: True)) <= 12


@pytest.fixture(scope="module")
def few(prepared: Path, tmp_path_factory: pytest.TempPathFactory, make_corpus, tools) -> Path:
    """Eight documents, held out as well; each holds rare words that others hold too."""
    shards = tmp_path_factory.mktemp("few") / "shards"
    tools.copy_tree(prepared, shards)
    documents = [[(11 * i + 5 * j * (i + 1)) % 40 + 300 for j in range(30)] for i in range(8)]
    rare = [[(4 + i, 6 + i, i % 4), (20, 21, (i + 1) % 4)] for i in range(8)]
    contexts = [[(documents[word], 4 + word, 6 + word)] for word in range(4)]
    make_corpus(shards, documents, vocabulary_size=600, valid=documents, rare=rare, valid_rare=rare, contexts=contexts)
    return shards


def changes_of(row: Row) -> dict[str, object]:
    found: dict[str, object] = {}
    for factor, value in row.items():
        found |= CHANGES[factor][value]
    return found


@pytest.mark.parametrize("number", range(len(ROWS)))
def test_trains(few: Path, tmp_path: Path, tools, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Twelve steps: finite, and the loss falls."""
    monkeypatch.setattr(train_module, "measure", lambda device: {"fp32": 10.0, "bf16": 10.0})
    changes = {
        "schedule__steps": 12, "schedule__warmup": 0.0, "schedule__decay": "constant", "evaluate__every_steps": 1000,
        "evaluate__rows": 4, "checkpoint__every_steps": 1000, "optimizer__learning_rate": 1e-2, "data__batch_rows": 4,
        "model__max_length": 32, **changes_of(ROWS[number]),
    }  # fmt: skip
    result = tools.train(few, tmp_path / "run", overrides=tools.settings(**changes)).result
    losses = [record["loss"] for record in read_log(tmp_path / "run" / "log.jsonl") if record["kind"] == "train"]
    told = f"{ROWS[number]}: {losses}"
    assert len(losses) == 12, told
    assert all(map(math.isfinite, losses)), told
    assert sum(losses[-3:]) < 0.97 * sum(losses[:3]), told
    assert result["skipped"] == 0, told
    assert math.isfinite(result["held_out_loss_end"]), told
    assert result["layers"] == 2


def test_what_is_left_out_is_refused(tools) -> None:
    with pytest.raises(ConfigError, match=r"growth.rule"):
        build_config(overrides=tools.settings(**changes_of({"growth": "identity", "norm": "post"})))
