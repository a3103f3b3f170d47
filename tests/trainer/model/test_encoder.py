"""Norms, initialisation, and the encoder against torch's own layer."""

import pytest
import torch
from torch import nn

from schemas.vocabulary import PAD
from trainer.model.config import NORM_EPSILON
from trainer.model.encoder import Encoder


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_equals_torch_transformer(pack, make_config, norm):
    """The absolute encoder is `torch.nn.TransformerEncoder` with the same weights."""
    torch.manual_seed(0)
    config = make_config(positions="absolute", norm=norm)
    model = Encoder(config).double().eval()
    layer = nn.TransformerEncoderLayer(
        24, 3, 32, 0.0, "gelu", NORM_EPSILON, batch_first=True, norm_first=norm == "pre", dtype=torch.float64
    )
    final = nn.LayerNorm(24, NORM_EPSILON, dtype=torch.float64) if norm == "pre" else None
    theirs = nn.TransformerEncoder(layer, 2, final, enable_nested_tensor=False)
    names = {
        "self_attn.in_proj_": "attention.qkv.",
        "self_attn.out_proj.": "attention.out.",
        "linear1.": "feed_forward.up.",
        "linear2.": "feed_forward.down.",
        "norm1.": "attention_norm.",
        "norm2.": "feed_forward_norm.",
    }
    own = model.state_dict()
    for name, parameter in theirs.named_parameters():
        for old, new in names.items():
            name = name.replace(old, new)
        parameter.data.copy_(own[name.replace("norm.", "final_norm.") if name.startswith("norm.") else name])
    tokens, segments, positions = pack([[10], [4, 3, 3]], 10)
    blocked = segments[:, :, None] != segments[:, None, :]
    wanted = theirs(model.embed(tokens, positions), mask=blocked.repeat_interleave(3, 0))
    torch.testing.assert_close(model(tokens, segments, positions), wanted, rtol=1e-11, atol=1e-11)


def test_norms(pack, make_config):
    rows = pack([[8]], 8)
    pre, post = (Encoder(make_config(norm=norm)) for norm in ("pre", "post"))
    assert isinstance(pre.final_norm, nn.LayerNorm)
    assert isinstance(post.final_norm, nn.Identity)
    for model in (pre, post):
        h = model(*rows)
        torch.testing.assert_close(h.mean(-1), torch.zeros(1, 8), atol=1e-5, rtol=0)
        torch.testing.assert_close(h.var(-1, correction=0), torch.ones(1, 8), atol=1e-3, rtol=0)
    with torch.no_grad():
        pre.final_norm.weight.zero_()
        pre.final_norm.bias.fill_(3.0)
    assert (pre(*rows) == 3).all()


@pytest.mark.parametrize("positions", ["tupe-a", "absolute"])
def test_initial_weights(make_config, positions):
    torch.manual_seed(0)
    model = Encoder(make_config(width=96, vocabulary_size=500, positions=positions, init_std=0.05))
    assert (model.token_embedding.weight[PAD] == 0).all()
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            assert (parameter == 0).all(), name
        elif "norm" in name:
            assert (parameter == 1).all(), name
        else:
            assert parameter.std().item() == pytest.approx(0.05, rel=0.1), name


def test_same_seed_same_weights(make_config):
    states = []
    for _ in range(2):
        torch.manual_seed(7)
        states.append(Encoder(make_config()).state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


@pytest.mark.parametrize("positions", ["tupe-a", "absolute"])
def test_order_of_words_matters(pack, make_config, positions):
    """Without positions, exchanging two tokens would exchange their outputs and leave the others as they were."""
    torch.manual_seed(0)
    model = Encoder(make_config(positions=positions)).double()
    tokens, segments, places = pack([[8]], 8)
    swapped = tokens.clone()
    swapped[0, [2, 5]] = tokens[0, [5, 2]]
    assert tokens[0, 2] != tokens[0, 5]
    a, b = model(tokens, segments, places)[0], model(swapped, segments, places)[0]
    assert (a[0] - b[0]).abs().max() > 1e-3
    assert (a[2] - b[5]).abs().max() > 1e-3


def test_tupe_puts_no_position_into_the_input(pack, make_config):
    model = Encoder(make_config())
    tokens, _, places = pack([[8]], 8)
    assert torch.equal(model.embed(tokens, places), model.embed(tokens, torch.zeros_like(places)))


def test_dropout_only_in_training(pack, make_config):
    rows = pack([[8]], 8)
    model = Encoder(make_config(dropout=0.5))
    assert not torch.equal(model(*rows), model(*rows))
    model.eval()
    assert torch.equal(model(*rows), model(*rows))


def test_values_out_of_range_are_named(pack, make_config):
    model = Encoder(make_config(max_length=6))
    with pytest.raises(ValueError, match=r"position 7 .* max_length = 6"):
        model(*pack([[8]], 8))
    tokens, segments, places = pack([[6]], 6)
    with pytest.raises(ValueError, match=r"token id 40 .* vocabulary_size = 40"):
        model(tokens.clamp(min=40), segments, places)


@pytest.mark.parametrize(("attention", "precision"), [("auto", torch.bfloat16), ("concat", torch.float32)])
def test_compiles_to_one_graph(pack, make_config, attention, precision):
    torch.compiler.reset()
    rows = pack([[8], [3, 4]], 8)
    model = Encoder(make_config(attention=attention))
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == torch.bfloat16):
        wanted, got = model(*rows), compiled(*rows)
    torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-5)
    got.square().sum().backward()
    assert all(p.grad is not None for p in model.parameters())
    torch.compiler.reset()
