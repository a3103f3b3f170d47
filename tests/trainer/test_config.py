"""The trainer's config: layers, errors that name the key, the round trip through TOML."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.config import ConfigError, TrainConfig, build_config, flat, merge, parse_override, to_toml
from trainer.model.presets import PRESETS


def test_layers_in_order(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text('[model]\npreset = "small"\nlayers = 3\n[optimizer]\nlearning_rate = 0.002\n', encoding="utf-8")
    config = build_config(path, overrides=["optimizer.eps=1e-7", "model.norm=post", "system.precision=bf16"])
    assert config.data.sequence_length == 128  # the preset's
    assert config.optimizer.learning_rate == 0.002  # the file's
    assert config.optimizer.eps == 1e-7  # --set
    assert config.system.precision == "bf16"
    encoder = config.encoder(1000)
    assert (encoder.layers, encoder.width, encoder.norm, encoder.vocabulary_size) == (3, 256, "post", 1000)
    assert build_config(path, preset="tiny").encoder(1000).width == 128


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_is_valid_and_reads_as_long_as_its_rows(preset: str) -> None:
    config = build_config(preset=preset)
    assert config.encoder(8000).max_length == config.data.sequence_length


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optimiser.learning_rate=1", "unknown key 'optimiser'; allowed here: model, task, data, optimizer"),
        ("optimizer.rate=1", "unknown key 'optimizer.rate'; allowed here: kind, learning_rate"),
        ("model.depth=3", "unknown key 'model.depth'; allowed here: preset, layers"),
        ("model.vocabulary=3", "unknown key 'model.vocabulary'"),
        ("model.layers=0", "key 'model.layers': Input should be greater than or equal to 1 (found 0)"),
        ("model.preset=huge", "key 'model.preset': no preset 'huge'; allowed: tiny, small, base"),
        ("model.heads=3", "width (128) must be a multiple of heads (3)"),
        ("model.max_length=32", "key 'model.max_length': 32 is below data.sequence_length 64"),
        ("optimizer.learning_rate=0", "key 'optimizer.learning_rate': Input should be greater than 0 (found 0)"),
        ("optimizer.learning_rate=nan", "key 'optimizer.learning_rate': Input should be a finite number"),
        ("optimizer.betas=[0.9, 1.0]", "key 'optimizer': betas must lie in [0, 1)"),
        ("schedule.by=epochs", "key 'schedule.by': Input should be 'steps', 'tokens' or 'seconds' (found 'epochs')"),
        ("system.precision=fp16", "Input should be 'auto', 'fp32' or 'bf16' (found 'fp16')"),
        ("data.mask_share=0.95", "key 'data': mask_share + random_share must not be above 1"),
        ("system.accumulate=3", "system.accumulate (3) must divide data.batch_rows (16)"),
        ("schedule.batch_ramp=0.5", "schedule.batch_start (1) must divide data.batch_rows (16) and be a multiple of"),
        ("guard.patience=0", "key 'guard.patience': Input should be greater than or equal to 1"),
        ("data=3", "key 'data'"),
        ("learning_rate 3", "expected section.key=value"),
        ("=3", "expected section.key=value"),
    ],
)
def test_errors_name_the_key_and_what_is_allowed(override: str, message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        build_config(overrides=[override])
    assert message in str(raised.value)


def test_file_errors_name_the_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml: cannot be read"):
        build_config(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("[model\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"bad\.toml: not valid TOML"):
        build_config(tmp_path / "bad.toml")
    (tmp_path / "key.toml").write_text("[model]\ndepth = 1\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"key\.toml: unknown key 'model.depth'"):
        build_config(tmp_path / "key.toml")


@settings(max_examples=40, deadline=None)
@given(
    preset=st.sampled_from(sorted(PRESETS)),
    rate=st.floats(1e-8, 10),
    betas=st.tuples(st.floats(0, 0.99), st.floats(0, 0.999)),
    compiled=st.booleans(),
    seed=st.integers(0, 2**63 - 1),
    norm=st.sampled_from(["pre", "post"]),
)
def test_toml_round_trip(tmp_path_factory, preset, rate, betas, compiled, seed, norm) -> None:
    values = {
        "model": {"preset": preset, "norm": norm},
        "optimizer": {"learning_rate": rate, "betas": betas},
        "system": {"compile": compiled, "seed": seed},
    }
    config = TrainConfig.model_validate(values)
    path = tmp_path_factory.mktemp("toml") / "config.toml"
    path.write_text(to_toml(config), encoding="utf-8")
    assert build_config(path) == config
    assert build_config(base=config.model_dump(mode="json")) == config


def test_overrides_are_toml_values_or_strings() -> None:
    assert parse_override("a.b=3e-4") == {"a": {"b": 3e-4}}
    assert parse_override("a.b = true") == {"a": {"b": True}}
    assert parse_override("a=cpu") == {"a": "cpu"}
    assert parse_override("a=[1, 2]") == {"a": [1, 2]}
    assert parse_override("a=x=y") == {"a": "x=y"}


def test_merge_keeps_what_is_not_named() -> None:
    assert merge({"a": {"x": 1, "y": 2}, "b": 1}, {"a": {"y": 3}}) == {"a": {"x": 1, "y": 3}, "b": 1}


def test_flat_names_every_setting() -> None:
    keys = flat(build_config(overrides=["model.layers=2"]))
    assert keys["model.layers"] == 2
    assert keys["schedule.by"] == "steps"
    assert len(keys) == 1 + sum(len(f.annotation.model_fields) for f in TrainConfig.model_fields.values())
