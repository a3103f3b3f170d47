"""Growth of named tensors, and the depths of a run."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainer.bench import made_up_batch
from trainer.config import ConfigError, build_config
from trainer.growth import Growth
from trainer.model.config import ModelConfig
from trainer.sections.growth import GrowthConfig
from trainer.stacking import grow_tensors, layer_sources, rescaled, silent_layers
from trainer.tasks.masked_lm import MaskedLM

SHAPE = {"vocabulary_size": 60, "width": 16, "heads": 2, "feed_forward": 32, "max_length": 24}


def model(layers: int, seed: int = 0, **changes: object) -> MaskedLM:
    """With weights of a size that makes each layer tell."""
    torch.manual_seed(seed)
    return MaskedLM(ModelConfig(**{**SHAPE, "layers": layers, "init_std": 0.2, **changes})).eval()


def test_sources_of_each_rule() -> None:
    assert layer_sources(3, 6, "stack") == [0, 1, 2, 0, 1, 2]
    assert layer_sources(3, 6, "interleave") == [0, 0, 1, 1, 2, 2]
    assert layer_sources(3, 6, "identity") == [0, 1, 2, None, None, None]
    assert layer_sources(2, 5, "stack") == [0, 1, 0, 1, 0]
    assert layer_sources(2, 5, "interleave") == [0, 0, 0, 1, 1]
    with pytest.raises(ValueError, match="6 layers cannot grow to 3"):
        layer_sources(6, 3, "stack")


@given(st.integers(1, 9), st.integers(0, 30), st.sampled_from(["stack", "interleave", "identity"]))
def test_every_old_layer_stays_and_none_is_favoured(old: int, more: int, rule) -> None:
    sources = layer_sources(old, old + more, rule)
    copies = [sources.count(layer) for layer in range(old)]
    assert len(sources) == old + more
    assert min(copies) >= 1
    assert max(copies) - min(copies) <= 1
    if rule == "interleave":
        assert sources == sorted(sources)


@pytest.mark.parametrize("rule", ["stack", "interleave"])
@pytest.mark.parametrize("norm", ["pre", "post", "pre-extra"])
def test_layers_are_copies_bit_for_bit_and_all_else_stays(rule, norm) -> None:
    old = model(2, norm=norm).state_dict()
    sources = layer_sources(2, 4, rule)
    grown = grow_tensors(old, sources)
    deep = model(4, seed=1, norm=norm)
    deep.load_state_dict(grown, strict=True)
    weights = deep.state_dict()
    for name, tensor in old.items():
        if ".layers." not in name:
            assert torch.equal(weights[name], tensor), name
    rests = [name.removeprefix("encoder.layers.0.") for name in old if name.startswith("encoder.layers.0.")]
    assert len(rests) >= 12
    for number, source in enumerate(sources):
        for rest in rests:
            assert torch.equal(weights[f"encoder.layers.{number}.{rest}"], old[f"encoder.layers.{source}.{rest}"])


def test_a_second_encoder_and_its_state_do_not_grow() -> None:
    one = torch.ones(1)
    tensors = {"controller.encoder.layers.0.w": one, "encoder.layers.0.w/step": one, "notes.table": one}
    grown = grow_tensors(tensors, [0, 0])
    assert set(grown) == {"controller.encoder.layers.0.w", "encoder.layers.0.w/step", "encoder.layers.1.w/step",
                          "notes.table"}  # fmt: skip


@pytest.mark.parametrize(
    ("positions", "norm"),
    [("absolute", "pre"), ("tupe-a", "pre"), ("tupe-r", "pre-extra"), ("rope", "pre-extra"), ("alibi", "pre")],
)
def test_identity_keeps_every_logit(positions, norm) -> None:
    shallow, deep = (model(layers, seed=layers, positions=positions, norm=norm) for layers in (2, 5))
    sources = layer_sources(2, 5, "identity")
    silent = silent_layers(deep.state_dict(), sources)
    deep.load_state_dict(silent | grow_tensors(shallow.state_dict(), sources), strict=True)
    batch = made_up_batch(3, 24, 60, 0.2)
    logits = [m.logits(batch.tokens_BT, batch.segments_BT, batch.positions_BT, batch.target_index_M)
              for m in (shallow, deep)]  # fmt: skip
    assert torch.equal(*logits)
    deep(batch).loss.backward()
    for layer in deep.encoder.layers[2:]:
        assert layer.attention.qkv.weight.abs().max() > 0  # drawn, not zero
        first = layer.attention.out if norm == "pre" else layer.attention_out_norm
        assert 0 < first.weight.grad.abs().max() < 1
        assert layer.feed_forward.down.weight.grad.abs().max() > 0


def test_identity_would_not_hold_under_post_ln() -> None:
    """The reason why the config refuses it."""
    shallow, deep = model(2, norm="post"), model(3, seed=1, norm="post")
    for part in (*shallow.encoder.layers, *deep.encoder.layers):
        torch.nn.init.normal_(part.feed_forward_norm.weight)
    sources = layer_sources(2, 3, "identity")
    silent = silent_layers(deep.state_dict(), sources)
    deep.load_state_dict(silent | grow_tensors(shallow.state_dict(), sources), strict=True)
    batch = made_up_batch(3, 24, 60, 0.2)
    assert abs(shallow(batch).loss.item() - deep(batch).loss.item()) > 1e-3


def test_rescaled_outputs() -> None:
    weights = model(2).state_dict()
    scaled = rescaled(weights, 0.5)
    changed = {name for name in weights if not torch.equal(weights[name], scaled[name])}
    assert {name.split(".", 3)[3] for name in changed} == {"attention.out.weight", "feed_forward.down.weight"}
    name = "encoder.layers.1.feed_forward.down.weight"
    assert torch.equal(scaled[name], weights[name] * 0.5)
    normed = model(2, norm="pre-extra").state_dict()
    scaled = rescaled(normed, 0.5)
    changed = {name for name in normed if not torch.equal(normed[name], scaled[name])}
    assert {name.split(".", 3)[3] for name in changed} == {"attention_out_norm.weight", "feed_forward.down.weight"}


def test_depths_over_a_run() -> None:
    growth = Growth(GrowthConfig(depths=[3, 6, 12], at=[0.125, 0.3], rates=[1, 0.5, 0.25], warmup_steps=4), 3, 12)
    assert [growth.wanted(p) for p in (0, 0.12, 0.125, 0.29, 0.3, 0.99)] == [3, 3, 6, 6, 12, 12]
    assert growth.factor(10) == 1
    growth.begin(6, 50, 5.0)
    assert growth.wanted(0.0) == 6  # a longer schedule does not make it shallower
    assert [growth.factor(step) for step in (50, 51, 53, 90)] == [0.125, 0.25, 0.5, 0.5]
    assert growth.recovery(4.9) is None  # no step was taken yet
    probed = []
    for step in range(1, 20):
        growth.count(10)
        if growth.probes:
            probed.append(step)
            found = growth.recovery(5.5 - step / 16)
            assert (found is None) == (step < 8), step
    assert probed == [1, 2, 4, 8]
    assert found is not None
    assert (found.loss, found.loss_before, found.steps, found.tokens) == (5.0, 5.0, 8, 80)
    assert growth.spent[-1].tokens == 190
    copy = Growth(growth.config, 3, 12)
    copy.load(growth.state())
    assert copy.state() == growth.state()


def test_shares_of_a_base() -> None:
    growth = Growth(GrowthConfig(base="run"), 3, 6)
    assert growth.config.grows
    assert growth.wanted(0.0) == 6


GROWS = ["model.layers=12", "growth.depths=[3, 6, 12]", "growth.at=[0.125, 0.3]"]


def test_a_sound_config() -> None:
    config = build_config(overrides=GROWS)
    assert config.growth.stages(12) == [(0.0, 3), (0.125, 6), (0.3, 12)]
    assert all(a < b for a, b in pairwise(layers for _, layers in config.growth.stages(12)))
    assert build_config().growth.stages(4) == [(0.0, 4)]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("growth.depths=[6, 3, 12]", "key 'growth.depths': must be layers from 1 on that rise"),
        ("growth.depths=[3, 3, 12]", "found [3, 3, 12]"),
        ("growth.depths=[0, 6, 12]", "key 'growth.depths': must be layers from 1 on"),
        ("growth.depths=[2, 4, 8]", "key 'growth.depths': the last depth of [2, 4, 8] must be model.layers (12)"),
        ("growth.at=[0.3, 0.125]", "key 'growth.at': must be shares of the run that rise inside (0, 1)"),
        ("growth.at=[0.0, 0.5]", "key 'growth.at': must be shares"),
        ("growth.at=[0.5, 1.0]", "key 'growth.at': must be shares"),
        ("growth.at=[0.5]", "key 'growth': at has 1 shares for 3 depths; it needs one for each depth but the first"),
        ("growth.rates=[1.0]", "key 'growth': rates has 1 factors for 3 depths"),
        ("growth.rates=[1, 0, 1]", "key 'growth.rates': must be factors above 0"),
        ("growth.rule=double", "key 'growth.rule': Input should be 'stack', 'interleave' or 'identity'"),
        ("schedule.steps=3", "key 'growth.at': [0.125, 0.3] leaves a depth without a step of the 3"),
    ],
)
def test_errors_name_the_key(override: str, message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        build_config(overrides=[*GROWS, override])
    assert message in str(raised.value)


def test_identity_needs_pre_ln_and_no_rescaling() -> None:
    with pytest.raises(ConfigError, match=r"key 'growth.rule': 'identity' needs model.norm = pre"):
        build_config(overrides=[*GROWS, "growth.rule=identity", "model.norm=post"])
    with pytest.raises(ConfigError, match="rescale would change"):
        build_config(overrides=[*GROWS, "growth.rule=identity", "growth.rescale=true"])
