"""Adaptive difficulty: where it goes, within which bounds, and what of the task it changes."""

import json

import pytest
import torch

from trainer.config import ConfigError, build_config
from trainer.difficulty import Difficulty
from trainer.tasks.build import build_task


def temperature(**changes) -> Difficulty:
    values = {"steers": "temperature", "start": 1.0, "easiest": 2.0, "hardest": 0.5, "target": 0.5, "decay": 0.9}
    return Difficulty(**{**values, "gain": 0.05, **changes})


@pytest.mark.parametrize(("rate", "end"), [(1.0, 0.5), (0.0, 2.0)])
def test_stays_within_its_bounds(rate: float, end: float) -> None:
    difficulty = temperature()
    assert difficulty.value == pytest.approx(1.0)
    values = []
    for step in range(200):
        difficulty.observe(step, {"replaced_accuracy": rate})
        values.append(difficulty.value)
    assert values == sorted(values, reverse=rate == 1)
    assert values[-1] == pytest.approx(end)


def test_settles_at_the_target() -> None:
    """On a network whose success falls by what is asked of it."""
    difficulty = temperature(target=0.7)
    rates = []
    for step in range(2000):
        rates.append(0.2 + 0.3 * difficulty.value)
        difficulty.observe(step, {"replaced_accuracy": rates[-1]})
    assert rates[-1] == pytest.approx(0.7, abs=1e-3)


def test_state_goes_through_json_bit_by_bit() -> None:
    one, other = temperature(), temperature()
    rates = torch.rand(60, generator=torch.Generator().manual_seed(0)).tolist()
    for step, rate in enumerate(rates):
        if step == 30:
            other.load(json.loads(json.dumps(one.state())))
        one.observe(step, {"replaced_accuracy": rate} if step % 7 else {})
        if step >= 30:
            other.observe(step, {"replaced_accuracy": rate} if step % 7 else {})
    assert one.state() == other.state()


def test_the_mean_is_exponential() -> None:
    difficulty = temperature(decay=0.75)
    for step, rate in enumerate((0.8, 0.4)):
        difficulty.observe(step, {"replaced_accuracy": rate})
    assert difficulty.success == pytest.approx(0.75 * 0.8 + 0.25 * 0.4)


def test_steers_the_temperature(make) -> None:
    task = make.task("replaced-token", difficulty='"temperature"', difficulty_hardest=0.01, difficulty_gain=1.0)
    batch = task.prepare(make.batch(rows=40))
    accuracies = []
    for level in (0.0, 1.0):
        task.difficulty.level = level
        output = task(batch)
        accuracies.append(task.corrupt(batch).tokens_BT)
        assert float(output.parts["difficulty"]) == pytest.approx([2.0, 0.01][int(level)])
    assert not torch.equal(*accuracies)
    # Near temperature 0 it is the likeliest piece.
    x = task.controller.features(task.controller.encoder(batch.tokens_BT, batch.segments_BT, batch.positions_BT))
    logits = task.controller.logits(x.flatten(0, 1)[batch.target_index_M], task.controller.matrix())[:, 6:]
    drawn = accuracies[1].flatten()[batch.target_index_M]
    assert float((drawn == logits.argmax(-1) + 6).float().mean()) > 0.95
    task.eval()
    assert task.steered("temperature", 1.0) == 1.0
    assert "difficulty" not in task(task.prepare(make.batch())).parts


def test_steers_the_number_of_candidates(make) -> None:
    """Fewer are the first of more, and at least two."""
    task = make.task("multiple-choice", difficulty='"candidates"')
    batch = task.prepare(make.batch())
    corrupted = task.corrupt(batch)
    ten, label = task.propose(batch, corrupted)
    assert ten.shape[1] == task.difficulty.value == 10
    for level, count in ((0.0, 2), (0.5, 6)):
        task.difficulty.level = level
        fewer, other = task.propose(batch, corrupted)
        assert fewer.shape[1] == count
        assert torch.equal(fewer, ten[:, :count])
        assert torch.equal(label, other)
        assert task(batch).loss.isfinite()


def test_steers_the_mask_rate(make) -> None:
    """Rates are nested, what is not masked is the original, and held-out rows keep the config's."""
    task = make.task("multiple-choice", difficulty='"mask-rate"', difficulty_easiest=0.05, data__mask_rate=0.3)
    batch = make.batch(rows=200)
    original = batch.tokens_BT.flatten().index_copy(0, batch.target_index_M, batch.target_M)
    assert task.difficulty.value == pytest.approx(0.3)
    before: set[int] = set()
    for level in (0.0, 0.3, 0.7, 1.0):
        task.difficulty.level = level
        prepared = task.prepare(batch)
        chosen = set(prepared.target_index_M.tolist())
        assert before <= chosen
        share = len(chosen) / len(batch.target_M)
        assert share == pytest.approx(task.difficulty.value / 0.3, abs=0.05)
        assert task.counts(prepared)[0] == len(chosen)
        restored = prepared.tokens_BT.flatten().index_copy(0, prepared.target_index_M, prepared.target_M)
        assert torch.equal(restored, original)
        assert (prepared.tokens_BT == 4).sum() == len(chosen)
        before = chosen
    assert len(before) == len(batch.target_M)
    task.difficulty.level = 0.0
    assert len(task.eval().prepare(batch).target_M) == len(batch.target_M)


RATES = ("data.mask_rate_final=0.1", "data.mask_rate_steps=9")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["task.candidates=4"], "task.candidates does nothing with kind 'masked-lm'"),
        (["task.difficulty=temperature"], "task.difficulty does nothing with kind 'masked-lm'"),
        (["task.kind=replaced-token", "task.sampling=replacement"], "task.sampling does nothing with kind 'replaced"),
        (["task.kind=replaced-token", "task.difficulty=candidates"], "replaced-token has no candidates"),
        (["task.kind=multiple-choice", "task.difficulty_gain=0.5"], "task.difficulty_gain does nothing"),
        (["task.kind=multiple-choice", "task.controller_width=999"], "above the encoder's width"),
        (["task.kind=multiple-choice", "task.controller_width=30", "task.controller_heads=4"], "multiple of its heads"),
        (["task.kind=multiple-choice", "task.candidates=1"], "key 'task.candidates'"),
        (
            ["task.kind=replaced-token", "task.difficulty=mask-rate", *RATES],
            "both set the rate",
        ),
    ],
)
def test_senseless_configs_are_refused(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        build_config(overrides=overrides)
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["task.difficulty=candidates", "task.difficulty_hardest=12"], "must not exceed task.candidates (10)"),
        (["task.difficulty=mask-rate", "task.difficulty_hardest=0.4"], "must not exceed data.mask_rate (0.15)"),
        (["task.difficulty=temperature", "task.temperature=3"], "starts at 3, outside 2 to 0.5"),
        (["task.candidates=60"], "must be below the 54 ordinary pieces"),
    ],
)
def test_difficulties_that_cannot_be_are_refused(overrides: list[str], message: str) -> None:
    config = build_config(overrides=["task.kind=multiple-choice", *overrides])
    with pytest.raises(ConfigError) as raised:
        build_task(config, config.encoder(60))
    assert message in str(raised.value)
