"""Losses between teacher and student, against what the papers write, in fp64 and one position at a time."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainer.distillation.losses import (
    LEAST_SHARE,
    divergence_sum,
    relation_divergence_sum,
    state_difference_sum,
    top_divergence_sum,
    top_shares,
)
from trainer.sections.distillation import DistillationConfig


def logits(seed: int, rows: int = 5, columns: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return tuple(3 * torch.randn(rows, columns, generator=draw, dtype=torch.float64) for _ in range(2))


def kl(p: list[float], q: list[float]) -> float:
    return sum(a * (math.log(a) - math.log(b)) for a, b in zip(p, q, strict=True))


def shares(row: torch.Tensor, temperature: float) -> list[float]:
    raised = [math.exp(x / temperature) for x in row.tolist()]
    return [x / sum(raised) for x in raised]


@given(st.integers(0, 1000), st.sampled_from([0.5, 1.0, 2.0, 8.0]), st.integers(1, 12))
def test_divergence(seed: int, temperature: float, count: int) -> None:
    teacher, student = logits(seed)
    whole = bounded = 0.0
    for a, b in zip(teacher, student, strict=True):
        p, q = shares(a, temperature), shares(b, temperature)
        whole += kl(p, q) * temperature**2
        best = sorted(range(12), key=lambda k: -p[k])[:count]
        rest = [k for k in range(12) if k not in best]
        lumped = [[s[k] for k in best] + ([max(sum(s[k] for k in rest), LEAST_SHARE)] if rest else []) for s in (p, q)]
        bounded += kl(*lumped) * temperature**2
    assert float(divergence_sum(teacher, student, temperature)) == pytest.approx(whole, rel=1e-9)
    found = float(top_divergence_sum(*top_shares(teacher, count, temperature), student, temperature))
    # The rest of nearly all is a difference of nearly equal numbers.
    assert found == pytest.approx(bounded, rel=1e-7, abs=1e-7)
    # As much as LEAST_SHARE in each of five rows can add.
    assert found <= whole + 1e-3


def test_gradient_keeps_its_size() -> None:
    """At a high temperature the gradient tends to that of matching logits (Hinton et al. 2015, 2.1)."""
    teacher, student = (x - x.mean(-1, keepdim=True) for x in logits(0))
    student.requires_grad_()
    divergence_sum(teacher, student, 1e4).backward()
    assert torch.allclose(student.grad, (student.detach() - teacher) / 12, rtol=1e-3, atol=1e-4)


def test_relations() -> None:
    """Token by token, inside documents, padding left out."""
    draw = torch.Generator().manual_seed(0)
    teacher, student = (torch.randn(1, 6, 3 * width, generator=draw, dtype=torch.float64) for width in (8, 4))
    segments = torch.tensor([[1, 1, 1, 2, 2, 0]])
    total = 0.0
    for kind in range(3):
        for head in range(2):
            for i in range(5):
                seen = [j for j in range(6) if segments[0, j] == segments[0, i]]
                rows = []
                for qkv in (teacher, student):
                    width = qkv.shape[-1] // 3
                    part = qkv[0, :, kind * width : (kind + 1) * width][:, head * width // 2 : (head + 1) * width // 2]
                    scores = torch.tensor([float(part[i] @ part[j]) for j in seen]) / math.sqrt(width // 2)
                    rows.append(shares(scores, 1.0))
                total += kl(*rows) / 6
    assert float(relation_divergence_sum(teacher, student, segments, 2)) == pytest.approx(total, rel=1e-5)
    student.requires_grad_()
    relation_divergence_sum(teacher.float(), student.float(), segments, 2).backward()
    assert bool(torch.isfinite(student.grad).all())


def test_states_compare_without_their_size() -> None:
    states = logits(1)[0]
    assert float(state_difference_sum(states, 7 * states + 3)) < 1e-6
    assert float(state_difference_sum(states, -states)) == pytest.approx(4 * len(states), rel=1e-4)


def test_pairs() -> None:
    told = DistillationConfig(teacher="x")
    assert told.pairs(3, 6) == [1, 3, 5]
    assert told.pairs(4, 6) == [0, 2, 3, 5]
    assert told.pairs(4, 2) == [0, 0, 0, 1]
    assert DistillationConfig(teacher="x", layers=[0, 2]).pairs(2, 3) == [0, 2]
