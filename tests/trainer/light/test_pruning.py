"""Cutting heads, inner features and layers out of a model: nothing changes where nothing was, sizes, importance."""

import math
from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.light.pruning.importance import Importance, measure
from trainer.light.pruning.selection import Sizes, select
from trainer.light.pruning.surgery import Kept, cut_config, cut_tensors, everything
from trainer.model.config import ModelConfig
from trainer.model.encoder import Encoder

SHAPE = {"vocabulary_size": 40, "layers": 3, "width": 16, "heads": 4, "feed_forward": 24, "max_length": 20}
POSITIONS = ("absolute", "sinusoidal", "tupe-a", "tupe-r", "bert-r", "rope", "alibi")


def build(**changes: object) -> Encoder:
    torch.manual_seed(0)
    return Encoder(ModelConfig.model_validate(SHAPE | {"init_std": 0.3} | changes)).eval()


def rows(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Two rows: two documents and padding, and one document."""
    draw = torch.Generator().manual_seed(seed)
    tokens = torch.randint(6, 40, (2, 12), generator=draw)
    segments = torch.tensor([[1] * 5 + [2] * 4 + [0] * 3, [1] * 12])
    positions = torch.tensor([[*range(5), *range(4), 0, 0, 0], [*range(12)]])
    return tokens, segments, positions


def cut(encoder: Encoder, kept: list[Kept]) -> Encoder:
    named = {f"encoder.{name}": tensor for name, tensor in encoder.state_dict().items()}
    smaller = Encoder(cut_config(encoder.config, kept)).eval()
    found = cut_tensors(named, encoder.config, kept)
    smaller.load_state_dict({name.removeprefix("encoder."): tensor for name, tensor in found.items()})
    return smaller


def silence(encoder: Encoder, kept: list[Kept]) -> None:
    """Output weights of all that is not kept become 0."""
    C = encoder.config.head_width
    stays = {one.layer: one for one in kept}
    with torch.no_grad():
        for number, layer in enumerate(encoder.layers):
            one = stays.get(number, Kept(number, (), ()))
            for head in set(range(layer.attention.heads)) - set(one.heads):
                layer.attention.out.weight[:, head * C : (head + 1) * C] = 0
            gone = sorted(set(range(layer.feed_forward.down.in_features)) - set(one.columns))
            layer.feed_forward.down.weight[:, gone] = 0
            if number not in stays:
                layer.attention.out.bias.zero_()
                layer.feed_forward.down.bias.zero_()


KEPT = [Kept(0, (1, 3), tuple(range(0, 24, 2))), Kept(2, (0,), (5, 7))]


@pytest.mark.parametrize(("positions", "path"), [
    *((positions, path) for positions, path in product(POSITIONS, ("mask", "written", "reference", "flex"))),
    ("tupe-a", "concat"), ("rope", "concat"),
])  # fmt: skip
def test_what_is_silent_can_go(positions: str, path: str) -> None:
    """Every path, also where layers have different heads, in values and (but of flex) gradients."""
    encoder = build(positions=positions, attention=path)
    silence(encoder, KEPT)
    smaller = cut(encoder, KEPT)
    grad = path != "flex"
    with torch.set_grad_enabled(grad):
        whole, own = encoder(*rows()), smaller(*rows())
    assert torch.allclose(whole, own, atol=1e-6)
    if grad:
        for model, out in ((encoder, whole), (smaller, own)):
            out.square().sum().backward()
            assert model.token_embedding.weight.grad is not None
        assert torch.allclose(encoder.token_embedding.weight.grad, smaller.token_embedding.weight.grad, atol=2e-4)
        theirs, ours = (dict(model.positions.named_parameters()) for model in (encoder, smaller))
        for name in ours:
            assert torch.allclose(theirs[name].grad, ours[name].grad, rtol=1e-3, atol=1e-4), name
    assert sum(p.numel() for p in smaller.parameters()) < 0.7 * sum(p.numel() for p in encoder.parameters())


@pytest.mark.parametrize("norm", ["post", "pre-extra"])
def test_other_norms(norm: str) -> None:
    """With Post-LN no layer can go unseen, with NormFormer's norms no inner feature."""
    encoder = build(norm=norm, head_scale=norm == "pre-extra")
    columns = tuple(range(24)) if norm == "pre-extra" else (0, 3, 11)
    kept = [Kept(k, heads, columns) for k, heads in enumerate([(0, 1, 2), (3,), (1, 2)])]
    silence(encoder, kept)
    assert torch.allclose(encoder(*rows()), cut(encoder, kept)(*rows()), atol=1e-6)


@settings(max_examples=15, deadline=None)
@given(st.data())
def test_cutting_twice_is_cutting_once(data: st.DataObject) -> None:
    encoder = build()

    def draw(config: ModelConfig) -> list[Kept]:
        layers = data.draw(st.sets(st.integers(0, config.layers - 1), min_size=1))
        found = []
        for number in sorted(layers):
            shape = config.shape(number)
            some = [
                data.draw(st.sets(st.integers(0, n - 1), min_size=1)) for n in (len(shape.heads), shape.feed_forward)
            ]
            found.append(Kept(number, *(tuple(sorted(one)) for one in some)))
        return found

    first = draw(encoder.config)
    second = draw(cut_config(encoder.config, first))
    both = [
        Kept(
            first[one.layer].layer,
            tuple(first[one.layer].heads[k] for k in one.heads),
            tuple(first[one.layer].columns[k] for k in one.columns),
        )
        for one in second
    ]
    twice, once = cut(cut(encoder, first), second), cut(encoder, both)
    layers = range(once.config.layers)
    assert [twice.config.shape(k) for k in layers] == [once.config.shape(k) for k in layers]
    assert torch.equal(twice(*rows()), once(*rows()))


def test_a_plain_shape_stays_plain() -> None:
    config = build().config
    assert cut_config(config, everything(config)) == config
    fewer = cut_config(config, [Kept(2, (0, 1, 2, 3), tuple(range(8)))])
    assert (fewer.layers, fewer.feed_forward, fewer.shapes) == (1, 8, None)


def test_importance_is_what_a_plain_computation_gives() -> None:
    """In fp64: for each text by itself, the loss's central difference by a factor on a head's (feature's) weights."""
    encoder = build(positions="tupe-a", norm="pre").double()
    tokens, segments, positions = rows()
    weights = torch.randn(16, generator=torch.Generator().manual_seed(1), dtype=torch.float64)

    def losses() -> torch.Tensor:
        return ((encoder(tokens, segments, positions) @ weights) * (segments > 0)).sum(1).sin()

    found = measure(encoder, [(2, lambda: losses().sum())], weights, lambda texts: None)
    assert not [p for p in encoder.parameters() if p.grad is not None]
    step, C = 1e-6, encoder.config.head_width

    def change(*parts: torch.Tensor) -> float:
        sides = []
        for sign in (1, -1):
            with torch.no_grad():
                held = [part.clone() for part in parts]
                for part in parts:
                    part.mul_(1 + sign * step)
                sides.append(losses())
                for part, before in zip(parts, held, strict=True):
                    part.copy_(before)
        return float(((sides[0] - sides[1]) / (2 * step)).abs().mean())

    for number, layer in enumerate(encoder.layers):
        out, down = layer.attention.out, layer.feed_forward.down
        for head in range(4):
            expected = change(out.weight[:, head * C : (head + 1) * C])
            assert float(found.heads[number][head]) == pytest.approx(expected, rel=1e-5, abs=1e-8)
        for column in (0, 7, 23):
            expected = change(down.weight[:, column])
            assert float(found.columns[number][column]) == pytest.approx(expected, rel=1e-5, abs=1e-8)
        expected = change(out.weight, out.bias, down.weight, down.bias)
        assert float(found.layers[number]) == pytest.approx(expected, rel=1e-5, abs=1e-8)


def importance(*heads: list[float]) -> Importance:
    columns = [torch.arange(24.0) * (k + 1) for k in range(len(heads))]
    return Importance([torch.tensor(one) for one in heads], columns, torch.tensor([3.0, 1.0, 2.0][: len(heads)]))


def test_selection() -> None:
    found = importance([9.0, 1, 1, 1], [4.0, 3, 2, 1], [1.0, 1, 1, 1])
    config = build().config
    kept = select(found, config, config, Sizes(0.5, 0.5, 2), "layer", 8)
    assert [one.layer for one in kept] == [0, 2]
    assert [one.heads for one in kept] == [(0, 1), (0, 1)]
    # 12 of 24, in multiples of 8: rounded to even, 16.
    assert kept[0].columns == tuple(range(8, 24))
    kept = select(found, config, config, Sizes(0.5, 1.0), "model", 8)
    # Normalised: 0.98 0.11 0.11 0.11 | 0.73 0.55 0.37 0.18 | 0.5 each.
    assert [one.heads for one in kept] == [(0,), (0, 1), (0, 1, 2)]
    assert all(one.columns == tuple(range(24)) for one in kept)
    least = select(found, config, config, Sizes(0.01, 0.01), "model", 8)
    assert all(len(one.heads) == 1 and len(one.columns) == 8 for one in least)


def test_a_share_is_of_what_there_is() -> None:
    """Half of a model of which half went already is half of what is left."""
    whole = build().config
    shapes = [{"heads": heads, "feed_forward": 16} for heads in ((0, 1), (2, 3), (0, 3))]
    config = ModelConfig.model_validate(whole.model_dump() | {"shapes": shapes})
    found = Importance([torch.tensor([2.0, 1.0])] * 3, [torch.arange(16.0)] * 3, torch.ones(3))
    for scope in ("layer", "model"):
        kept = select(found, config, config, Sizes(0.5, 0.5), scope, 8)
        assert [one.heads for one in kept] == [(0,)] * 3
        assert [one.columns for one in kept] == [tuple(range(8, 16))] * 3


def test_sizes_on_the_way() -> None:
    sizes = Sizes(0.5, 0.25, 2)
    assert sizes.after(1.0, 6) == sizes
    half = sizes.after(0.5, 6)
    assert math.isclose(half.heads, 0.75)
    assert half.layers == 4


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ([{"heads": [0, 4], "feed_forward": 3}] * 3, "different numbers below 4"),
        ([{"heads": [1, 0], "feed_forward": 3}] * 3, "rising"),
        ([{"heads": [], "feed_forward": 3}] * 3, "at least 1"),
        ([{"heads": [0], "feed_forward": 25}] * 3, "is above 24"),
        ([{"heads": [0], "feed_forward": 3}], "shapes of 1 layers, there are 3"),
    ],
)
def test_shapes_that_cannot_be(shapes: list[dict], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ModelConfig.model_validate(SHAPE | {"shapes": shapes})
