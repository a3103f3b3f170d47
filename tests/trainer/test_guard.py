"""What is skipped, what is counted, what a checkpoint takes along."""

import json
import math

import pytest
import torch
from torch import nn

from trainer.averages import Averages
from trainer.config import GuardConfig
from trainer.guard import HISTORY, Guard


@pytest.mark.parametrize(("loss", "norm"), [(math.nan, 1.0), (1.0, math.inf), (math.inf, math.nan)])
def test_what_is_not_finite_is_skipped(loss: float, norm: float) -> None:
    guard = Guard(GuardConfig(patience=2))
    assert guard.judge(1.0, 1.0) is None
    assert guard.judge(loss, norm) is not None
    assert not guard.out_of_patience
    assert guard.judge(loss, norm) is not None
    assert guard.out_of_patience
    assert guard.judge(1.0, 1.0) is None
    assert not guard.out_of_patience
    assert guard.skipped == 2


def test_a_spike_is_skipped_once_there_is_a_history() -> None:
    guard = Guard(GuardConfig(spike=10.0))
    for step in range(HISTORY):
        assert guard.judge(5.0, 100.0 if step == 3 else 1.0) is None
    mean = guard.mean_norm
    reason = guard.judge(5.0, 1000.0)
    assert reason is not None
    assert reason.startswith("gradient norm 1000 is ")
    assert guard.mean_norm == mean  # a spike does not raise what spikes are measured by
    assert guard.judge(5.0, 9 * mean) is None
    off = Guard(GuardConfig(spike=0.0))
    assert all(off.judge(1.0, norm) is None for norm in [1.0] * HISTORY + [1e9])


@pytest.mark.parametrize(
    ("refused", "taken"),
    [
        ([(5.0, 90.0), (5.4, 90.0), (5.2, 90.0)], True),  # leaving a plateau
        ([(5.0, 90.0), (7.0, 90.0), (9.0, 90.0)], False),  # diverging
        ([(5.0, 90.0), (5.0, math.nan), (5.0, 90.0)], False),
        ([(5.0, 90.0), (5.0, 90.0)], False),  # may be chance
    ],
)
def test_large_gradients_that_last_while_the_loss_holds_are_taken(
    refused: list[tuple[float, float]], taken: bool
) -> None:
    guard = Guard(GuardConfig(spike=10.0, patience=3))
    for _ in range(HISTORY):
        guard.judge(5.0, 1.0)
    reasons = [guard.judge(*step) for step in refused]
    assert [reason is None for reason in reasons] == [False] * (len(refused) - 1) + [taken]
    assert guard.out_of_patience is (not taken and len(refused) == 3)
    if taken:
        assert guard.skipped == 2
        assert guard.judge(5.0, 100.0) is None  # they are what is measured by
        assert guard.mean_norm == 95.0


def test_without_patience_the_first_spike_ends_it() -> None:
    guard = Guard(GuardConfig(spike=10.0, patience=1))
    for _ in range(HISTORY):
        guard.judge(5.0, 1.0)
    assert guard.judge(5.0, 90.0) is not None
    assert guard.out_of_patience


def test_a_guard_goes_on_from_its_state() -> None:
    one = Guard(GuardConfig(spike=3.0))
    norms = [1.0 + 0.01 * i for i in range(HISTORY)] + [50.0, 1.2, 9.0, math.nan]
    for norm in norms[: HISTORY + 1]:
        one.judge(1.0, norm)
    two = Guard(GuardConfig(spike=3.0))
    two.load(json.loads(json.dumps(one.state())))
    for norm in norms[HISTORY + 1 :]:
        assert one.judge(1.0, norm) == two.judge(1.0, norm)
    assert one.state() == two.state()
    assert one.skipped == 3


def test_averages_follow_the_formula_and_swap_back() -> None:
    model = nn.Linear(2, 1, bias=False)
    with torch.no_grad():
        model.weight.fill_(1.0)
    averages = Averages(model, decay=0.9)
    expected = 1.0
    for step in range(1, 200):
        with torch.no_grad():
            model.weight.fill_(float(step))
        averages.update(step)
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * step
    assert averages.tensors["weight"][0, 0].item() == pytest.approx(expected, rel=1e-5)
    with averages.in_place():
        assert model.weight[0, 0].item() == pytest.approx(expected, rel=1e-5)
    assert model.weight[0, 0].item() == 199
    assert averages.tensors["weight"][0, 0].item() == pytest.approx(expected, rel=1e-5)
