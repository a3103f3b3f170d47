"""Masked LM: the loss is the cross-entropy at the predicted positions, and it can be learned."""

import copy
import math
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from schemas.vocabulary import CLS, FIRST_ORDINARY, MASK, PAD, SEP
from trainer.data.batch import Batch, RowRange
from trainer.model.config import ModelConfig
from trainer.tasks.masked_lm import MaskedLM

V = 50


def make_batch(rows: int = 4, length: int = 16, seed: int = 0) -> Batch:
    """Two documents and two tokens of padding a row; every fifth token masked."""
    generator = torch.Generator().manual_seed(seed)
    original = torch.randint(FIRST_ORDINARY, V, (rows, length), generator=generator)
    segments, positions = torch.zeros_like(original), torch.zeros_like(original)
    cut, end = length // 3, length - 2
    for number, (start, stop) in enumerate(((0, cut), (cut, end)), 1):
        segments[:, start:stop] = number
        positions[:, start:stop] = torch.arange(stop - start)
        original[:, start], original[:, stop - 1] = CLS, SEP
    original[:, end:] = PAD
    ordinary = (original >= FIRST_ORDINARY).flatten().nonzero().flatten()
    index = ordinary[::5]
    tokens = original.flatten().clone()
    tokens[index] = MASK
    return Batch(
        tokens_BT=tokens.view_as(original),
        segments_BT=segments,
        positions_BT=positions,
        target_index_M=index,
        target_M=original.flatten()[index],
        source=(RowRange(0, 0, 0, rows),),
        token_count=rows * end,
    )


def make_model(**changes) -> MaskedLM:
    fields = {"vocabulary_size": V, "layers": 2, "width": 32, "heads": 4, "feed_forward": 64, "max_length": 16}
    torch.manual_seed(0)
    return MaskedLM(ModelConfig.model_validate({**fields, **changes}))


VARIANTS = [{"positions": positions, "norm": norm} for positions in ("tupe-a", "absolute") for norm in ("pre", "post")]


@pytest.mark.parametrize("variant", VARIANTS)
def test_loss_is_cross_entropy_over_all_logits(variant):
    batch, model = make_batch(), make_model(**variant).double()
    output = model(batch)
    h_BTD = model.encoder(batch.tokens_BT, batch.segments_BT, batch.positions_BT)
    logits_BTV = model.head(h_BTD)
    labels = torch.full((4 * 16,), -100).index_copy(0, batch.target_index_M, batch.target_M)
    wanted = F.cross_entropy(logits_BTV.view(-1, V).float(), labels)
    torch.testing.assert_close(output.loss, wanted)
    assert output.loss.dtype == torch.float32
    assert output.targets == len(batch.target_M)
    assert torch.equal(output.parts["masked_lm"], output.loss)
    assert not output.parts["masked_lm"].requires_grad


@pytest.mark.parametrize("variant", VARIANTS)
def test_gradients_reach_every_parameter(variant):
    model = make_model(**variant).double()
    model(make_batch()).loss.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        if name.endswith("qkv.bias"):
            # The keys' bias adds a constant along each row of scores, which softmax removes (BERT has it all the same).
            query, key, value = parameter.grad.chunk(3)
            assert key.abs().max() < 1e-12 < min(query.abs().max(), value.abs().max()), name
        else:
            assert parameter.grad.abs().max() > 1e-9, name


def test_head_is_tied():
    model = make_model()
    names = [name for name, p in model.named_parameters() if V in p.shape]
    assert names == ["encoder.token_embedding.weight", "head.bias"]
    assert sorted(model.state_dict()) == sorted(name for name, _ in model.named_parameters())
    h_MD = torch.randn(3, 32)
    before = model.head(h_MD)
    with torch.no_grad():
        model.encoder.token_embedding.weight[20] += 1.0
    changed = (model.head(h_MD) != before).any(0)
    assert changed.nonzero().flatten().tolist() == [20]


def test_head_stays_tied_in_a_copy():
    model = make_model()
    twin = copy.deepcopy(model)
    with torch.no_grad():
        twin.encoder.token_embedding.weight.zero_()
    h_MD = torch.randn(3, 32)
    assert (twin.head(h_MD) == 0).all()
    assert (model.head(h_MD) != 0).any()
    assert make_model().double().head(h_MD.double()).dtype == torch.float64


def test_weights_survive_a_round_trip():
    batch, model, other = make_batch(), make_model(), make_model()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    assert model(batch).loss != other(batch).loss
    other.load_state_dict(model.state_dict())
    assert torch.equal(model(batch).loss, other(batch).loss)


def test_no_targets_is_zero_loss_with_a_graph():
    batch = make_batch()
    empty = replace(batch, target_index_M=batch.target_index_M[:0], target_M=batch.target_M[:0])
    model = make_model()
    output = model(empty)
    assert output.targets == 0
    assert output.loss.item() == 0
    output.loss.backward()
    assert all((p.grad == 0).all() for p in model.parameters())


def test_output_bias_starts_at_the_unigram_distribution():
    model = make_model()
    log_unigram = torch.log_softmax(torch.randn(V), 0)
    model.set_output_bias(log_unigram)
    torch.testing.assert_close(torch.log_softmax(model.head(torch.zeros(1, 32)), -1)[0], log_unigram)
    assert model.head.bias.requires_grad
    with pytest.raises(ValueError, match=r"shape \[49\], not \[50\]"):
        model.set_output_bias(log_unigram[1:])
    with pytest.raises(ValueError, match="not finite"):
        model.set_output_bias(torch.full((V,), -math.inf))


@pytest.mark.parametrize("attention", ["auto", "concat"])
def test_bf16_autocast(attention):
    batch, model = make_batch(), make_model(attention=attention)
    wanted = model(batch).loss.item()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = model(batch)
        logits = model.logits(batch.tokens_BT, batch.segments_BT, batch.positions_BT, batch.target_index_M)
    assert logits.dtype == torch.bfloat16
    assert output.loss.dtype == torch.float32
    assert output.loss.item() == pytest.approx(wanted, rel=0.01)
    output.loss.backward()
    assert all(p.dtype == p.grad.dtype == torch.float32 and p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("variant", VARIANTS)
def test_overfits_a_small_batch(variant):
    batch, model = make_batch(), make_model(**variant)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0)
    first = model(batch).loss.item()
    for _ in range(90):
        optimizer.zero_grad()
        loss = model(batch).loss
        loss.backward()
        optimizer.step()
    assert first > 3
    assert loss.item() < 0.2


def test_compiles_to_one_graph():
    torch.compiler.reset()
    batch, model = make_batch(), make_model()
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(batch).loss, model(batch).loss)
    torch.compiler.reset()


@pytest.mark.slow
def test_compiles_with_inductor():
    torch.compiler.reset()
    batch, model = make_batch(), make_model()
    compiled = torch.compile(model)
    output = compiled(batch)
    torch.testing.assert_close(output.loss, model(batch).loss, rtol=1e-4, atol=1e-4)
    output.loss.backward()
    assert all(p.grad is not None for p in model.parameters())
    torch.compiler.reset()
