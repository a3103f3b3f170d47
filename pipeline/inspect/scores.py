"""The scores of the audit, rule by rule, and on which side of its limit a rule drops."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.config import make_config
from pipeline.text.rules import describe_rules
from schemas.manifest import Manifest


class InspectError(ValueError):
    """A question that the audit cannot answer; the message says what it can."""


class Scores(NamedTuple):
    """The scores of one rule in one audit table."""

    rule: str
    rows: npt.NDArray[np.int64]
    """[n] rows of the table that the rule applies to."""
    score: npt.NDArray[np.float64]
    """[n]"""
    limit: npt.NDArray[np.float64]
    """[n] the limit that was in force for the row."""


def rules_of(manifest: Manifest) -> dict[str, dict[str, Any]]:
    """The rows of `describe_rules` by name, under the config that the corpus was prepared with.

    Raises ConfigError where that config is of another version and cannot be read any more.
    """
    config = make_config({"rules": manifest.config.get("rules", {})}, "manifest.json")
    return {row["name"]: row for row in describe_rules(config.rules)}


def scores(table: pa.Table) -> Iterator[Scores]:
    """One `Scores` for each rule that scored a row of the table; needs the column `scores` alone."""
    column = table["scores"].combine_chunks()
    parents = pc.list_parent_indices(column).to_numpy().astype(np.int64, copy=False)
    flat = column.flatten()
    if not len(flat):
        return
    encoded = flat.field("rule").dictionary_encode()
    names = encoded.dictionary.to_pylist()
    code = encoded.indices.to_numpy().astype(np.uint16)
    score, limit = (flat.field(name).to_numpy(zero_copy_only=False) for name in ("score", "limit"))
    # uint16 makes the stable sort a radix sort; each rule's scores then lie side by side.
    by_rule = np.argsort(code, kind="stable")
    ends = np.cumsum(np.bincount(code, minlength=len(names)))
    for number, name in enumerate(names):
        slots = by_rule[ends[number - 1] if number else 0 : ends[number]]
        yield Scores(name, parents[slots], score[slots], limit[slots])


def broken(
    rule: dict[str, Any], score: npt.NDArray[np.float64], limit: npt.NDArray[np.float64]
) -> npt.NDArray[np.bool_]:
    """Whether each score breaks the rule (a row of `describe_rules`); a line rule breaks where it cuts any line."""
    if rule["unit"] == "line":
        return score > 0
    return score < limit if rule["comparison"] == "min" else score > limit
