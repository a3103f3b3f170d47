"""Counts of audit rows by source, verdict and deciding rule: what the manifest says of a run."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from schemas.arrow import VERDICTS
from schemas.manifest import Counts


@dataclass
class AuditTally:
    """Adds up audit rows; JSON in and out, so that parts can be summed."""

    sources: dict[str, dict[str, int]] = field(default_factory=dict)
    """Source -> verdict -> records."""
    rules: dict[str, int] = field(default_factory=dict)
    """Deciding rule, duplicate kind or quarantine reason -> records it decided against."""
    quarantined_files: dict[str, int] = field(default_factory=dict)
    """File -> quarantined records."""

    def add(self, rows: pa.RecordBatch) -> None:
        columns = (rows[name].to_pylist() for name in ("source", "verdict", "rule", "record"))
        for source, verdict, rule, record in zip(*columns, strict=True):
            self.sources.setdefault(source, dict.fromkeys(VERDICTS, 0))[verdict] += 1
            if verdict != "kept":
                self.rules[rule] = self.rules.get(rule, 0) + 1
            if verdict == "quarantined":
                file = record.rpartition("#")[0]
                self.quarantined_files[file] = self.quarantined_files.get(file, 0) + 1

    def facts(self) -> dict[str, Any]:
        return {"sources": self.sources, "rules": self.rules, "quarantined_files": self.quarantined_files}

    @staticmethod
    def total(parts: Iterable[dict[str, Any]]) -> "AuditTally":
        """Sums the facts of parts; keys sorted."""
        result = AuditTally()
        for facts in parts:
            for source, verdicts in facts["sources"].items():
                mine = result.sources.setdefault(source, dict.fromkeys(VERDICTS, 0))
                for verdict, count in verdicts.items():
                    mine[verdict] += count
            for name in ("rules", "quarantined_files"):
                tally = getattr(result, name)
                for key, count in facts[name].items():
                    tally[key] = tally.get(key, 0) + count
        result.sources = dict(sorted(result.sources.items()))
        result.rules = dict(sorted(result.rules.items()))
        return result

    def source_counts(self) -> dict[str, Counts]:
        return {name: Counts(input=sum(verdicts.values()), **verdicts) for name, verdicts in self.sources.items()}

    def counts(self) -> Counts:
        total = {verdict: sum(source[verdict] for source in self.sources.values()) for verdict in VERDICTS}
        return Counts(input=sum(total.values()), **total)
