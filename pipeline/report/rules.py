"""What every rule did: on which side of its limit the records lie, and the records nearest to it."""

from functools import partial
from typing import Literal

import numpy as np
import pyarrow as pa

from pipeline.report.examples import Nearest, Order, example, positions
from pipeline.report.model import Rule
from pipeline.report.scores import scores

EXAMPLES = 3
"""Records shown on each side of a limit."""

Side = Literal["below", "above"]


class RuleCounts:
    """One rule, as the pass goes on. `below` and `above` are strict: a score at its limit counts in neither."""

    def __init__(self) -> None:
        self.scored = 0
        self.below = {"all": 0, "decided": 0, "kept": 0}
        self.above = {"all": 0, "decided": 0, "kept": 0}
        self.limit_low, self.limit_high = np.inf, -np.inf
        self.dropped = Nearest(EXAMPLES)
        self.kept_under = Nearest(EXAMPLES)
        """Kept records at or below the limit."""
        self.kept_over = Nearest(EXAMPLES)

    def side(self, decides: bool) -> Side | None:
        """On which side records fail: where it decided against some, else (if it decides) where none was kept."""
        if self.below["decided"] != self.above["decided"]:
            return "below" if self.below["decided"] > self.above["decided"] else "above"
        if decides and bool(self.below["kept"]) != bool(self.above["kept"]):
            return "below" if self.above["kept"] else "above"
        return None

    def summary(self, name: str, decided: int, decides: bool) -> Rule:
        """`decided`: records it decided against, those without a score included."""
        side = self.side(decides)
        failing = {"below": self.below["all"], "above": self.above["all"], None: None}[side]
        passing = {"below": self.kept_over, "above": self.kept_under, None: None}[side]
        return Rule(
            name=name,
            decided=decided,
            scored=self.scored,
            fails=side,
            failing=failing,
            limit_low=_finite(self.limit_low),
            limit_high=_finite(self.limit_high),
            decides=decides,
            dropped=self.dropped.values(),
            kept=passing.values() if passing is not None and decided else (),
        )


class RuleScan:
    """Adds up the `scores` column; memory grows with the number of rules alone."""

    def __init__(self) -> None:
        self.rules: dict[str, RuleCounts] = {}

    def add(self, table: pa.Table, verdict: np.ndarray, order: Order) -> None:
        """`verdict`: position of each row's verdict in VERDICTS."""
        found = list(scores(table))
        deciding = positions(table["rule"], [one.rule for one in found])
        for number, one in enumerate(found):
            decided = (deciding[one.rows] == number) & (verdict[one.rows] == 1)
            counts = self.rules.setdefault(one.rule, RuleCounts())
            _add(counts, table, one.rows, one.score, one.limit, decided, verdict[one.rows] == 0, order)


def _add(
    counts: RuleCounts,
    table: pa.Table,
    rows: np.ndarray,
    score: np.ndarray,
    limit: np.ndarray,
    decided: np.ndarray,
    kept: np.ndarray,
    order: Order,
) -> None:
    below, above = score < limit, score > limit
    counts.scored += len(rows)
    for into, mask in ((counts.below, below), (counts.above, above)):
        into["all"] += int(mask.sum())
        into["decided"] += int((mask & decided).sum())
        into["kept"] += int((mask & kept).sum())
    counts.limit_low = min(counts.limit_low, float(limit.min()))
    counts.limit_high = max(counts.limit_high, float(limit.max()))
    distance = np.abs(score - limit)
    for best, mask in (
        (counts.dropped, decided),
        (counts.kept_under, kept & ~above),
        (counts.kept_over, kept & ~below),
    ):
        some = np.flatnonzero(mask & np.isfinite(distance))
        for slot in some[order.nearest(rows[some], distance[some], EXAMPLES)].tolist():
            row, at, bound = int(rows[slot]), float(score[slot]), float(limit[slot])
            best.offer(table, row, abs(at - bound), partial(example, table, row, at, bound))


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
