"""What other limits would do: for every rule the limits that would drop given shares, from the audit alone.

One pass; exact counts in bounded memory: see pipeline.inspect.histogram.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.inspect.histogram import At, Histogram, on_grid
from pipeline.inspect.rules import InspectError, broken, rules_of
from pipeline.meter import tell
from pipeline.report.audit import tables
from pipeline.report.scores import scores
from pipeline.report.visible import visible_text
from schemas.manifest import read_manifest

SHARES = (0.001, 0.01, 0.05, 0.1)
SHARES_OF_ONE_RULE = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5)


@dataclass(frozen=True)
class Tuning:
    """One rule as the audit has it. All numbers count records; copies count as often as they came in."""

    rule: str
    comparison: str | None
    """"min" or "max"; None where this version does not know the rule, and so not which side it drops."""
    unit: str | None
    decides: bool
    limit_low: float
    limit_high: float
    """They differ only where the limit in force differs between records."""
    scored: int
    """Records that the rule applies to: the whole of every share."""
    drops: int
    """Records that break it at the limit in force (of a line rule: that lose a line)."""
    alone: int
    """Of these, those that no other deciding rule drops: what the rule itself costs, whether it decides or not."""
    lowest: float | None
    median: float | None
    highest: float | None
    """Of the scores, on the grid; None where there is no number among them."""
    at: tuple[At, ...]
    """Other limits; none for a line rule, whose limit is one line's."""


class _Seen:
    """One rule, as the pass goes on."""

    def __init__(self) -> None:
        self.scored = self.drops = self.alone = 0
        self.low, self.high = np.inf, -np.inf
        self.histogram = Histogram()


def tune(directory: str | Path, rule: str | None = None) -> list[Tuning]:
    """Every rule of the audit, or the one named with more shares; those of this version in deciding order, then others.

    Raises InspectError for a rule without scores, ManifestError where the directory is not a finished one, SchemaError.
    """
    root = Path(directory)
    manifest = read_manifest(root)
    known = rules_of(manifest)
    seen: dict[str, _Seen] = {}
    done, rows = 0, sum(entry.rows for entry in manifest.under("audit"))
    for table in tables(root, manifest.under("audit"), ["verdict", "rule", "scores"]):
        found = list(scores(table))
        breaks = [
            broken(known[item.rule], item.score, item.limit) if item.rule in known else np.zeros(len(item.rows), bool)
            for item in found
        ]
        # What else drops each row: deciding rules, counted, and what has no score that this version can read.
        named = pc.is_in(table["rule"], value_set=pa.array([*known], pa.string()))
        against = pc.and_not(pc.equal(table["verdict"], "filtered"), named).to_numpy().astype(np.int32)
        for item, mask in zip(found, breaks, strict=True):
            if item.rule in known and known[item.rule]["decides"]:
                against[item.rows] += mask
        for item, mask in zip(found, breaks, strict=True):
            one = seen.setdefault(item.rule, _Seen())
            one.scored += len(item.rows)
            one.low, one.high = min(one.low, float(item.limit.min())), max(one.high, float(item.limit.max()))
            if rule not in (None, item.rule) or item.rule not in known:
                continue
            own = mask if known[item.rule]["decides"] else np.zeros_like(mask)
            free = against[item.rows] == own
            one.drops += int(mask.sum())
            one.alone += int((mask & free).sum())
            numbers = ~np.isnan(item.score)
            value = on_grid(item.score[numbers], up=known[item.rule]["comparison"] == "max")
            one.histogram.add(value, free[numbers])
        done += len(table)
        tell(done, rows, "records")
    if rule is not None and rule not in seen:
        raise InspectError(f"no record has a score of '{rule}'; rules with scores here: {', '.join(sorted(seen))}")
    order = [name for name in known if name in seen] + sorted(seen.keys() - known.keys())
    shares = SHARES if rule is None else SHARES_OF_ONE_RULE
    return [_tuning(name, seen[name], known.get(name), shares) for name in order if rule in (None, name)]


