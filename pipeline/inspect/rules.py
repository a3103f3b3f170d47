"""The rules of a prepared corpus, and on which side of its limit each drops."""

from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.config import make_config
from pipeline.text.rules import describe_rules
from schemas.manifest import Manifest


class InspectError(ValueError):
    """A question that the audit cannot answer; the message says what it can."""


def rules_of(manifest: Manifest) -> dict[str, dict[str, Any]]:
    """The rows of `describe_rules` by name, under the config that the corpus was prepared with.

    Raises ConfigError where that config is of another version and cannot be read any more.
    """
    config = make_config({"rules": manifest.config.get("rules", {})}, "manifest.json")
    return {row["name"]: row for row in describe_rules(config.rules)}


def broken(
    rule: dict[str, Any], score: npt.NDArray[np.float64], limit: npt.NDArray[np.float64]
) -> npt.NDArray[np.bool_]:
    """Whether each score breaks the rule (a row of `describe_rules`); a line rule breaks where it cuts any line."""
    if rule["unit"] == "line":
        return score > 0
    return score < limit if rule["comparison"] == "min" else score > limit
