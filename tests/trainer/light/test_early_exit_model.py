"""Rows that leave early: each answers as if it were alone, whatever the batch, the positions, the padding."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from trainer.data.rare import RareWords
from trainer.finetune.examples import collate
from trainer.light.early_exit.branch import Branch, BranchConfig, uncertainty
from trainer.light.early_exit.flops import text_flops
from trainer.light.early_exit.model import shrink
from trainer.model.note_config import NoteConfig

POSITIONS = ("absolute", "sinusoidal", "tupe-a", "tupe-r", "bert-r", "rope", "alibi")


def alone(model, example, speed):
    """(logits_K, layers) of one text, unpadded, by the definition: layer by layer, the first sure branch answers."""
    encoder, batch = model.encoder, collate([example], [0], 3)
    assert batch.tokens_BT.shape[1] in (len(example.ids), -(-len(example.ids) // 8) * 8)
    n = len(example.ids)
    tokens, segments, positions = batch.tokens_BT[:, :n], batch.segments_BT[:, :n], batch.positions_BT[:, :n]
    with torch.no_grad():
        h_BTD = encoder.embed(tokens, positions)
        plan = encoder.plan(segments, positions, h_BTD.dtype)
        for number, layer in enumerate(encoder.layers):
            if number in model.exits:
                logits_BK = model.branches[model.exits.index(number)](h_BTD, segments)
                p_K = logits_BK[0].softmax(-1)
                if float((p_K * p_K.log()).sum() / np.log(1 / len(p_K))) < speed:
                    return logits_BK[0], number
            h_BTD = layer(h_BTD, plan)
        return model.out(model.dense(encoder.final_norm(h_BTD)[:, 0]))[0], len(encoder.layers)


def speeds_between(model, examples, count):
    """Speeds half way between the uncertainties that occur, so that no rounding decides."""
    with torch.no_grad():
        states, _ = model.states(collate(examples, range(len(examples)), 40))
        segments = collate(examples, range(len(examples)), 40).segments_BT
        values = [uncertainty(b(h, segments)) for b, h in zip(model.branches, states, strict=True)]
    found = torch.cat(values).sort().values
    gaps = found[1:] - found[:-1]
    middles = ((found[1:] + found[:-1]) / 2)[gaps > 1e-5]
    return middles[torch.linspace(0, len(middles) - 1, count).long()].tolist()


@pytest.mark.parametrize("positions", POSITIONS)
@pytest.mark.parametrize("norm", ["pre", "post"])
def test_each_row_answers_as_if_alone(model_of, examples_of, positions, norm):
    model, _ = model_of(positions=positions, norm=norm, exits=[0, 1, 2, 3])
    examples = examples_of()
    seen = set()
    for speed in speeds_between(model, examples, 7):
        found = model.answer(collate(examples, range(len(examples)), 40), speed)
        for k, example in enumerate(examples):
            logits, layers = alone(model, example, speed)
            assert int(found.layers_B[k]) == layers
            torch.testing.assert_close(found.logits_BK[k], logits, atol=2e-5, rtol=1e-4)
            seen.add(layers)
    assert len(seen) >= 4


@pytest.mark.parametrize("attention", ["concat", "mask", "written", "reference", "flex"])
def test_every_attention_path_shrinks(model_of, examples_of, attention):
    if attention == "flex" and not torch.cuda.is_available():
        pytest.skip("FlexAttention in eager mode is slow and warns on a CPU")
    model, _ = model_of(positions="tupe-a", attention=attention)
    examples = examples_of(12)
    for speed in speeds_between(model, examples, 3):
        found = model.answer(collate(examples, range(12), 40), speed)
        for k, example in enumerate(examples):
            logits, layers = alone(model, example, speed)
            assert int(found.layers_B[k]) == layers
            torch.testing.assert_close(found.logits_BK[k], logits, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("pooling", ["attention", "mean", "cls"])
def test_speed_zero_is_the_whole_model_and_asks_no_branch(model_of, examples_of, pooling):
    model, _ = model_of(pooling=pooling)
    batch = collate(examples_of(), range(24), 40)
    with torch.no_grad():
        expected = model(batch)[0]
    asked = []
    for branch in model.branches:
        branch.register_forward_hook(lambda *_: asked.append(1))
    found = model.answer(batch, 0.0)
    torch.testing.assert_close(found.logits_BK, expected, atol=1e-6, rtol=1e-6)
    assert set(found.layers_B.tolist()) == {4}
    assert asked == []


def test_at_speed_one_only_equal_odds_stay(model_of, examples_of):
    model, _ = model_of()
    batch = collate(examples_of(), range(24), 40)
    assert set(model.answer(batch, 1.0).layers_B.tolist()) == {1}
    nn.init.zeros_(model.branches[0].out.weight)  # every class as likely as any: as unsure as can be
    assert set(model.answer(batch, 1.0).layers_B.tolist()) == {2}


def test_the_batch_gets_smaller(model_of, examples_of):
    """Rows and padding: one hard text does not keep the others, nor a long one that has left its width."""
    model, _ = model_of(exits=[1, 2, 3])
    examples = sorted(examples_of(), key=lambda e: len(e.ids))
    speed, shapes = speeds_between(model, examples, 9)[2], []
    for layer in model.encoder.layers:
        layer.register_forward_hook(lambda module, inputs, output: shapes.append(tuple(inputs[0].shape[:2])))
    found = model.answer(collate(examples, range(24), 40), speed)
    for number, (rows, width) in enumerate(shapes):
        staying = [k for k in range(24) if int(found.layers_B[k]) > number]
        longest = max(len(examples[k].ids) for k in staying)
        assert rows == len(staying)
        assert width == -(-longest // 8) * 8
    assert len({rows for rows, _ in shapes}) > 2


def test_notes_enter_once_and_follow_their_rows(model_of, examples_of):
    model, _ = model_of(notes=NoteConfig(words=3))
    table = model.encoder.notes
    table.table_WD.normal_(std=3.0)
    table.taken_W.fill_(1)
    examples = examples_of(8)

    def with_words(batch, rows):
        places = torch.tensor([row * batch.tokens_BT.shape[1] + 1 for row in rows])
        empty = torch.zeros(0, dtype=torch.int64)
        return replace(batch, words=RareWords(empty, empty, empty, empty, places, places * 0 + 1, empty, empty))

    batch = with_words(collate(examples, range(8), 40), range(0, 8, 2))
    without = model.answer(collate(examples, range(8), 40), 0.9)
    found = model.answer(batch, 0.9)
    assert not torch.allclose(found.logits_BK[0], without.logits_BK[0], atol=1e-3)
    torch.testing.assert_close(found.logits_BK[1], without.logits_BK[1], atol=1e-5, rtol=1e-4)
    for k in range(0, 8, 2):
        single = model.answer(with_words(collate(examples, [k], 40), [0]), 0.9)
        assert int(single.layers_B[0]) == int(found.layers_B[k])
        torch.testing.assert_close(single.logits_BK[0], found.logits_BK[k], atol=2e-5, rtol=1e-4)


@settings(max_examples=20, deadline=None)
@given(
    positions=st.sampled_from(POSITIONS),
    staying=st.lists(st.booleans(), min_size=6, max_size=6).filter(any),
    eighths=st.integers(2, 5),
)
def test_a_shrunk_plan_is_the_plan_of_what_stays(model_of, examples_of, positions, staying, eighths):
    model, _ = model_of(positions=positions, exits=[1])
    examples = examples_of(6, longest=8 * eighths)
    batch = collate(examples, range(6), 40)
    rows = torch.tensor([k for k in range(6) if staying[k]])
    width = max(len(examples[k].ids) for k in rows.tolist())
    with torch.no_grad():
        whole = model.encoder.plan(batch.segments_BT, batch.positions_BT, torch.float32)
        found = shrink(whole, rows, width)
        wanted = model.encoder.plan(batch.segments_BT[rows, :width], batch.positions_BT[rows, :width], torch.float32)
    for name in ("mask_B1TT", "bias_BHTT", "features", "rotation", "rotation_BTCC"):
        a, b = getattr(found, name), getattr(wanted, name)
        assert (a is None) == (b is None)
        for x, y in zip(*((t if isinstance(t, tuple) else (t,)) for t in (a, b)), strict=True):
            if x is not None:
                torch.testing.assert_close(x.expand_as(y), y)


def test_padding_has_no_influence_on_a_branch(model_of):
    """(BitVoyage/FastBERT issue 14: classifiers ignored the mask.)"""
    for pooling in ("attention", "mean", "cls"):
        branch = model_of(pooling=pooling)[0].branches[0]
        h = torch.randn(2, 5, 16)
        filled = torch.cat([h, 100 * torch.randn(2, 3, 16)], 1)
        segments = torch.ones(2, 8, dtype=torch.int64)
        segments[:, 5:] = 0
        with torch.no_grad():
            torch.testing.assert_close(branch(filled, segments), branch(h, segments[:, :5]))


def test_a_branch_is_fastberts():
    """Against torch's own attention over all positions, of which the first is taken."""
    branch = Branch(16, 4, BranchConfig(pooling="attention", width=8, heads=2), 0.5)
    own = nn.MultiheadAttention(8, 2, batch_first=True)
    own.in_proj_weight.data = torch.cat([branch.query.weight, branch.key_value.weight])
    own.in_proj_bias.data = torch.cat([branch.query.bias, branch.key_value.bias])
    own.out_proj.weight, own.out_proj.bias = branch.attended.weight, branch.attended.bias
    h, segments = torch.randn(3, 6, 16), torch.tensor([[1] * 6, [1] * 4 + [0] * 2, [1] * 2 + [0] * 4])
    with torch.no_grad():
        x = torch.tanh(branch.down(branch.norm(h)))
        x = own(x, x, x, key_padding_mask=segments == 0, need_weights=False)[0][:, 0]
        expected = branch.out(torch.tanh(branch.dense(x)))
        torch.testing.assert_close(branch(h, segments), expected)


