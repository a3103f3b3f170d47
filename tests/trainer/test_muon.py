"""Muon: the iteration, the update beside torch's own, who gets which optimiser."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import trainer.muon
from trainer.config import OptimizerConfig
from trainer.model.config import ModelConfig
from trainer.muon import Muon, orthogonalise
from trainer.optim import build_optimizers, load_optimizer_tensors, optimizer_tensors, set_learning_rate
from trainer.tasks.masked_lm import MaskedLM

SMALL = ModelConfig(vocabulary_size=50, layers=2, width=8, heads=2, feed_forward=16, max_length=8)


@settings(max_examples=25, deadline=None)
@given(rows=st.integers(2, 24), columns=st.integers(2, 24), seed=st.integers(0, 99))
def test_singular_values_come_near_one(rows: int, columns: int, seed: int) -> None:
    """And the singular vectors stay: of U diag(s) V^T the result is U diag(about 1) V^T."""
    generator = torch.Generator().manual_seed(seed)
    u, _, v = torch.linalg.svd(torch.randn(rows, columns, generator=generator), full_matrices=False)
    s = torch.linspace(1.0, 0.2, min(rows, columns))
    turned = u.T @ orthogonalise((u @ torch.diag(s) @ v)[None])[0] @ v.T
    assert (turned - torch.diag(turned.diagonal())).abs().max() < 1e-3
    assert turned.diagonal().min() > 0.6
    assert turned.diagonal().max() < 1.3


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="torch before 2.9 has no Muon to compare with")
@pytest.mark.parametrize(("dtype", "nearness"), [(torch.float32, 0.999), (torch.bfloat16, 0.9999)])
def test_equals_torch(dtype: torch.dtype, nearness: float) -> None:
    """torch's iteration runs in bf16: in fp32 directions agree to bf16's rounding, in bf16 nearly to a bit."""
    torch.manual_seed(0)
    ours, theirs = (nn.Linear(12, 20, bias=False) for _ in range(2))
    theirs.load_state_dict(ours.state_dict())
    start = ours.weight.detach().clone()
    options = {"lr": 0.02, "momentum": 0.95, "weight_decay": 0.1}
    pair = Muon(ours.parameters(), dtype=dtype, **options), torch.optim.Muon(theirs.parameters(), **options)
    for step in range(5):
        gradient = torch.randn(20, 12, generator=torch.Generator().manual_seed(step))
        ours.weight.grad, theirs.weight.grad = gradient.clone(), gradient.clone()
        for optimizer in pair:
            optimizer.step()
    moved, expected = ours.weight.detach() - start, theirs.weight.detach() - start
    assert torch.nn.functional.cosine_similarity(moved.flatten(), expected.flatten(), 0) > nearness
    assert moved.norm().item() == pytest.approx(expected.norm().item(), rel=0.02)


def one_by_one(weight: torch.Tensor, momentum: torch.Tensor, gradient: torch.Tensor, rate: float) -> torch.Tensor:
    """Muon's update of one matrix, as its author's page writes it; `momentum` is changed."""
    momentum += 0.05 * (gradient - momentum)
    x = gradient + 0.95 * (momentum - gradient)
    x = x.T if len(x) > x.shape[1] else x
    x = x / x.norm()
    for _ in range(5):
        product = x @ x.T
        x = 3.4445 * x + (-4.7750 * product + 2.0315 * product @ product) @ x
    x = x if x.shape == weight.shape else x.T
    return weight * (1 - rate * 0.1) - rate * max(1, weight.shape[0] / weight.shape[1]) ** 0.5 * x


@pytest.mark.parametrize("batch", [1, 100, 2**24])
def test_matrices_of_one_shape_in_one_go_equal_one_by_one(monkeypatch: pytest.MonkeyPatch, batch: int) -> None:
    """Wide, tall and square ones in any order, in fp64; some without a gradient at some steps."""
    monkeypatch.setattr(trainer.muon, "BATCH", batch)
    torch.manual_seed(0)
    shapes = [(4, 4), (16, 4), (4, 16), (4, 4), (16, 4), (4, 16), (5, 3)]
    parameters = [nn.Parameter(torch.randn(shape, dtype=torch.float64)) for shape in shapes]
    weights = [parameter.detach().clone() for parameter in parameters]
    momenta = [torch.zeros_like(weight) for weight in weights]
    muon = Muon(parameters, lr=0.02, weight_decay=0.1, dtype=torch.float64)
    for step in range(3):
        for number, parameter in enumerate(parameters):
            parameter.grad = None if (number + step) % 4 == 3 else torch.randn_like(parameter)
            if parameter.grad is not None:
                weights[number] = one_by_one(weights[number], momenta[number], parameter.grad, 0.02)
        muon.step()
    for parameter, weight in zip(parameters, weights, strict=True):
        torch.testing.assert_close(parameter.detach(), weight)


def test_in_bf16_weights_and_momentum_stay_fp32() -> None:
    torch.manual_seed(0)
    parameter = nn.Parameter(torch.randn(8, 16))
    before = parameter.detach().clone()
    muon = Muon([parameter], lr=1e-3, dtype=torch.bfloat16)
    parameter.grad = torch.randn(8, 16)
    muon.step()
    assert parameter.dtype == muon.state[parameter]["momentum"].dtype == torch.float32
    # A weight in bf16 would have moved by multiples of its own rounding, 2^-8 of it.
    moved = (parameter.detach() - before).abs()
    assert 0 < moved[moved > 0].min() < 1e-4
    torch.testing.assert_close(muon.state[parameter]["momentum"], 0.05 * parameter.grad)


def test_stacked_matrices_are_updated_as_if_alone() -> None:
    torch.manual_seed(0)
    gradient = torch.randn(12, 4)
    stacked = nn.Parameter(torch.zeros(12, 4))
    stacked.grad = gradient
    optimizer = Muon([{"params": [stacked], "parts": 3}])
    optimizer.step()
    for part, piece in zip(gradient.chunk(3), stacked.detach().chunk(3), strict=True):
        alone = nn.Parameter(torch.zeros(4, 4))
        alone.grad = part
        Muon([alone]).step()
        torch.testing.assert_close(piece, alone.detach())


def test_every_parameter_has_one_optimizer_and_its_state_moves() -> None:
    config = OptimizerConfig(kind="muon", muon_learning_rate=0.03)
    model = MaskedLM(SMALL)
    adamw, muon = build_optimizers(model, config)
    names = {id(p): name for name, p in model.named_parameters()}
    owned = [names[id(p)] for o in (adamw, muon) for g in o.param_groups for p in g["params"]]
    assert sorted(owned) == sorted(names.values())
    by_muon = {names[id(p)] for g in muon.param_groups for p in g["params"]}
    assert by_muon == {f"encoder.layers.{i}.{m}.weight" for i in (0, 1) for m in (
        "attention.qkv", "attention.out", "feed_forward.up", "feed_forward.down")}  # fmt: skip
    for optimizer in (adamw, muon):
        set_learning_rate(optimizer, 1e-3 * 0.5, 0.5)
    assert {g["lr"] for g in adamw.param_groups} == {5e-4}
    assert {g["lr"] for g in muon.param_groups} == {0.015}
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    for optimizer in (adamw, muon):
        optimizer.step()
    kept = optimizer_tensors(model, adamw, muon)
    other = MaskedLM(SMALL)
    fresh = build_optimizers(other, config)
    load_optimizer_tensors(other, *fresh, tensors=kept)
    again = optimizer_tensors(other, *fresh)
    assert again.keys() == kept.keys()
    assert all(torch.equal(again[key], kept[key]) for key in kept)
    assert math.isfinite(sum(float(p.detach().sum()) for p in model.parameters()))
