"""Every attention path computes the same function, and that function is TUPE's."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from trainer.model.attention import same_document
from trainer.model.choice import MAX_WRITTEN_LENGTH, NEEDS, choose_attention
from trainer.model.config import ModelConfig
from trainer.model.encoder import POSITIONS, Encoder
from trainer.model.positions import TupeAbsolutePositions
from trainer.model.reference import reference_plan, tupe_bias

DOCUMENTS = [[12], [5, 4, 3], [3, 6], [1, 2], []]
CPU = torch.device("cpu")
KINDS = sorted(POSITIONS)
PATHS = {
    "nothing": ["concat", "mask", "written", "auto"],
    "constant": ["mask", "written", "auto"],
    "product": ["concat", "mask", "written", "auto"],
    "learned": ["mask", "written", "auto"],
}
"""By need: what can carry it and train on a CPU."""
CARRIED = [(kind, path) for kind in KINDS for path in PATHS[NEEDS[kind]]]


def encoder(config: ModelConfig, dtype: torch.dtype, like: Encoder | None = None) -> Encoder:
    torch.manual_seed(1)
    # Tables that are no parameters are made in the default precision.
    torch.set_default_dtype(dtype)
    try:
        model = Encoder(config)
    finally:
        torch.set_default_dtype(torch.float32)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    if like is not None:
        model.load_state_dict(like.state_dict())
    return model.to(dtype)


def values_and_gradients(model, rows):
    tokens, segments, positions = rows
    h = model(tokens, segments, positions)
    h = h * (segments > 0)[..., None]
    weight = torch.randn(h.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64).to(h)
    (h * weight).sum().backward()
    return h.detach(), {name: p.grad for name, p in model.named_parameters()}


@pytest.mark.parametrize(("positions", "path"), CARRIED)
@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-11), (torch.float32, 2e-4)])
def test_paths_equal_reference(pack, make_config, path, dtype, tolerance, norm, positions):
    rows = pack(DOCUMENTS, 12)
    slow = encoder(make_config(attention="reference", norm=norm, positions=positions), dtype)
    fast = encoder(make_config(attention=path, norm=norm, positions=positions), dtype, like=slow)
    wanted, wanted_gradients = values_and_gradients(slow, rows)
    got, gradients = values_and_gradients(fast, rows)
    torch.testing.assert_close(got, wanted, rtol=tolerance, atol=tolerance)
    for name, gradient in wanted_gradients.items():
        scale = gradient.abs().max().item()
        torch.testing.assert_close(gradients[name], gradient, rtol=0, atol=tolerance * max(scale, 1), msg=name)
    if positions in ("tupe-r", "bert-r"):
        table = wanted_gradients["positions.relative.table.weight"]
        assert (table[[0, 1, 3, 17, 19]].abs() > 1e-4).all(), "b learns, to both sides"
    if positions in ("tupe-a", "tupe-r"):
        for name in ("embedding.weight", "query.weight", "query.bias", "key.weight", "norm.weight", "norm.bias"):
            assert wanted_gradients[f"positions.{name}"].abs().max() > 1e-3, name
        assert wanted_gradients["positions.embedding.weight"][0].abs().max() > 1e-3, "theta_2 learns"


@settings(max_examples=25, deadline=None)
@given(kind=st.sampled_from(KINDS), documents=st.lists(st.lists(st.integers(1, 5), max_size=3), min_size=1, max_size=3))
def test_paths_equal_reference_for_any_packing(pack, kind, documents):
    rows = pack(documents, 15)
    config = ModelConfig(vocabulary_size=40, layers=1, width=8, heads=2, feed_forward=8, max_length=5, positions=kind)
    paths = ["reference", *PATHS[NEEDS[kind]]]
    models = [encoder(config.model_copy(update={"attention": path}), torch.float64) for path in paths]
    with torch.no_grad():
        outputs = [model(*rows) for model in models]
    for output in outputs[1:]:
        torch.testing.assert_close(output, outputs[0], rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("head_width", [4, 7, 8])
def test_features_are_tupe_scores(make_config, head_width):
    torch.manual_seed(0)
    config = make_config(width=3 * head_width)
    tupe = TupeAbsolutePositions(config).double()
    nn.init.normal_(tupe.query.bias)
    features = tupe(torch.arange(9)[None])
    scores_HTT = (features.query_BHTF @ features.key_BHTF.mT)[0]
    p = tupe.norm(tupe.embedding.weight)
    for head in range(3):
        part = slice(head * head_width, (head + 1) * head_width)
        q, k = tupe.query(p)[:, part], tupe.key(p)[:, part]
        for i in range(9):
            for j in range(9):
                wanted = 0.0 if i == 0 else (q[0] @ k[0] if j == 0 else q[i] @ k[j])
                assert scores_HTT[head, i, j].item() == pytest.approx(
                    float(torch.as_tensor(wanted).detach()), abs=1e-12
                )
    assert (head_width + tupe.features) % 8 == 0


def test_theta_1_is_without_effect(make_config):
    tupe = TupeAbsolutePositions(make_config()).double()
    content_HTT = torch.randn(3, 6, 6, dtype=torch.float64)
    without, with_theta = (content_HTT + tupe_bias(tupe, 6, theta_1) for theta_1 in (0.0, 5.0))
    assert not torch.allclose(without[:, 0], with_theta[:, 0])
    torch.testing.assert_close(without.softmax(-1), with_theta.softmax(-1))


def test_cls_is_untied_from_ordinary_positions(make_config):
    def scores(change: int | None):
        torch.manual_seed(0)
        tupe = TupeAbsolutePositions(make_config()).double()
        if change is not None:
            with torch.no_grad():
                tupe.embedding.weight[change] += torch.randn(24, dtype=torch.float64)
        features = tupe(torch.arange(8)[None])
        return (features.query_BHTF @ features.key_BHTF.mT)[0]

    before = scores(None)
    for row in range(1, 8):
        after = scores(row)
        assert torch.equal(after[:, 0], before[:, 0])
        assert torch.equal(after[:, :, 0], before[:, :, 0])
        assert not torch.allclose(after[:, row, 1:], before[:, row, 1:])
    theta = scores(0)
    assert torch.equal(theta[:, 1:, 1:], before[:, 1:, 1:])
    assert torch.equal(theta[:, 0], before[:, 0])
    assert (theta[:, 1:, 0] != before[:, 1:, 0]).all()
    assert (theta[:, 1:, 0] == theta[:, 1:2, 0]).all(), "one number per head"


@pytest.mark.parametrize(("positions", "path"), [*CARRIED, *((kind, "reference") for kind in KINDS)])
def test_packed_rows_equal_documents_alone(pack, make_config, path, positions):
    lengths = [5, 7, 3]
    tokens, segments, places = pack([lengths], 16)
    model = encoder(make_config(attention=path, positions=positions), torch.float64)
    packed = model(tokens, segments, places)[0]
    start = 0
    for n in lengths:
        part = slice(start, start + n)
        alone = model(tokens[:, part], torch.ones(1, n, dtype=torch.int64), places[:, part])[0]
        torch.testing.assert_close(packed[part], alone, rtol=1e-11, atol=1e-11)
        start += n


@pytest.mark.parametrize(("positions", "path"), [*CARRIED, *((kind, "reference") for kind in KINDS)])
def test_padding_changes_nothing(pack, make_config, path, positions):
    documents = [[5, 2], [6]]
    model = encoder(make_config(attention=path, positions=positions), torch.float64)
    narrow, wide = pack(documents, 8), pack(documents, 14)
    wide[0][wide[1] == 0] = 9
    real = narrow[1] > 0
    torch.testing.assert_close(model(*wide)[:, :8][real], model(*narrow)[real], rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize(("positions", "path"), CARRIED)
def test_other_documents_get_no_gradient(pack, make_config, path, positions):
    rows = pack([[4, 4, 3]], 12)
    model = encoder(make_config(attention=path, positions=positions), torch.float64)
    embedded = model.embed(rows[0], rows[2]).detach().requires_grad_()
    model.encode(embedded, rows[1], rows[2])[0, 4:8].square().sum().backward()
    seen = embedded.grad[0].abs().sum(-1) > 0
    assert seen.tolist() == [False] * 4 + [True] * 4 + [False] * 4


@pytest.mark.parametrize("kind", ["tupe-a", "tupe-r"])
def test_zero_projections_leave_content_at_tupe_scale(pack, make_config, kind):
    """With no positional score TUPE is attention without positions, at temperature 1/sqrt(2 C)."""
    rows = pack([[9], [4, 5]], 10)
    tupe = encoder(make_config(layers=1, embedding_norm=False, positions=kind), torch.float64)
    plain = encoder(make_config(layers=1, embedding_norm=False, positions="absolute"), torch.float64)
    plain.load_state_dict(tupe.state_dict(), strict=False)
    with torch.no_grad():
        for linear in (tupe.positions.query, tupe.positions.key):
            linear.weight.zero_()
            linear.bias.zero_()
        if kind == "tupe-r":
            tupe.positions.relative.table.weight.zero_()
        plain.positions.embedding.weight.zero_()
        plain.layers[0].attention.qkv.weight[:24] /= math.sqrt(2)
        plain.layers[0].attention.qkv.bias[:24] /= math.sqrt(2)
    torch.testing.assert_close(tupe(*rows), plain(*rows), rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize(("positions", "path"), [*CARRIED, *((kind, "reference") for kind in KINDS)])
def test_rows_of_padding_alone_stay_finite(pack, make_config, path, positions):
    rows = pack([[], [3]], 6)
    model = encoder(make_config(attention=path, positions=positions), torch.float32)
    h = model(*rows)
    h.square().sum().backward()
    assert torch.isfinite(h).all()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


@pytest.mark.parametrize("positions", KINDS)
def test_bf16_paths_are_near_fp32(pack, make_config, positions):
    rows = pack([[12], [5, 7]], 12)
    exact = encoder(make_config(attention="reference", positions=positions), torch.float32)
    wanted = exact(*rows)
    for path in PATHS[NEEDS[positions]]:
        model = encoder(make_config(attention=path, positions=positions), torch.float32, like=exact)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            h = model(*rows)
        error = (h - wanted).norm() / wanted.norm()
        assert h.isfinite().all()
        assert error < 0.03, path


def test_same_document_never_leaves_a_row_empty(pack):
    mask = same_document(pack([[2, 3], []], 7)[1])
    assert mask.shape == (2, 1, 7, 7)
    assert mask.any(-1).all()
    assert mask[0, 0].sum().item() == 2 * 2 + 3 * 3 + 2 * 2


def test_choice():
    cuda, bf16 = torch.device("cuda"), torch.bfloat16
    long = MAX_WRITTEN_LENGTH + 1
    for kind in ("tupe-a", "tupe-r", "bert-r"):
        assert choose_attention(CPU, 128, kind, "auto") == "written"
        assert choose_attention(CPU, 128, kind, "auto", bf16) == "written"
    assert choose_attention(CPU, long, "tupe-a", "auto") == "concat"
    assert choose_attention(CPU, long, "tupe-r", "auto") == "written"
    for kind in ("tupe-a", "tupe-r", "bert-r", "alibi"):
        assert choose_attention(CPU, 128, kind, "auto", bf16, gradient=False) == "mask"
    assert choose_attention(CPU, long, "tupe-a", "auto", gradient=False) == "concat"
    assert choose_attention(CPU, 128, "rope", "auto", bf16, gradient=False) == "sdpa"
    for kind in ("absolute", "sinusoidal", "rope"):
        assert choose_attention(CPU, 128, kind, "auto") == "sdpa"
        assert choose_attention(CPU, 128, kind, "auto", bf16) == "written"
        assert choose_attention(CPU, 128, kind, "concat") == "sdpa"
        assert choose_attention(cuda, 128, kind, "auto", bf16) == "sdpa"
    assert choose_attention(CPU, 128, "alibi", "auto") == "mask"
    assert choose_attention(CPU, 128, "alibi", "auto", bf16) == "written"
    assert choose_attention(CPU, long, "alibi", "auto", bf16) == "mask"
    assert choose_attention(cuda, 128, "tupe-a", "auto", bf16) == "concat"
    for kind in ("tupe-r", "bert-r", "alibi"):
        assert choose_attention(cuda, 128, kind, "auto", bf16) == "mask"
        assert choose_attention(cuda, long, kind, "auto", bf16) == "flex"
    for forced in ("concat", "mask", "written", "flex", "reference"):
        assert choose_attention(cuda, 4096, "tupe-a", forced) == forced


def test_deterministic_runs_never_sum_by_atomics():
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        assert choose_attention(torch.device("cuda"), 4096, "tupe-r", "auto") == "mask"
    finally:
        torch.use_deterministic_algorithms(before)


@pytest.mark.parametrize("positions", KINDS)
def test_flex_computes_the_same_values(pack, make_config, positions):
    rows = pack(DOCUMENTS, 12)
    slow = encoder(make_config(attention="reference", positions=positions), torch.float64)
    flex = encoder(make_config(attention="flex", positions=positions), torch.float64, like=slow)
    with torch.no_grad():
        torch.testing.assert_close(flex(*rows), slow(*rows), rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("positions", KINDS)
def test_flex_has_no_backward_on_cpu_and_says_so(pack, make_config, positions):
    model = Encoder(make_config(attention="flex", positions=positions))
    with pytest.raises(ValueError, match="'flex' has no backward on cpu"):
        model(*pack([[4]], 4))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="FlexAttention's backward needs CUDA")
@pytest.mark.parametrize("positions", KINDS)
def test_flex_trains_on_cuda(pack, make_config, positions):
    shape = {"width": 48, "positions": positions, "max_length": 256}
    rows = [part.cuda() for part in pack([[200], [30, 100, 60]], 200)]
    slow = encoder(make_config(attention="mask", **shape), torch.float32).cuda()
    fast = encoder(make_config(attention="flex", **shape), torch.float32, like=slow).cuda()
    wanted, wanted_gradients = values_and_gradients(slow, rows)
    got, gradients = values_and_gradients(fast, rows)
    torch.testing.assert_close(got, wanted, rtol=2e-3, atol=2e-3)
    for name, gradient in wanted_gradients.items():
        scale = max(gradient.abs().max().item(), 1)
        torch.testing.assert_close(gradients[name], gradient, rtol=0, atol=5e-3 * scale, msg=name)


def test_reference_refuses_positions_out_of_order(pack, make_config):
    _, segments, positions = pack([[4]], 4)
    config = make_config()
    with pytest.raises(ValueError, match="row 0, document 1"):
        reference_plan(config, TupeAbsolutePositions(config), segments, positions.flip(1))