def test_the_mean_is_over_pieces():
    """(FastBERT's `--pooling mean` averaged over hidden features.)"""
    branch = Branch(16, 4, BranchConfig(pooling="mean", width=8, heads=2), 0.5)
    h, segments = torch.randn(2, 6, 16), torch.tensor([[1] * 6, [1] * 4 + [0] * 2])
    with torch.no_grad():
        x = torch.tanh(branch.down(branch.norm(h)))
        mean = torch.stack([sum(x[0, k] for k in range(6)) / 6, sum(x[1, k] for k in range(4)) / 4])
        torch.testing.assert_close(branch(h, segments), branch.out(torch.tanh(branch.dense(mean))))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-30, 30, width=32), min_size=2, max_size=40), st.integers(2, 6))
def test_uncertainty_is_normalised_entropy(logits, top):
    row = torch.tensor([logits])
    p = F.softmax(row.double(), -1)[0].numpy()
    expected = float(np.sum(p * np.log(np.maximum(p, 1e-300))) / np.log(1 / len(p)))
    assert float(uncertainty(row)) == pytest.approx(expected, abs=1e-4)
    assert 0 <= float(uncertainty(row, top)) <= 1
    best = np.sort(p)[::-1][:top]
    best = best / best.sum()
    expected = float(-np.sum(best * np.log(np.maximum(best, 1e-300))) / np.log(len(best)))
    assert float(uncertainty(row, top)) == pytest.approx(expected, abs=1e-4)


