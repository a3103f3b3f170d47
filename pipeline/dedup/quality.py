"""Quality as the total order of duplicates needs it: how many page rules a document breaks, of all sets."""

import numpy as np
import pyarrow as pa

from pipeline.config import RulesConfig
from pipeline.text.rules import rules_of


def broken_rules(scores: pa.ListArray, config: RulesConfig) -> np.ndarray:
    """uint16 [rows]: broken page rules of each row, fewer are better.

    scores: the audit's column, list<struct<rule, score, limit>>: every rule of every set that applies to the row, with
    the limit in force, whether its set decides or not. Line rules do not count.
    """
    rows = len(scores)
    flat = scores.flatten()
    if not len(flat):
        return np.zeros(rows, np.uint16)
    rules = rules_of(config)
    names = flat.field("rule").dictionary_encode()
    # 1: broken below the limit, -1: broken above it, 0: never counts.
    sign = np.zeros(len(names.dictionary), np.int8)
    for number, name in enumerate(names.dictionary.to_pylist()):
        rule = rules.get(name)
        if rule is not None and rule.unit == "page":
            sign[number] = 1 if rule.comparison == "min" else -1
    sides = sign[names.indices.to_numpy()]
    score, limit = flat.field("score").to_numpy(), flat.field("limit").to_numpy()
    broken = np.where(sides > 0, score < limit, (sides < 0) & (score > limit))
    lengths = np.diff(scores.offsets.to_numpy())
    counts = np.bincount(np.repeat(np.arange(rows), lengths)[broken], minlength=rows)
    return np.minimum(counts, 65535).astype(np.uint16)