def _tuning(name: str, seen: _Seen, known: dict | None, shares: Sequence[float]) -> Tuning:
    seen.histogram.merge()
    lowest, median, highest = seen.histogram.quantiles()
    page = known is not None and known["unit"] == "page"
    return Tuning(
        rule=name,
        comparison=known["comparison"] if known else None,
        unit=known["unit"] if known else None,
        decides=known is not None and known["decides"],
        limit_low=seen.low,
        limit_high=seen.high,
        scored=seen.scored,
        drops=seen.drops,
        alone=seen.alone,
        lowest=lowest,
        median=median,
        highest=highest,
        at=seen.histogram.at(shares, seen.scored, known["comparison"] == "min") if known and page else (),
    )


def _number(value: float) -> str:
    return f"{value:.0f}" if 1e4 <= abs(value) < 1e15 else f"{value:.4g}"


def _share(count: int, whole: int) -> str:
    return f"{100 * count / max(1, whole):.2f} %"


def render_tuning(tunings: list[Tuning], console: Console, one: bool = False) -> None:
    """All rules in one table, or one rule with a row for each share."""
    if one:
        for tuning in tunings:
            _render_one(tuning, console)
        return
    table = Table(show_edge=False, pad_edge=False, header_style="bold")
    table.add_column("rule", overflow="fold")
    table.add_column("decides")
    for name in ("records", "limit", "drops", "alone", *(f"{100 * share:g} % at" for share in SHARES)):
        table.add_column(name, justify="right")
    for tuning in tunings:
        at = [_number(at.limit) for at in tuning.at] or [""] * len(SHARES)
        unknown = tuning.comparison is None
        table.add_row(
            Text(visible_text(tuning.rule, 160)),
            "cuts lines" if tuning.unit == "line" else "not known" if unknown else "yes" if tuning.decides else "no",
            f"{tuning.scored:,}",
            _limit(tuning),
            "" if unknown else _share(tuning.drops, tuning.scored),
            "" if unknown else _share(tuning.alone, tuning.scored),
            *at,
        )
    console.print(table)
    console.print(
        "drops: what breaks the rule at its limit, of the records that it applies to; alone: those that no other rule "
        "drops. 1 % at: the strictest limit that drops at most 1 %. --rule NAME shows more of one rule."
    )


def _limit(tuning: Tuning) -> str:
    sign = {"min": "≥ ", "max": "≤ ", None: ""}[tuning.comparison]
    high = f" – {tuning.limit_high:.6g}" if tuning.limit_high != tuning.limit_low else ""
    return f"{sign}{tuning.limit_low:.6g}{high}"


def _render_one(tuning: Tuning, console: Console) -> None:
    name = visible_text(tuning.rule, 160)
    console.print(Text(f"{name}, limit {_limit(tuning)}, scored {tuning.scored:,} records."))
    if tuning.comparison is None:
        console.print("This version does not know the rule, and so not which side of the limit it drops.")
        return
    if tuning.lowest is not None and tuning.median is not None and tuning.highest is not None:
        console.print(
            f"Scores: {_number(tuning.lowest)} to {_number(tuning.highest)}, median {_number(tuning.median)}."
        )
    if tuning.unit == "line":
        console.print(
            f"It cuts lines in {_share(tuning.drops, tuning.scored)} of them. Its limit is one line's: what another "
            "limit would cut the audit cannot tell."
        )
        return
    table = Table(show_edge=False, pad_edge=False, header_style="bold")
    for heading in ("to drop at most", "limit", "drops", "share", "alone", "share"):
        table.add_column(heading, justify="right")
    now = ("now", _limit(tuning)[2:], tuning.drops, tuning.alone)
    for first, limit, drops, alone in (
        now,
        *((f"{100 * at.wanted:g} %", _number(at.limit), at.drops, at.alone) for at in tuning.at),
    ):
        table.add_row(
            first, limit, f"{drops:,}", _share(drops, tuning.scored), f"{alone:,}", _share(alone, tuning.scored)
        )
    console.print(table)
