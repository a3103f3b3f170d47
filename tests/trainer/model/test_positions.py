"""Each kind of positions by itself: T5's buckets, TUPE-R's [CLS], RoPE, ALiBi, sinusoids."""

import math

import pytest
import torch
from torch import nn

from trainer.model.attention import positional_scores, same_document
from trainer.model.config import ModelConfig
from trainer.model.encoder import POSITIONS, Encoder
from trainer.model.positions import SinusoidalPositions
from trainer.model.reference import t5_bucket
from trainer.model.relative import (
    BUCKETS,
    AlibiPositions,
    RelativeScores,
    TupeRelativePositions,
    alibi_slopes,
    bucket,
)
from trainer.model.rotary import RotaryPositions
from trainer.model.term import by_distance

GOLDEN = [(8, 11, 8), (12, 15, 9), (16, 22, 10), (23, 31, 11), (32, 45, 12), (46, 63, 13), (64, 90, 14), (91, 511, 15)]
"""(first distance, last distance, bucket) of keys to the left; keys to the right have 16 more."""


def test_buckets_are_t5s():
    left = {n: n for n in range(8)} | {n: number for first, last, number in GOLDEN for n in range(first, last + 1)}
    for n, number in left.items():
        assert bucket(-n) == number
        if n:
            assert bucket(n) == number + 16
    assert {bucket(d) for d in range(-511, 512)} == set(range(BUCKETS)) - {16}
    assert all(bucket(d) == t5_bucket(d) for d in range(-2000, 2001))


def test_scores_by_distance_are_looked_up_in_the_table(make_config):
    torch.manual_seed(0)
    scores = RelativeScores(make_config())
    distance_HK = scores(140)
    assert distance_HK.shape == (3, 279)
    for distance in (-139, -91, -90, -8, -1, 0, 1, 7, 46, 139):
        assert torch.equal(distance_HK[:, distance + 139], scores.table.weight[bucket(distance)])


@pytest.mark.parametrize("length", [1, 2, 7])
def test_by_distance(length):
    distance_HK = torch.randn(2, 2 * length - 1, dtype=torch.float64, requires_grad=True)
    scores_HTT = by_distance(distance_HK)
    weight = torch.randn_like(scores_HTT)
    (gradient,) = torch.autograd.grad((scores_HTT * weight).sum(), distance_HK)
    wanted = torch.zeros_like(gradient)
    for i in range(length):
        for j in range(length):
            assert torch.equal(scores_HTT[:, i, j], distance_HK[:, j - i + length - 1])
            wanted[:, j - i + length - 1] += weight[:, i, j]
    torch.testing.assert_close(gradient, wanted)


def tupe_r_scores(make_config, change=None):
    torch.manual_seed(0)
    tupe = TupeRelativePositions(make_config()).double()
    nn.init.normal_(tupe.relative.table.weight)
    if change is not None:
        with torch.no_grad():
            change(tupe)
    segments = torch.tensor([[1, 1, 1, 1, 1, 2, 2, 2, 0]])
    places = torch.tensor([[0, 1, 2, 3, 4, 0, 1, 2, 0]])
    return positional_scores(tupe.term(places, torch.float64), same_document(segments), 0.5, torch.float64)[0]


def test_tupe_r_unties_cls_jointly(make_config):
    """One number per head to [CLS], a constant row from it, in every document, whatever b and p are."""

    def other_distances(tupe):
        tupe.relative.table.weight += torch.randn(BUCKETS, 3, dtype=torch.float64)

    def other_position(tupe):
        tupe.embedding.weight[2] += torch.randn(24, dtype=torch.float64)

    def other_theta(tupe):
        tupe.embedding.weight[0] += torch.randn(24, dtype=torch.float64)

    before = tupe_r_scores(make_config)
    documents = (slice(0, 5), slice(5, 8))
    for part in documents:
        block = before[:, part, part]
        assert (block[:, 0] == 0).all(), "(CLS, CLS) is theta_1 too"
        assert (block[:, 1:, 0] == block[:, 1:2, 0]).all()
    assert torch.equal(before[:, 1, 0], before[:, 6, 5])
    assert before[:, :5, 5:].eq(-math.inf).all()
    assert before[:, 5:8, :5].eq(-math.inf).all()
    for change, only_theta in ((other_distances, False), (other_position, False), (other_theta, True)):
        after = tupe_r_scores(make_config, change)
        for part in documents:
            old, new = before[:, part, part], after[:, part, part]
            assert torch.equal(old[:, 0], new[:, 0])
            assert torch.equal(old[:, 1:, 0], new[:, 1:, 0]) is not only_theta
            assert torch.equal(old[:, 1:, 1:], new[:, 1:, 1:]) is only_theta


def test_tupe_r_scales_products_and_not_distances(make_config):
    def double(tupe):
        tupe.relative.table.weight *= 2

    def none(tupe):
        tupe.relative.table.weight.zero_()

    once, twice, without = (tupe_r_scores(make_config, change)[:, 1:5, 1:5] for change in (None, double, none))
    torch.testing.assert_close(twice - once, once - without)
    torch.manual_seed(0)
    tupe = TupeRelativePositions(make_config()).double()
    nn.init.normal_(tupe.relative.table.weight)
    assert (once - without)[0, 0, 3].item() == pytest.approx(tupe.relative.table.weight[bucket(3), 0].item())


def test_relative_tables_are_one_for_all_layers(make_config):
    for kind in ("tupe-r", "bert-r"):
        names = [n for n, _ in Encoder(make_config(positions=kind, layers=3)).named_parameters() if "relative" in n]
        assert names == ["positions.relative.table.weight"]


