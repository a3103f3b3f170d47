"""The rules of a prepared corpus, and on which side of its limit each drops."""

from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.config import PipelineConfig, make_config
from pipeline.text.language_rules import LANGUAGE_STATISTICS, rules_for
from pipeline.text.rules import describe_rules
from schemas.manifest import Manifest


class InspectError(ValueError):
    """A question that the audit cannot answer; the message says what it can."""


def rules_of(manifest: Manifest) -> dict[str, dict[str, Any]]:
    """The rows of `described` by name, under the config that the corpus was prepared with.

    Raises ConfigError where that config is of another version and cannot be read any more.
    """
    sections = ("rules", "language")
    config = make_config({name: manifest.config.get(name, {}) for name in sections}, "manifest.json")
    return {row["name"]: row for row in described(config)}


def described(config: PipelineConfig) -> list[dict[str, Any]]:
    """The rows of `describe_rules` in deciding order, after those of the language rules that this config asks for."""
    language = []
    for rule in rules_for(config.language):
        row = {key: value for key, value in asdict(rule).items() if key not in ("scope", "always")}
        row |= {"statistic_meaning": LANGUAGE_STATISTICS[rule.statistic].meaning, "scripts": "all", "languages": "all"}
        row |= {"limit_in_force": rule.limit, "limits_by_language": "", "decides": True}
        language.append(row)
    return [*language, *describe_rules(config.rules)]


def broken(
    rule: dict[str, Any], score: npt.NDArray[np.float64], limit: npt.NDArray[np.float64]
) -> npt.NDArray[np.bool_]:
    """Whether each score breaks the rule (a row of `described`); a line rule breaks where it cuts any line."""
    if rule["unit"] == "line":
        return score > 0
    return score < limit if rule["comparison"] == "min" else score > limit
