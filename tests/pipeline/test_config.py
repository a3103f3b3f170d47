import pytest

from pipeline.config import ConfigError, PipelineConfig, load_config, make_config


def test_an_empty_file_is_the_defaults(tmp_path):
    (tmp_path / "c.toml").write_text("")
    assert load_config(tmp_path / "c.toml") == PipelineConfig() == load_config(None)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"dedup": {}}, f"unknown key 'dedup'; allowed here: {', '.join(PipelineConfig.model_fields)}"),
        ({"deduplicate": {"treshold": 1}}, "unknown key 'deduplicate.treshold'; allowed here: near, threshold"),
        ({"deduplicate": {"threshold": 1.5}}, "key 'deduplicate.threshold': .*less than or equal to 1 .found 1.5"),
        ({"rules": {"sets": ["gofer"]}}, "key 'rules.sets.0': .*'gopher-quality'"),
        ({"words": {"rare_low": 9, "rare_high": 3}}, "rare_low must not be above rare_high"),
    ],
)
def test_a_bad_key_is_named_with_what_is_allowed(values, message):
    with pytest.raises(ConfigError, match=message):
        make_config(values)


def test_a_file_that_is_no_toml(tmp_path):
    (tmp_path / "c.toml").write_text("[input\n")
    with pytest.raises(ConfigError, match=r"c\.toml: not valid TOML"):
        load_config(tmp_path / "c.toml")
    with pytest.raises(ConfigError, match=r"nowhere\.toml: cannot be read"):
        load_config(tmp_path / "nowhere.toml")
