"""The `scores` column of audit rows, rule by rule, without a Python loop over records."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc


class Scores(NamedTuple):
    """The scores of one rule in one audit table."""

    rule: str
    rows: npt.NDArray[np.int64]
    """[n] rows of the table that the rule applies to."""
    score: npt.NDArray[np.float64]
    """[n]"""
    limit: npt.NDArray[np.float64]
    """[n] the limit that was in force for the row."""


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
