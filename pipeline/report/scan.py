"""One pass over the audit: every count of the report, and the records that it shows.

Memory depends on the number of sources, rules, languages and repairs, never on the number of records.
"""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.config import PipelineConfig
from pipeline.report.duplicates import DuplicateScan
from pipeline.report.lengths import LengthScan
from pipeline.report.nearest import Nearest
from pipeline.report.repairs import RepairScan
from pipeline.report.rows import FILTERED, KEPT, QUARANTINED, Rows, add_rows, text_buffers
from pipeline.report.rules import EXAMPLES, Known, RuleScan, known_rules
from pipeline.report.tally import Column, count_pairs
from pipeline.text.script import SCRIPTS, letters_of
from schemas.manifest import Counts, FileEntry, Manifest

NOT_TOLD = "not told"
COLUMNS = (
    *("record", "doc_id", "source", "verdict", "scores", "rule", "kind", "duplicate_of", "jaccard", "language"),
    *("repairs", "chars_in", "chars_out", "excerpt", "detail"),
)
Pairs = Counter[tuple[str | None, str | None]]


class Scan:
    """Accumulates tables of audit rows; the result does not depend on how the rows are cut into tables."""

    def __init__(self, known: Mapping[str, Known]) -> None:
        self.sources: Pairs = Counter()
        """(source, verdict) -> records."""
        self.chars_in: Pairs = Counter()
        """(source, verdict) -> code points."""
        self.chars_out: Pairs = Counter()
        self.removed: Pairs = Counter()
        """(source, kind of duplicate) -> records."""
        self.filtered: Pairs = Counter()
        """(source, rule) -> records it decided against."""
        self.reasons: Pairs = Counter()
        """(reason, "quarantined") -> records."""
        self.languages: Pairs = Counter()
        """(language, verdict) -> records."""
        self.language_chars: Pairs = Counter()
        """(language, "kept") -> code points."""
        self.scripts = np.zeros((len(SCRIPTS), 2), np.int64)
        """[script, kept or dropped]"""
        self.rules = RuleScan(known)
        self.duplicates = DuplicateScan()
        self.lengths = LengthScan()
        self.repairs = RepairScan()
        self.quarantined: dict[str, Nearest] = {}

    def add(self, rows: Rows) -> None:
        source, verdict, rule = (Column(rows.column(name)) for name in ("source", "verdict", "rule"))
        kind, language = Column(rows.column("kind")), Column(rows.column("language"))
        chars_out = rows.column("chars_out").to_numpy().astype(np.int64)
        sound = rows.verdict != QUARANTINED
        count_pairs(self.sources, source, verdict)
        count_pairs(self.chars_in, source, verdict, weights=rows.column("chars_in").to_numpy().astype(np.int64))
        count_pairs(self.chars_out, source, verdict, weights=chars_out)
        count_pairs(self.removed, source, kind, kind.where(lambda name: name is not None))
        count_pairs(self.filtered, source, rule, rows.verdict == FILTERED)
        count_pairs(self.reasons, rule, verdict, ~sound)
        count_pairs(self.languages, language, verdict, sound)
        count_pairs(self.language_chars, language, verdict, rows.verdict == KEPT, chars_out)
        self._add_scripts(rows, sound)
        self._add_quarantined(rows, rule, ~sound)
        self.lengths.add(rows)
        self.repairs.add(rows)
        self.rules.add(rows)
        self.duplicates.add(rows)

    def _add_scripts(self, rows: Rows, sound: npt.NDArray[np.bool_]) -> None:
        excerpts = rows.column("excerpt")
        script, length = letters_of(*text_buffers(excerpts))
        side = (rows.verdict != KEPT).astype(np.int64)
        told = sound & (length > 0)
        found = np.bincount(script[told] * 2 + side[told], minlength=2 * len(SCRIPTS))
        self.scripts += found.reshape(len(SCRIPTS), 2)

    def _add_quarantined(self, rows: Rows, rule: Column, mask: npt.NDArray[np.bool_]) -> None:
        for number in np.unique(rule.codes[mask]).tolist():
            best = self.quarantined.setdefault(rule.names[number] or NOT_TOLD, Nearest(EXAMPLES))
            best.offer(rows, np.flatnonzero(mask & (rule.codes == number)))

    def merge(self, other: "Scan") -> None:
        for name, value in vars(self).items():
            theirs = getattr(other, name)
            if isinstance(value, Counter):
                value.update(theirs)
            elif isinstance(value, np.ndarray):
                value += theirs
            elif isinstance(value, dict):
                for key, nearest in theirs.items():
                    value.setdefault(key, Nearest(EXAMPLES)).merge(nearest)
            else:
                value.merge(theirs)

    def counts(self) -> Counts:
        totals: Counter[str] = Counter()
        for (_, verdict), count in self.sources.items():
            totals[verdict or ""] += count
        return Counts(input=totals.total(), **totals)


def scan(root: Path, manifest: Manifest, config: PipelineConfig) -> Scan:
    """Raises SchemaError for a missing or damaged audit."""
    files: list[FileEntry] = manifest.under("audit")
    known = known_rules(config)
    return add_rows(root, files, COLUMNS, lambda: Scan(known), Scan.add, Scan.merge)
