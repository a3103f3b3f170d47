"""The pipeline's typed config: TOML into frozen models. An unknown key or a value out of range is an error."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, get_args

from pydantic import Field, ValidationError, model_validator

from pipeline.sections.duplicates import BoilerplateConfig, DeduplicateConfig, ProtectConfig, SubstringsConfig
from pipeline.sections.input import HtmlConfig, InputConfig, RepairConfig
from pipeline.sections.rules import CustomRule, LanguageConfig, ListRule, PrivacyConfig, RulesConfig
from pipeline.sections.section import Section
from pipeline.sections.words import ShardsConfig, VocabularyConfig, WordsConfig

__all__ = [
    "BoilerplateConfig",
    "ConfigError",
    "CustomRule",
    "DeduplicateConfig",
    "HtmlConfig",
    "InputConfig",
    "LanguageConfig",
    "ListRule",
    "PipelineConfig",
    "PrivacyConfig",
    "ProtectConfig",
    "RepairConfig",
    "RulesConfig",
    "ShardsConfig",
    "SubstringsConfig",
    "VocabularyConfig",
    "WordsConfig",
    "load_config",
    "make_config",
    "with_input",
]


class ConfigError(ValueError):
    """A config file that cannot be used; the message names the key and what is allowed."""


class PipelineConfig(Section):
    """Everything that may change the bytes of the output, and nothing else."""

    input: InputConfig = InputConfig()
    rules: RulesConfig = RulesConfig()
    html: HtmlConfig = HtmlConfig()
    repair: RepairConfig = RepairConfig()
    language: LanguageConfig = LanguageConfig()
    privacy: PrivacyConfig = PrivacyConfig()
    protect: ProtectConfig = ProtectConfig()
    boilerplate: BoilerplateConfig = BoilerplateConfig()
    deduplicate: DeduplicateConfig = DeduplicateConfig()
    substrings: SubstringsConfig = SubstringsConfig()
    vocabulary: VocabularyConfig = VocabularyConfig()
    words: WordsConfig = WordsConfig()
    shards: ShardsConfig = ShardsConfig()
    mixture: dict[str, Annotated[float, Field(gt=0)]] = {}
    """Source -> weight: the share of the tokens that training should draw from it, in relation to the others. Every
    source must then be named, and has shards of its own. Without it sources share shards."""

    @model_validator(mode="after")
    def _voted(self) -> "PipelineConfig":
        asking = [rule.name for rule in self.rules.custom if rule.statistic == "language_share"]
        if asking and not self.language.vote:
            raise ValueError(f"rules.custom '{asking[0]}' is over language_share: set language.vote = true")
        return self


def _explain(error: ValidationError, name: str) -> str:
    lines = []
    for problem in error.errors():
        key = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            section: Any = PipelineConfig
            for part in problem["loc"][:-1]:
                # A number is a place in a tuple of sections.
                section = get_args(section)[0] if isinstance(part, int) else section.model_fields[str(part)].annotation
            lines.append(f"{name}: unknown key '{key}'; allowed here: {', '.join(section.model_fields)}")
        else:
            lines.append(f"{name}: key '{key}': {problem['msg']} (found {problem['input']!r})")
    return "\n".join(lines)


def make_config(values: Mapping[str, Any], name: str = "config", base: str | Path = ".") -> PipelineConfig:
    """Paths in it are relative to `base`. Raises ConfigError naming every bad key and what is allowed there."""
    try:
        return PipelineConfig.model_validate(values, context={"base": base})
    except ValidationError as error:
        raise ConfigError(_explain(error, name)) from error


def with_input(config: PipelineConfig, **values: Any) -> PipelineConfig:
    """The config with keys of its section `input` replaced, None excepted. Raises ConfigError."""
    given = {key: value for key, value in values.items() if value is not None}
    whole = config.input.model_dump(exclude_unset=True)
    return config.model_copy(update={"input": make_config({"input": {**whole, **given}}, "command line").input})


def load_config(path: str | Path | None) -> PipelineConfig:
    """Reads a TOML file; None gives the defaults."""
    if path is None:
        return PipelineConfig()
    try:
        values = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid TOML ({error})") from error
    return make_config(values, str(path), Path(path).parent)
