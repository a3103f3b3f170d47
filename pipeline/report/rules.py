"""What every rule did: who broke it, whom it alone sent away, how its scores lie, and the records nearest its limit."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.config import PipelineConfig
from pipeline.report import kernels
from pipeline.report.histogram import score_histogram
from pipeline.report.kernels import KEPT_OVER, KEPT_UNDER, LINES, MAXIMUM, MINIMUM, UNTOLD
from pipeline.report.model import ScoreHistogram
from pipeline.report.nearest import Near
from pipeline.report.rows import Rows, positions, text_buffers
from pipeline.text.language_rules import KEEP, MIN_SCORE
from pipeline.text.language_rules import rules_for as language_rules
from pipeline.text.privacy import RULE as PRIVACY
from pipeline.text.rules import deciding, rules_of

EXAMPLES = 3
"""Records shown on each side of a limit."""

Side = Literal["below", "above"]
_SIDES: dict[int, Side] = {MINIMUM: "below", MAXIMUM: "above", LINES: "above"}


@dataclass(frozen=True)
class Known:
    """What the config says of a rule."""

    kind: int
    """kernels.UNTOLD, MINIMUM, MAXIMUM or LINES."""
    decides: bool
    meaning: str = ""
    source: str = ""
    statistic: str = ""


UNKNOWN = Known(UNTOLD, False)


def known_rules(config: PipelineConfig) -> dict[str, Known]:
    """Every rule that this version and the config name."""
    decisive = {rule.name for rule in (*deciding(config.rules), *language_rules(config.language))}
    kinds = {"min": MINIMUM, "max": MAXIMUM}
    found = {
        rule.name: Known(
            LINES if rule.unit == "line" else kinds[rule.comparison],
            rule.name in decisive,
            rule.meaning,
            rule.source,
            rule.statistic,
        )
        for rule in (*rules_of(config.rules).values(), KEEP, MIN_SCORE)
    }
    found[PRIVACY] = Known(MAXIMUM, bool(config.privacy.kinds and config.privacy.max_per_document), "personal data")
    return found


class _Sums:
    """Arrays over rules, which grow as rules are met. See kernels.tally."""

    def __init__(self, rules: int) -> None:
        self.kinds = np.zeros(rules, np.int8)
        self.decisive = np.zeros(rules, np.bool_)
        self.counts = np.zeros((rules, kernels.COLUMNS), np.int64)
        self.limits = np.full((rules, 2), (np.inf, -np.inf))
        self.fine = np.zeros((rules, 3, kernels.BINS), np.int64)
        self.distances = np.full((rules, kernels.GROUPS, EXAMPLES), np.inf)
        self.keys = np.full((rules, kernels.GROUPS, EXAMPLES, 3), np.uint64(0xFFFFFFFFFFFFFFFF))
        self.places = np.full((rules, kernels.GROUPS, EXAMPLES), -1, np.int64)
        self.values = np.zeros((rules, kernels.GROUPS, EXAMPLES, 2))

    def grown(self, rules: int) -> "_Sums":
        wider = _Sums(rules)
        for name, array in vars(self).items():
            getattr(wider, name)[: len(array)] = array
        return wider


@dataclass(frozen=True)
class Scored:
    """A row with its score and the limit that was in force for it."""

    near: Near
    score: float
    limit: float


class RuleScan:
    """Adds up the `scores` column; memory grows with the number of rules alone (100 kB each)."""

    def __init__(self, known: Mapping[str, Known]) -> None:
        self.known = known
        self.names: list[str] = []
        self._codes: dict[str, int] = {}
        self._text, self._offsets = np.zeros(1, np.uint8), np.zeros(1, np.int32)
        self._sums = _Sums(64)

    def add(self, rows: Rows) -> None:
        column = rows.column("scores")
        flat = column.flatten()
        if not len(flat):
            return
        score, limit = (flat.field(name).to_numpy(zero_copy_only=False) for name in ("score", "limit"))
        offsets = column.offsets.to_numpy() - column.offsets[0].as_py()
        codes = self._code(flat.field("rule"), offsets)
        deciders = positions(rows.column("rule"), self.names)
        sums = self._sums
        kernels.tally(
            offsets,
            codes,
            score,
            score.view(np.int64),
            limit,
            rows.verdict,
            deciders,
            rows.keys.high,
            rows.keys.low,
            rows.keys.tie,
            rows.first,
            *vars(sums).values(),
        )

    def _code(self, names: pa.Array, rows: npt.NDArray[np.int32]) -> npt.NDArray[np.uint16]:
        data, offsets = text_buffers(names)
        codes = np.empty(len(names), np.uint16)
        row = 0
        while True:
            row, text = kernels.name_codes(data, offsets, rows, row, self._text, self._offsets, codes)
            if text < 0:
                return codes
            self._number(names[text].as_py())

    def _number(self, name: str) -> int:
        if name not in self._codes:
            code = self._codes[name] = len(self.names)
            self.names.append(name)
            encoded = [text.encode() for text in self.names]
            self._text = np.frombuffer(b"".join(encoded) + b"\0", np.uint8)
            self._offsets = np.cumsum([0, *map(len, encoded)], dtype=np.int32)
            if code >= len(self._sums.kinds):
                self._sums = self._sums.grown(2 * code)
            known = self.known.get(name, UNKNOWN)
            self._sums.kinds[code], self._sums.decisive[code] = known.kind, known.decides
        return self._codes[name]

    def merge(self, other: "RuleScan") -> None:
        for code, name in enumerate(other.names):
            mine = self._number(name)
            ours, theirs = self._sums, other._sums
            ours.counts[mine] += theirs.counts[code]
            ours.fine[mine] += theirs.fine[code]
            ours.limits[mine, 0] = min(ours.limits[mine, 0], theirs.limits[code, 0])
            ours.limits[mine, 1] = max(ours.limits[mine, 1], theirs.limits[code, 1])
            for group in range(kernels.GROUPS):
                for slot in np.flatnonzero(theirs.places[code, group] >= 0).tolist():
                    high, low, tie = theirs.keys[code, group, slot]
                    score, limit = theirs.values[code, group, slot]
                    kernels.offer(
                        ours.distances[mine, group],
                        ours.keys[mine, group],
                        ours.places[mine, group],
                        ours.values[mine, group],
                        theirs.distances[code, group, slot],
                        high,
                        low,
                        tie,
                        theirs.places[code, group, slot],
                        score,
                        limit,
                    )

    def of(self, name: str) -> "RuleCounts | None":
        """What was seen of a rule; None where it scored no row."""
        return RuleCounts(self, self._codes[name]) if name in self._codes else None


class RuleCounts:
    """One rule after the pass."""

    def __init__(self, scan: RuleScan, code: int) -> None:
        self._sums, self._code = scan._sums, code
        self.known = scan.known.get(scan.names[code], UNKNOWN)

    def count(self, column: int) -> int:
        """column: of kernels.tally's counts."""
        return int(self._sums.counts[self._code, column])

    @property
    def limits(self) -> tuple[float, float] | None:
        """Least and greatest limit that was in force; None of a rule over lines, whose limit is not its score's."""
        low, high = self._sums.limits[self._code].tolist()
        return (low, high) if np.isfinite([low, high]).all() and self.known.kind != LINES else None

    @property
    def fails(self) -> Side | None:
        """The side on which records fail: as the config says, else that of the records it decided against."""
        if self.known.kind in _SIDES:
            return _SIDES[self.known.kind]
        below, above = self.count(kernels.BELOW_DECIDED), self.count(kernels.ABOVE_DECIDED)
        return None if below == above else "below" if below > above else "above"

    @property
    def fired(self) -> int | None:
        """Records beyond the limit, whichever rule decided; None where the side is unknown."""
        columns = {"below": kernels.BELOW, "above": kernels.ABOVE}
        return None if self.fails is None else self.count(columns[self.fails])

    @property
    def alone(self) -> int | None:
        """Records that break this rule and no other that decides; None where the config does not tell its side."""
        return None if self.known.kind == UNTOLD else self.count(kernels.ALONE)

    def histogram(self) -> ScoreHistogram | None:
        side = {"below": 0, "above": 2, None: -1}[self.fails]
        fine = self._sums.fine[self._code]
        failing = fine[side] if side >= 0 else np.zeros_like(fine[0])
        whole = self.count(kernels.UNEVEN) == 0
        return score_histogram(failing, fine.sum(axis=0) - failing, self.limits, whole)

    def dropped(self) -> list[Scored]:
        """Records it decided against, nearest the limit first."""
        return self._group(kernels.DROPPED)

    def kept(self) -> list[Scored]:
        """Kept records that pass, nearest the limit first; none where the side is unknown."""
        return [] if self.fails is None else self._group(KEPT_OVER if self.fails == "below" else KEPT_UNDER)

    def _group(self, group: int) -> list[Scored]:
        sums, code = self._sums, self._code
        found = []
        for slot in np.flatnonzero(sums.places[code, group] >= 0).tolist():
            distance, place = float(sums.distances[code, group, slot]), int(sums.places[code, group, slot])
            score, limit = sums.values[code, group, slot].tolist()
            high, low, tie = map(int, sums.keys[code, group, slot])
            found.append(Scored(Near(distance, high, low, tie, place), score, limit))
        return found