def test_alibi_slopes():
    assert alibi_slopes(8) == [2.0**-k for k in range(1, 9)]
    assert alibi_slopes(4) == [2.0**-2, 2.0**-4, 2.0**-6, 2.0**-8]
    twelve = alibi_slopes(12)
    assert twelve[:8] == alibi_slopes(8)
    assert twelve[8:] == [2**-0.5, 2**-1.5, 2**-2.5, 2**-3.5]


def test_alibi_is_symmetric_and_has_nothing_to_learn(make_config):
    alibi = AlibiPositions(make_config())
    scores_HTT = by_distance(alibi.term(torch.arange(9)[None], torch.float32).distance_HK)
    assert torch.equal(scores_HTT, scores_HTT.mT)
    for h, slope in enumerate(alibi_slopes(3)):
        assert scores_HTT[h, 2, 7].item() == -5 * slope
    assert list(alibi.parameters()) == []
    assert alibi.state_dict() == {}


def test_rope_scores_depend_on_the_distance_alone(make_config):
    torch.manual_seed(0)
    rope = RotaryPositions(make_config(max_length=64)).double()
    q, k = torch.randn(2, 1, 3, 1, 8, dtype=torch.float64)

    def score(i, j):
        turned = [rope.term(torch.tensor([[p]]), torch.float64).rotation(x) for p, x in ((i, q), (j, k))]
        return (turned[0] * turned[1]).sum(-1)

    torch.testing.assert_close(score(3, 9), score(40, 46), rtol=1e-5, atol=1e-5)
    assert not torch.allclose(score(3, 9), score(9, 3))
    assert rope.state_dict() == {}


def test_rope_by_hand(make_config):
    rope = RotaryPositions(make_config(width=12, heads=3, max_length=200))
    turned = rope.term(torch.tensor([[150]]), torch.float32).rotation(torch.tensor([1.0, 2, 3, 4]).view(1, 1, 1, 4))
    fast, slow = 150.0, 150.0 / 100
    wanted = [
        math.cos(fast) - 2 * math.sin(fast),
        2 * math.cos(fast) + math.sin(fast),
        3 * math.cos(slow) - 4 * math.sin(slow),
        4 * math.cos(slow) + 3 * math.sin(slow),
    ]
    assert turned.flatten().tolist() == pytest.approx(wanted, abs=1e-6)


def test_sinusoids(make_config):
    sinusoids = SinusoidalPositions(make_config(width=96, max_length=50, position_std=0.1, positions="sinusoidal"))
    added = sinusoids.added(torch.arange(50)[None])[0]
    assert added.square().mean().sqrt().item() == pytest.approx(0.1, rel=1e-5)
    assert added[7, 6].item() == pytest.approx(math.sqrt(2) * 0.1 * math.sin(7 / 10_000 ** (6 / 96)), abs=1e-6)
    assert added[7, 7].item() == pytest.approx(math.sqrt(2) * 0.1 * math.cos(7 / 10_000 ** (6 / 96)), abs=1e-6)
    assert list(sinusoids.state_dict()) == ["scale"]


@pytest.mark.parametrize("kind", ["absolute", "bert-r", "sinusoidal"])
def test_position_std_moves_nothing_else(make_config, kind):
    states = []
    for position_std in (None, 0.9):
        torch.manual_seed(3)
        states.append(Encoder(make_config(positions=kind, position_std=position_std)).state_dict())
    plain, scaled = states
    moved = "positions.scale" if kind == "sinusoidal" else "positions.embedding.weight"
    torch.testing.assert_close(scaled[moved], plain[moved] * 3)
    assert all(torch.equal(plain[name], scaled[name]) for name in plain if name != moved)


@pytest.mark.parametrize("kind", ["tupe-a", "tupe-r"])
def test_a_smooth_start_moves_the_table_alone(make_config, kind):
    states = []
    for start in ("normal", "sinusoidal"):
        torch.manual_seed(3)
        states.append(Encoder(make_config(positions=kind, position_start=start)).state_dict())
    plain, smooth = states
    table_LD = smooth["positions.embedding.weight"]
    assert all(torch.equal(plain[name], smooth[name]) for name in plain if name != "positions.embedding.weight")
    assert table_LD.square().mean().item() == pytest.approx(0.5)
    # A product of two positions depends on their distance alone.
    products_LL = table_LD @ table_LD.T
    for distance in (1, 5):
        along = products_LL.diagonal(distance)
        torch.testing.assert_close(along, along[:1].expand_as(along), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", sorted(POSITIONS))
def test_only_some_put_positions_into_the_input(pack, make_config, kind):
    model = Encoder(make_config(positions=kind))
    tokens, _, places = pack([[8]], 8)
    same = torch.equal(model.embed(tokens, places), model.embed(tokens, torch.zeros_like(places)))
    assert same is (kind not in ("absolute", "sinusoidal", "bert-r"))


def test_old_configs_still_load():
    old = (
        '{"vocabulary_size":40,"layers":1,"width":8,"heads":2,"feed_forward":8,"max_length":8,"norm":"pre",'
        '"positions":"absolute","embedding_norm":null,"dropout":0.0,"init_std":0.02,"attention":"mask"}'
    )
    config = ModelConfig.model_validate_json(old)
    assert (config.position_std, config.head_scale, config.residual_init) == (None, False, "plain")
    assert not config.embedding_norm
    model = Encoder(config)
    assert {name for name in model.state_dict() if name.startswith("positions")} == {"positions.embedding.weight"}
