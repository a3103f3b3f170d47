"""One pass over the audit: every count of the report, and the records that it shows.

Memory depends on the number of sources, rules, languages and repairs, never on the number of records.
"""

from collections import Counter
from collections.abc import Mapping
from functools import partial
from types import MappingProxyType

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.report.duplicates import DuplicateScan
from pipeline.report.examples import NAME_LIMIT, Nearest, Order, example, positions
from pipeline.report.model import Language, Lengths, NamedCount, Reason, Removed, Source
from pipeline.report.rules import EXAMPLES, RuleScan
from pipeline.report.visible import cut
from schemas.arrow import VERDICTS
from schemas.manifest import Counts

BINS_PER_DECADE = 5
"""Length histogram: bin edges 10 ** (k / 5) code points."""
DECADES = 9
SHOWN_SOURCES = 200
SHOWN_LANGUAGES = 60
SHOWN_REASONS = 30
OTHERS = "(all others)"

KEPT, FILTERED, DUPLICATE, QUARANTINED = range(len(VERDICTS))


class Scan:
    """Accumulates tables of audit rows; the result does not depend on how the rows are cut into tables."""

    def __init__(self) -> None:
        self.sources: Counter[tuple[str, str]] = Counter()
        self.chars_in: Counter[str] = Counter()
        self.chars_kept: Counter[str] = Counter()
        self.removed: Counter[tuple[str, str]] = Counter()
        """(source, kind of duplicate) -> records."""
        self.filtered: Counter[str] = Counter()
        """Rule -> records it decided against."""
        self.reasons: Counter[str] = Counter()
        self.languages: Counter[tuple[str, bool]] = Counter()
        """(language, kept) -> records."""
        self.repairs: Counter[str] = Counter()
        self.rules = RuleScan()
        self.duplicates = DuplicateScan()
        self._quarantined: dict[str, Nearest] = {}
        self._lengths = {KEPT: np.zeros(len(_EDGES) - 1, np.int64), FILTERED: np.zeros(len(_EDGES) - 1, np.int64)}
        self._empty = 0

    def add(self, table: pa.Table) -> None:
        verdict = positions(table["verdict"], VERDICTS)
        order = Order(table)
        self._add_counts(table)
        self._add_lengths(table, verdict)
        self._add_quarantined(table, verdict, order)
        self.rules.add(table, verdict, order)
        self.duplicates.add(table, order)

    def _add_counts(self, table: pa.Table) -> None:
        table = table.select(["source", "verdict", "rule", "kind", "language", "repairs", "chars_in", "chars_out"])
        sums = table.group_by(["source", "verdict"]).aggregate(
            [([], "count_all"), ("chars_in", "sum"), ("chars_out", "sum")]
        )
        for row in sums.to_pylist():
            self.sources[row["source"], row["verdict"]] += row["count_all"]
            self.chars_in[row["source"]] += row["chars_in_sum"]
            if row["verdict"] == "kept":
                self.chars_kept[row["source"]] += row["chars_out_sum"]
        for row in table.group_by(["source", "kind"]).aggregate([([], "count_all")]).to_pylist():
            if row["kind"] is not None:
                self.removed[row["source"], row["kind"]] += row["count_all"]
        for row in table.group_by(["verdict", "rule"]).aggregate([([], "count_all")]).to_pylist():
            if row["verdict"] in ("filtered", "quarantined"):
                into = self.filtered if row["verdict"] == "filtered" else self.reasons
                into[row["rule"] or "not told"] += row["count_all"]
        for row in table.group_by(["verdict", "language"]).aggregate([([], "count_all")]).to_pylist():
            if row["verdict"] != "quarantined":
                self.languages[row["language"] or "und", row["verdict"] == "kept"] += row["count_all"]
        for item in pc.value_counts(pc.list_flatten(table["repairs"]).combine_chunks()).to_pylist():
            self.repairs[item["values"]] += item["counts"]

    def _add_lengths(self, table: pa.Table, verdict: np.ndarray) -> None:
        chars = table["chars_out"].to_numpy()
        self._empty += int((chars == 0).sum())
        bins = np.minimum(np.searchsorted(_EDGES, chars, side="right") - 1, len(_EDGES) - 2)
        for name, wanted in ((KEPT, verdict == KEPT), (FILTERED, (verdict == FILTERED) | (verdict == DUPLICATE))):
            self._lengths[name] += np.bincount(bins[wanted & (chars > 0)], minlength=len(_EDGES) - 1)

    def _add_quarantined(self, table: pa.Table, verdict: np.ndarray, order: Order) -> None:
        rows = np.flatnonzero(verdict == QUARANTINED)
        reasons = table["rule"].take(rows).combine_chunks().fill_null("not told").dictionary_encode()
        code = reasons.indices.to_numpy()
        for number, reason in enumerate(reasons.dictionary.to_pylist()):
            some = rows[code == number]
            best = self._quarantined.setdefault(reason, Nearest(EXAMPLES))
            for row in some[order.nearest(some, np.zeros(len(some)), EXAMPLES)].tolist():
                best.offer(table, row, 0, partial(example, table, row))

    def source_summaries(self, boilerplate: Mapping[str, int] = MappingProxyType({})) -> tuple[Source, ...]:
        """Most records first; beyond SHOWN_SOURCES the smallest are added up. boilerplate: source -> characters cut."""
        sizes: Counter[str] = Counter()
        for (source, _), count in self.sources.items():
            sizes[source] += count
        shown = {name for name, _ in sorted(sizes.items(), key=lambda item: (-item[1], item[0]))[:SHOWN_SOURCES]}
        merged: dict[str, Counter[str]] = {}
        for source, size in sizes.items():
            into = merged.setdefault(cut(source, NAME_LIMIT) if source in shown else OTHERS, Counter())
            into["input"] += size
            into["chars_in"] += self.chars_in[source]
            into["chars_kept"] += self.chars_kept[source]
            into["boilerplate"] += boilerplate.get(source, 0)
            into.update({kind: self.removed[source, kind] for kind in Removed.model_fields})
            into.update({verdict: self.sources[source, verdict] for verdict in VERDICTS})
        return tuple(
            Source(
                name=name,
                counts=Counts(**{key: count[key] for key in ("input", *VERDICTS)}),
                chars_in=count["chars_in"],
                chars_kept=count["chars_kept"],
                removed=Removed(**{kind: count[kind] for kind in Removed.model_fields}),
                boilerplate=count["boilerplate"],
            )
            for name, count in sorted(merged.items(), key=lambda item: (-item[1]["input"], item[0]))
        )

    def counts(self) -> Counts:
        totals: Counter[str] = Counter()
        for (_, verdict), count in self.sources.items():
            totals[verdict] += count
        return Counts(input=totals.total(), **{verdict: totals[verdict] for verdict in VERDICTS})

    def language_summaries(self) -> tuple[Language, ...]:
        """Most records first; beyond SHOWN_LANGUAGES added up."""
        merged: dict[str, list[int]] = {}
        for (name, kept), count in self.languages.items():
            merged.setdefault(name, [0, 0])[0 if kept else 1] += count
        order = sorted(merged.items(), key=lambda item: (-sum(item[1]), item[0]))
        rows = [Language(name=cut(name, NAME_LIMIT), kept=k, dropped=d) for name, (k, d) in order[:SHOWN_LANGUAGES]]
        rest = [counts for _, counts in order[SHOWN_LANGUAGES:]]
        if rest:
            rows.append(Language(name=OTHERS, kept=sum(k for k, _ in rest), dropped=sum(d for _, d in rest)))
        return tuple(rows)

    def lengths(self) -> Lengths:
        """Empty bins at both ends are cut off."""
        kept, dropped = self._lengths[KEPT], self._lengths[FILTERED]
        filled = np.flatnonzero(kept + dropped)
        first, last = (int(filled[0]), int(filled[-1]) + 1) if len(filled) else (0, 0)
        return Lengths(
            edges=tuple(_EDGES[first : last + 1].tolist()) if len(filled) else (),
            kept=tuple(kept[first:last].tolist()),
            dropped=tuple(dropped[first:last].tolist()),
            empty=self._empty,
        )

    def quarantine(self) -> tuple[Reason, ...]:
        order = sorted(self.reasons.items(), key=lambda item: (-item[1], item[0]))[:SHOWN_REASONS]
        return tuple(
            Reason(name=cut(name, NAME_LIMIT), count=count, examples=self._quarantined[name].values())
            for name, count in order
        )

    def repair_counts(self) -> tuple[NamedCount, ...]:
        order = sorted(self.repairs.items(), key=lambda item: (-item[1], item[0]))
        return tuple(NamedCount(name=cut(name, NAME_LIMIT), count=count) for name, count in order[:SHOWN_LANGUAGES])


_EDGES = np.round(10.0 ** (np.arange(BINS_PER_DECADE * DECADES + 1) / BINS_PER_DECADE), 6)
"""Code points, 1 to 10^9; longer texts count in the last bin."""
