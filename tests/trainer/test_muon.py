"""Muon: the iteration, the update beside torch's own, who gets which optimiser."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

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
    turned = u.T @ orthogonalise(u @ torch.diag(s) @ v) @ v.T
    assert (turned - torch.diag(turned.diagonal())).abs().max() < 1e-3
    assert turned.diagonal().min() > 0.6
    assert turned.diagonal().max() < 1.3


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="torch before 2.9 has no Muon to compare with")
def test_equals_torch() -> None:
    """torch's iteration runs in bf16, ours in fp32 on CPU, so directions agree to bf16's rounding."""
    torch.manual_seed(0)
    ours, theirs = (nn.Linear(12, 20, bias=False) for _ in range(2))
    theirs.load_state_dict(ours.state_dict())
    start = ours.weight.detach().clone()
    options = {"lr": 0.02, "momentum": 0.95, "weight_decay": 0.1}
    pair = Muon(ours.parameters(), **options), torch.optim.Muon(theirs.parameters(), **options)
    for step in range(5):
        gradient = torch.randn(20, 12, generator=torch.Generator().manual_seed(step))
        ours.weight.grad, theirs.weight.grad = gradient.clone(), gradient.clone()
        for optimizer in pair:
            optimizer.step()
    moved, expected = ours.weight.detach() - start, theirs.weight.detach() - start
    assert torch.nn.functional.cosine_similarity(moved.flatten(), expected.flatten(), 0) > 0.999
    assert moved.norm().item() == pytest.approx(expected.norm().item(), rel=0.02)


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