def test_the_top_form_tells_a_sure_text_among_many_classes():
    logits = torch.zeros(1, 40)
    logits[0, 7] = 3.0
    assert float(uncertainty(logits)) > 0.8
    assert float(uncertainty(logits, 5)) < 0.5
    assert float(uncertainty(torch.zeros(1, 40))) == pytest.approx(1)
    assert float(uncertainty(torch.tensor([[0.0, -torch.inf]]))) == 0


@pytest.mark.parametrize("pooling", ["attention", "mean", "cls"])
@pytest.mark.parametrize("layers", [0, 1, 3, 4])
def test_operations_are_those_that_torch_counts(model_of, examples_of, pooling, layers):
    """All products, attention's too (the tool behind FastBERT's figures leaves those out)."""
    model, exits = model_of(pooling=pooling, exits=[0, 1, 2, 3], positions="absolute", attention="reference", classes=3)
    example = next(e for e in examples_of(40) if len(e.ids) % 8 == 0)
    for branch in model.branches:
        nn.init.zeros_(branch.out.weight)
    if layers < 4:
        model.branches[layers].out.bias.data = torch.tensor([9.0, 0, 0])
    batch = collate([example], [0], 40)
    # One query, so that the counter sees products: it does not know the CPU's fused kernel.
    with FlopCounterMode(display=False) as counter, torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        found = model.answer(batch, 0.5)
    assert int(found.layers_B[0]) == layers
    # Biases aside, the counter counts 2 operations for each multiply-add.
    assert counter.get_total_flops() == text_flops(model.encoder.config, 3, exits, len(example.ids), layers)
