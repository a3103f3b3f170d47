"""AdamW groups, the schedule's shapes, clipping, optimiser state by name."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from trainer.config import OptimizerConfig, ScheduleConfig
from trainer.model.config import ModelConfig
from trainer.optim import (
    build_optimizer,
    clip_gradients,
    load_optimizer_tensors,
    optimizer_tensors,
    parameter_groups,
    rows_at,
    run_progress,
    schedule_factor,
)
from trainer.tasks.masked_lm import MaskedLM

SMALL = ModelConfig(vocabulary_size=50, layers=1, width=8, heads=2, feed_forward=16, max_length=8)


def test_biases_and_norms_are_not_decayed() -> None:
    model = MaskedLM(SMALL)
    decayed, spared = parameter_groups(model, 0.01)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    assert decayed["weight_decay"] == 0.01
    assert spared["weight_decay"] == 0
    assert all(names[id(p)].endswith("weight") and p.ndim == 2 for p in decayed["params"])
    assert all("bias" in names[id(p)] or "norm" in names[id(p)] for p in spared["params"])
    assert len(decayed["params"]) + len(spared["params"]) == len(names)
    (everything,) = parameter_groups(model, 0.01, "all")
    assert len(everything["params"]) == len(names)


def test_weight_decay_alone_shrinks_matrices_alone() -> None:
    model = nn.Linear(4, 4)
    optimizer = build_optimizer(model, OptimizerConfig(learning_rate=0.1, weight_decay=0.5))
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    torch.testing.assert_close(model.weight.detach(), before["weight"] * (1 - 0.1 * 0.5))
    assert torch.equal(model.bias.detach(), before["bias"])


@settings(max_examples=100, deadline=None)
@given(
    warmup=st.floats(0, 0.9),
    decay=st.sampled_from(["linear", "cosine", "constant"]),
    final=st.floats(0, 1),
    a=st.floats(0, 1),
    b=st.floats(0, 1),
)
def test_schedule_rises_then_falls(warmup, decay, final, a, b) -> None:
    config = ScheduleConfig(warmup=warmup, decay=decay, final=final)
    low, high = sorted((a, b))
    first, second = schedule_factor(config, low), schedule_factor(config, high)
    assert 0 <= min(first, second) <= max(first, second) <= 1
    if high < warmup:
        assert first <= second
    if low >= warmup:
        assert first >= second - 1e-12 >= (final if decay != "constant" else 1) - 1e-9
    assert schedule_factor(config, warmup) == pytest.approx(1)


def test_schedule_values() -> None:
    linear = ScheduleConfig(warmup=0.2, decay="linear", final=0.1)
    assert [schedule_factor(linear, p) for p in (0, 0.1, 0.2, 0.6, 1, 2)] == pytest.approx([0, 0.5, 1, 0.55, 0.1, 0.1])
    cosine = ScheduleConfig(warmup=0, decay="cosine")
    assert [schedule_factor(cosine, p) for p in (0, 0.25, 0.5, 1)] == pytest.approx([1, (1 + 2**-0.5) / 2, 0.5, 0])


def test_progress_by_steps_or_by_the_clock() -> None:
    assert run_progress(ScheduleConfig(steps=10), step=3, seconds=1e9) == pytest.approx(0.35)
    assert run_progress(ScheduleConfig(by="seconds", seconds=20), step=10**9, seconds=5) == 0.25


def test_clipping_scales_all_gradients_together() -> None:
    parameters = [nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(1))]
    parameters[0].grad, parameters[1].grad = torch.tensor([3.0, 0.0]), torch.tensor([4.0])
    assert float(clip_gradients(parameters, 0)) == 5
    assert float(parameters[1].grad) == 4
    assert float(clip_gradients(parameters, 1.0)) == 5
    norm = math.sqrt(sum(float((p.grad**2).sum()) for p in parameters))
    assert norm == pytest.approx(1, abs=1e-5)


def test_optimizer_state_by_name_continues_exactly() -> None:
    def steps(model: nn.Module, optimizer: torch.optim.Optimizer, count: int, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        for _ in range(count):
            for parameter in model.parameters():
                parameter.grad = torch.randn(parameter.shape, generator=generator)
            optimizer.step()

    torch.manual_seed(0)
    straight = MaskedLM(SMALL)
    optimizer = build_optimizer(straight, OptimizerConfig())
    assert optimizer_tensors(straight, optimizer) == {}
    steps(straight, optimizer, 3, seed=1)
    copy = MaskedLM(SMALL)
    copy.load_state_dict(straight.state_dict())
    second = build_optimizer(copy, OptimizerConfig())
    tensors = {name: tensor.clone() for name, tensor in optimizer_tensors(straight, optimizer).items()}
    load_optimizer_tensors(copy, second, tensors=tensors)
    steps(straight, optimizer, 3, seed=2)
    steps(copy, second, 3, seed=2)
    for name, tensor in straight.state_dict().items():
        assert torch.equal(tensor, copy.state_dict()[name]), name
    with pytest.raises(KeyError, match="other"):
        load_optimizer_tensors(copy, second, tensors={"other/exp_avg": torch.zeros(1)})


def test_one_cycle_is_that_of_torch() -> None:
    config = ScheduleConfig(decay="one-cycle", warmup=0.3, final=0.01)
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    # torch ends both phases one step early, so its 101 steps span progress 0 to 1 in hundredths.
    cycle = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=1.0, total_steps=101, pct_start=31 / 101, div_factor=25, final_div_factor=4
    )
    for step in range(100):
        assert schedule_factor(config, step / 100) == pytest.approx(cycle.get_last_lr()[0], abs=1e-6)
        optimizer.step()
        cycle.step()


def test_wsd_is_flat_and_then_falls() -> None:
    config = ScheduleConfig(decay="wsd", warmup=0.1, cooldown=0.2, final=0.1)
    factors = [schedule_factor(config, p / 100) for p in range(101)]
    assert factors[10:81] == pytest.approx([1.0] * 71)
    assert factors[90] == pytest.approx(0.55)
    assert factors[100] == pytest.approx(0.1)
    late = ScheduleConfig(decay="wsd", warmup=0.9, cooldown=0.5)
    assert schedule_factor(late, 0.9) == pytest.approx(1.0)


def test_progress_by_tokens() -> None:
    assert run_progress(ScheduleConfig(by="tokens", tokens=1000), step=7, seconds=1.0, tokens=250) == 0.25


def test_a_ramp_grows_by_its_start() -> None:
    config = ScheduleConfig(batch_ramp=0.5, batch_start=8)
    rows = [rows_at(config, progress / 100, 64) for progress in range(101)]
    assert rows[0] == 8
    assert rows[50:] == [64] * 51
    assert rows == sorted(rows)
    assert set(rows) == set(range(8, 65, 8))
    assert rows_at(ScheduleConfig(), 0.0, 64) == 64
