"""Norms, initialisation, and the encoder against torch's own layer."""

import pytest
import torch
from torch import nn

from schemas.vocabulary import PAD
from trainer.model.config import NORM_EPSILON, ModelConfig
from trainer.model.encoder import POSITIONS, Encoder


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


def test_extra_norms_are_normformers(pack, make_config):
    """x + LN(heads' sum of scaled heads), then x + W2 LN(GELU(W1 LN(x))) (arXiv 2110.09456, eq. 2 to 5)."""
    torch.manual_seed(0)
    config = make_config(norm="pre-extra", head_scale=True, positions="absolute", layers=1)
    model = Encoder(config).double()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.5)
    tokens, segments, places = pack([[9]], 9)
    h = x = model.embed(tokens, places)
    layer = model.layers[0]
    q, k, v = layer.attention.qkv(layer.attention_norm(x)).chunk(3, -1)
    heads = []
    for n in range(3):
        part = slice(8 * n, 8 * n + 8)
        weights = torch.softmax(q[..., part] @ k[..., part].mT / 8**0.5, -1)
        heads.append(layer.attention.head_scale[n] * (weights @ v[..., part]))
    x = x + layer.attention_out_norm(layer.attention.out(torch.cat(heads, -1)))
    feed = layer.feed_forward
    x = x + feed.down(feed.norm(nn.functional.gelu(feed.up(layer.feed_forward_norm(x)))))
    torch.testing.assert_close(model(tokens, segments, places), model.final_norm(x), rtol=1e-11, atol=1e-11)
    assert not torch.allclose(x, h)


def test_extra_norms_start_at_one(make_config):
    state = Encoder(make_config(norm="pre-extra", head_scale=True)).state_dict()
    extra = {"attention_out_norm.weight", "feed_forward.norm.weight", "attention.head_scale"}
    for name in extra:
        assert (state[f"layers.0.{name}"] == 1).all()
    assert state["layers.0.feed_forward.norm.weight"].shape == (32,)
    plain = Encoder(make_config()).state_dict()
    assert not any(f"layers.0.{name}" in plain for name in extra)


@pytest.mark.parametrize("norm", ["pre", "post", "pre-extra"])
def test_residual_scaled_start(make_config, norm):
    states = []
    for residual_init in ("plain", "scaled"):
        torch.manual_seed(0)
        states.append(Encoder(make_config(layers=8, norm=norm, residual_init=residual_init)).state_dict())
    plain, scaled = states
    for name in plain:
        factor = 1 / 4 if name.endswith(("attention.out.weight", "feed_forward.down.weight")) else 1
        torch.testing.assert_close(scaled[name], plain[name] * factor, msg=name)


def shift_task(pack, norm, layers, seed=0):
    """Predict the token before each; weights N(0, 1/width) as in the theory. (model, its loss as a function)."""
    torch.manual_seed(seed)
    shape = {"layers": layers, "width": 32, "heads": 2, "feed_forward": 64, "init_std": 32**-0.5}
    config = ModelConfig(vocabulary_size=40, max_length=10, norm=norm, positions="absolute", **shape)
    model = nn.ModuleDict({"encoder": Encoder(config), "head": nn.Linear(32, 40)})
    rows = pack([[10]] * 8, 10, seed=seed)

    def loss():
        logits = model["head"](model["encoder"](*rows))
        return nn.functional.cross_entropy(logits.flatten(0, 1), rows[0].roll(1, 1).flatten())

    return model, loss


def test_without_warm_up_post_norm_does_not_learn_and_pre_norm_does(pack):
    """Xiong et al. 2020, section 3: at a rate that Pre-LN takes from the first step on, Post-LN stays where it was."""
    last = {}
    for norm in ("pre", "pre-extra", "post"):
        model, loss = shift_task(pack, norm, layers=12)
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-2, fused=True)
        for _ in range(30):
            optimizer.zero_grad()
            taken = loss()
            taken.backward()
            optimizer.step()
        last[norm] = taken.item()
    assert max(last["pre"], last["pre-extra"]) < 0.3, last
    assert last["post"] > 3, last


def test_gradient_of_the_last_layer_by_depth(pack):
    """Xiong et al. 2020, theorem 1: it falls with 1/sqrt(layers) under Pre-LN and does not depend on them in Post-LN.

    Measured with 2, 8, 32 layers, mean of four seeds: Pre-LN 0.26, 0.12, 0.07; Post-LN 0.31, 0.30, 0.39.
    """

    def gradient(norm, layers):
        model, loss = shift_task(pack, norm, layers)
        loss().backward()
        return model["encoder"].layers[-1].feed_forward.down.weight.grad.norm().item()

    for norm in ("pre", "pre-extra"):
        assert gradient(norm, 32) / gradient(norm, 2) == pytest.approx(1 / 4, rel=0.35)
    assert gradient("post", 32) / gradient("post", 2) > 0.7


