"""Draws by address, their distributions, and which candidate is right."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.vocabulary import FIRST_ORDINARY, NEITHER
from trainer.data.batch import RowRange
from trainer.data.counter import Purpose, key
from trainer.data.kernels import draw
from trainer.tasks.candidates import BLOCK, choices, draw_distinct, draw_one, draw_with_replacement, row_noise, top
from trainer.tasks.draws import gumbel, position_bits, uniform

V = 30


def bits(count: int, seed: int = 0) -> torch.Tensor:
    return position_bits([RowRange(0, 0, seed, seed + 1)], count, Purpose.CANDIDATES, 0).flatten()


def test_bits_are_those_of_the_address() -> None:
    """The row's key is draw(window's key, row), a position's bits are the upper half of draw(row's key, position)."""
    rows = [RowRange(2, 5, 3, 6, source=1), RowRange(0, 1, 7, 8)]
    found = position_bits(rows, 4, Purpose.CANDIDATES, 9)
    assert found.dtype == torch.int32
    wanted = []
    for part in rows:
        window = np.uint64(key(Purpose.CANDIDATES, 9, part.epoch, part.window, part.source))
        for row in range(part.first, part.last):
            row_key = np.uint64(draw(window, np.uint64(row)))
            wanted.append([int(draw(row_key, np.uint64(t))) >> 32 for t in range(4)])
    assert (found.long() % (1 << 32)).tolist() == wanted
    assert torch.equal(position_bits(rows[1:], 4, Purpose.CANDIDATES, 9), found[3:])
    assert not torch.equal(position_bits(rows, 4, Purpose.SUBSETS, 9), found)


def test_uniform_is_murmurs_finaliser() -> None:
    found = uniform(torch.tensor([-5, 123456789], dtype=torch.int32), 3, stream=2)
    mask = (1 << 32) - 1
    for n, word in enumerate((-5 & mask, 123456789)):
        for j in range(3):
            x = word ^ ((((2 << 24) + j) * 0x9E3779B9) & mask)
            x ^= x >> 16
            x = x * 0x85EBCA6B & mask
            x ^= x >> 13
            x = x * 0xC2B2AE35 & mask
            x ^= x >> 16
            assert float(found[n, j]) == ((x >> 9) + 0.5) / (1 << 23)


def test_noise_is_gumbel() -> None:
    noise = gumbel(bits(500), 400)
    assert bool(noise.isfinite().all())
    assert float(noise.mean()) == pytest.approx(0.5772, abs=0.01)
    assert float(noise.var()) == pytest.approx(math.pi**2 / 6, abs=0.03)
    correlation = float((noise[:, 1:] - 0.5772).mul(noise[:, :-1] - 0.5772).mean())
    assert abs(correlation) < 0.02
    # The ends of the range: no infinity from a uniform draw of 0 or 1.
    assert float(uniform(bits(4000), 1000).max()) < 1
    assert float(uniform(bits(4000), 1000).min()) > 0


@pytest.mark.parametrize("vocabulary", [7, BLOCK * 5, BLOCK * 6 + 1, 1000])
def test_top_is_topk(vocabulary: int) -> None:
    scores = torch.randn(50, vocabulary, generator=torch.Generator().manual_seed(vocabulary))
    scores[:, ::3] = -torch.inf
    for count in (1, 4):
        assert torch.equal(top(scores, count), scores.topk(count, dim=1).indices)


def logits_of(shares: torch.Tensor, rows: int) -> torch.Tensor:
    return shares.log().expand(rows, -1).clone()


@pytest.fixture
def shares() -> torch.Tensor:
    torch.manual_seed(1)
    return torch.randn(V).exp()


def ordinary_shares(shares: torch.Tensor, *never: int) -> torch.Tensor:
    shares = shares.clone()
    shares[:FIRST_ORDINARY] = 0
    shares[list(never)] = 0
    return shares / shares.sum()


def test_one_draw_has_the_softmax_distribution(shares: torch.Tensor) -> None:
    n = 20000
    for drawn in (
        draw_one(logits_of(shares, n) + gumbel(bits(n), V)),
        draw_with_replacement(logits_of(shares, n), bits(n), 3)[:, 2],
    ):
        found = torch.bincount(drawn, minlength=V) / n
        torch.testing.assert_close(found, ordinary_shares(shares), atol=0.012, rtol=0)
        assert (found[:FIRST_ORDINARY] == 0).all()


def test_distinct_draws_are_draws_without_replacement(shares: torch.Tensor) -> None:
    """First piece by its share, second by its share among the others; from windows of a row's noise."""
    n, length = 20000, 50
    noise = row_noise(bits(n // length), V, length)[:, :length].reshape(n, V)
    drawn = draw_distinct(logits_of(shares, n) + noise, 5, torch.full((n,), 7), torch.full((n,), 9))
    assert all(len(set(row)) == 5 for row in drawn.tolist())
    assert not set(drawn.flatten().tolist()) & {*range(FIRST_ORDINARY), 7, 9}
    p = ordinary_shares(shares, 7, 9)
    torch.testing.assert_close(torch.bincount(drawn[:, 0], minlength=V) / n, p, atol=0.02, rtol=0)
    second = sum(p[a] * torch.where(torch.arange(V) == a, 0, p / (1 - p[a])) for a in range(V))
    torch.testing.assert_close(torch.bincount(drawn[:, 1], minlength=V) / n, second, atol=0.02, rtol=0)


def test_with_replacement_stays_among_possible_pieces() -> None:
    """Also where nearly all of it lies on one piece, and at the end of the cumulated shares."""
    logits = torch.full((3000, V), -40.0)
    logits[:, 11] = 40.0
    logits[1000:, 11:] = -torch.inf
    logits[1000:, 8] = 0.0
    drawn = draw_with_replacement(logits, bits(3000), 9)
    assert (drawn[:1000] == 11).all()
    assert (drawn[1000:] == 8).all()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from(["distinct", "replacement"]), st.floats(0.1, 20))
def test_the_label_is_the_original_or_neither(seed: int, sampling: str, spread: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    n, k = 64, 6
    original = torch.randint(FIRST_ORDINARY, V, (n,), generator=generator)
    stands = torch.where(
        torch.rand(n, generator=generator) < 0.5,
        torch.randint(FIRST_ORDINARY, V, (n,), generator=generator),
        original,
    )
    logits = torch.randn(n, V, generator=generator) * spread
    if sampling == "distinct":
        drawn = draw_distinct(logits + gumbel(bits(n, seed % 99), V), k - 1, stands, original)
    else:
        drawn = draw_with_replacement(logits, bits(n, seed % 99), k - 1)
    candidates, label = choices(drawn, stands, original)
    assert candidates.shape == (n, k)
    named = candidates.gather(1, label[:, None]).flatten()
    assert torch.equal(named, torch.where(stands != original, original, NEITHER))
    assert (candidates[:, 0] == NEITHER).all()
    assert (candidates[:, 1:] >= FIRST_ORDINARY).all()
    if sampling == "distinct":
        assert all(len(set(row)) == k for row in candidates.tolist())
        times = (candidates == original[:, None]).sum(1)
        assert torch.equal(times, (stands != original).long())
        assert not (candidates == stands[:, None]).any()