@pytest.mark.parametrize("positions", sorted(POSITIONS))
def test_initial_weights(make_config, positions):
    torch.manual_seed(0)
    model = Encoder(make_config(width=96, vocabulary_size=500, max_length=32, positions=positions, init_std=0.05))
    assert (model.token_embedding.weight[PAD] == 0).all()
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            assert (parameter == 0).all(), name
        elif "norm" in name:
            assert (parameter == 1).all(), name
        elif name == "positions.scale":
            assert parameter.item() == pytest.approx(0.05 * 2**0.5)
        else:
            tolerance = 0.3 if "table" in name else 0.1
            assert parameter.std().item() == pytest.approx(0.05, rel=tolerance), name


def test_same_seed_same_weights(make_config):
    states = []
    for _ in range(2):
        torch.manual_seed(7)
        states.append(Encoder(make_config()).state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


@pytest.mark.parametrize("positions", sorted(POSITIONS))
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


@pytest.mark.parametrize(
    ("positions", "attention", "precision"),
    [("tupe-a", "concat", torch.float32), ("tupe-r", "auto", torch.bfloat16), ("rope", "auto", torch.bfloat16)],
)
def test_compiles_to_one_graph(pack, make_config, positions, attention, precision):
    torch.compiler.reset()
    rows = pack([[8], [3, 4]], 8)
    model = Encoder(make_config(attention=attention, positions=positions))
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == torch.bfloat16):
        wanted, got = model(*rows), compiled(*rows)
    torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-5)
    got.square().sum().backward()
    assert all(p.grad is not None for p in model.parameters())
    torch.compiler.reset()


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("norm", ["pre", "post", "pre-extra"])
@pytest.mark.parametrize("attention", ["written", "concat", "mask"])
def test_states_that_are_asked_for_are_those_of_all_in_values_and_gradients(
    pack, make_config, norm, attention, recompute
):
    config = make_config(attention=attention, norm=norm, head_scale=norm == "pre-extra", positions="tupe-a", layers=3)
    model = Encoder(config).double().train()
    model.recompute = recompute
    rows, index_M = pack([[8], [3, 4], [2]], 8), torch.tensor([0, 3, 9, 10, 14, 17])
    weights = torch.randn(len(index_M), config.width, dtype=torch.double, generator=torch.Generator().manual_seed(0))
    found = []
    for whole in (False, True):
        model.whole = whole
        h_MD = model(*rows, read_M=index_M)
        gradients = torch.autograd.grad((h_MD * weights).sum(), tuple(model.parameters()), allow_unused=True)
        found.append((h_MD, [torch.zeros(()) if g is None else g for g in gradients]))
    torch.testing.assert_close(found[0][0], model(*rows).flatten(0, 1)[index_M], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(found[0], found[1], rtol=1e-10, atol=1e-12)
    states: list[torch.Tensor] = []
    model.whole = False
    h_MD = model(*rows, states=states, read_M=index_M)
    assert states[-1].shape == (*rows[0].shape, config.width)
    torch.testing.assert_close(h_MD, found[0][0], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("norm", ["pre", "post"])
def test_looking_at_all_states_changes_neither_those_asked_for_nor_a_gradient(
    pack, make_config, norm, precision, recompute
):
    model = Encoder(make_config(norm=norm, positions="tupe-a", layers=2, dropout=0.0)).train()
    model.recompute = recompute
    rows, index_M = pack([[8], [3, 4], [2]], 8), torch.tensor([0, 3, 9, 10, 14, 17])
    found, seen = [], []
    for whole in (None, False, True):
        around: list[torch.Tensor] = []
        model.whole = bool(whole)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == torch.bfloat16):
            h_MD = model(*rows, read_M=index_M, around=None if whole is None else around)
        h_MD.float().square().sum().backward()
        found.append((h_MD.detach(), [p.grad for p in model.parameters()]))
        model.zero_grad()
        seen += around
    assert len(seen) == 2
    model.whole = False
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == torch.bfloat16):
        wanted = model(*rows).detach()
    loose = {"rtol": 2e-2, "atol": 2e-2} if precision == torch.bfloat16 else {"rtol": 1e-5, "atol": 1e-6}
    for states in seen:
        assert not states.requires_grad
        torch.testing.assert_close(states, wanted, **loose)
    torch.testing.assert_close(found[1], found[0], rtol=0, atol=0)
    torch.testing.assert_close(found[2][0], found[0][0], **loose)


def test_no_position_asked_for(pack, make_config):
    model = Encoder(make_config())
    h_MD = model(*pack([[8]], 8), read_M=torch.zeros(0, dtype=torch.long))
    assert h_MD.shape == (0, 24)
    h_MD.sum().backward()
