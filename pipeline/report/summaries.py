"""What the pass over the audit found, as parts of the report: bounded, largest first."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.report import kernels
from pipeline.report.examples import NAME_LIMIT, Shelf
from pipeline.report.model import Language, NamedCount, Reason, Removed, Rule, Script, Source
from pipeline.report.rules import UNKNOWN, Known, RuleCounts, Scored
from pipeline.report.scan import NOT_TOLD, Scan
from pipeline.report.visible import cut
from pipeline.text.script import SCRIPTS
from schemas.arrow import VERDICTS
from schemas.manifest import Counts, Manifest

SHOWN_SOURCES = 200
SHOWN_RULES_OF_A_SOURCE = 10
SHOWN_LANGUAGES = 60
SHOWN_REASONS = 30
SHOWN_RULES = 200
RULES_WITH_EXAMPLES = 40
"""Rules with a histogram and examples; bounds the page, with the lengths of examples.py."""
OTHERS = "(all others)"


def sources(scan: Scan, boilerplate: Mapping[str, int]) -> tuple[Source, ...]:
    """Most records first; beyond SHOWN_SOURCES the smallest are added up. boilerplate: source -> characters cut."""
    sizes: Counter[str] = Counter()
    for (source, _), count in scan.sources.items():
        sizes[source or ""] += count
    shown = {name for name, _ in sorted(sizes.items(), key=lambda item: (-item[1], item[0]))[:SHOWN_SOURCES]}
    names = {source: cut(source, NAME_LIMIT) if source in shown else OTHERS for source in sizes}
    merged: dict[str, Counter[str]] = {name: Counter() for name in names.values()}
    filtered: dict[str, Counter[str]] = {name: Counter() for name in names.values()}
    for source, size in sizes.items():
        merged[names[source]].update(input=size, boilerplate=boilerplate.get(source, 0))
    for (source, verdict), count in scan.sources.items():
        into = merged[names[source or ""]]
        into[verdict or ""] += count
        into["chars_in"] += scan.chars_in[source, verdict]
        into["chars_kept"] += scan.chars_out[source, verdict] if verdict == "kept" else 0
    for (source, kind), count in scan.removed.items():
        merged[names[source or ""]][kind or ""] += count
    for (source, rule), count in scan.filtered.items():
        filtered[names[source or ""]][rule or NOT_TOLD] += count
    return tuple(
        Source(
            name=name,
            counts=Counts(**{key: count[key] for key in ("input", *VERDICTS)}),
            chars_in=count["chars_in"],
            chars_kept=count["chars_kept"],
            removed=Removed(**{kind: count[kind] for kind in Removed.model_fields}),
            filtered_by=_largest(filtered[name], SHOWN_RULES_OF_A_SOURCE),
            boilerplate=count["boilerplate"],
        )
        for name, count in sorted(merged.items(), key=lambda item: (-item[1]["input"], item[0]))
    )


def _largest(counts: Counter[str], most: int) -> tuple[NamedCount, ...]:
    order = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    rest = sum(count for _, count in order[most:])
    shown = [NamedCount(name=cut(name, NAME_LIMIT), count=count) for name, count in order[:most]]
    return (*shown, *([NamedCount(name=OTHERS, count=rest)] if rest else []))


def languages(scan: Scan) -> tuple[Language, ...]:
    """Most records first; beyond SHOWN_LANGUAGES added up."""
    merged: dict[str, Counter[str]] = {}
    for (name, verdict), count in scan.languages.items():
        merged.setdefault(name or "und", Counter())["kept" if verdict == "kept" else "dropped"] += count
    for (name, _), chars in scan.language_chars.items():
        merged[name or "und"]["chars_kept"] += chars
    order = sorted(merged.items(), key=lambda item: (-item[1]["kept"] - item[1]["dropped"], item[0]))
    rest: Counter[str] = Counter()
    for _, counts in order[SHOWN_LANGUAGES:]:
        rest.update(counts)
    shown = [(cut(name, NAME_LIMIT), counts) for name, counts in order[:SHOWN_LANGUAGES]]
    return tuple(
        Language(name=name, kept=counts["kept"], dropped=counts["dropped"], chars_kept=counts["chars_kept"])
        for name, counts in (*shown, *([(OTHERS, rest)] if rest else []))
    )


def scripts(scan: Scan) -> tuple[Script, ...]:
    """Most records first."""
    found = [(name, kept, dropped) for name, (kept, dropped) in zip(SCRIPTS, scan.scripts.tolist(), strict=True)]
    order = sorted((item for item in found if item[1] + item[2]), key=lambda item: (-item[1] - item[2], item[0]))
    return tuple(Script(name=name, kept=kept, dropped=dropped) for name, kept, dropped in order)


def quarantine(scan: Scan, shelf: Shelf) -> tuple[Reason, ...]:
    order = sorted(scan.reasons.items(), key=lambda item: (-item[1], item[0][0] or ""))[:SHOWN_REASONS]
    return tuple(
        Reason(
            name=cut(name or NOT_TOLD, NAME_LIMIT),
            count=count,
            examples=shelf.examples(scan.quarantined[name or NOT_TOLD].values()),
        )
        for (name, _), count in order
    )


@dataclass(frozen=True)
class ShownRule:
    """A rule that the report tells of."""

    name: str
    decided: int
    decides: bool
    known: Known
    counts: RuleCounts | None
    """None where it scored no record."""
    dropped: tuple[Scored, ...]
    kept: tuple[Scored, ...]

    @property
    def examples(self) -> tuple[Scored, ...]:
        return (*self.dropped, *self.kept)


def shown_rules(scan: Scan, manifest: Manifest) -> list[ShownRule]:
    """Those that decided most first, then those in use, then by name. The manifest also names rules that could have
    decided but scored no record."""
    decided: Counter[str] = Counter()
    for (_, rule), count in scan.filtered.items():
        decided[rule or NOT_TOLD] += count
    in_use = {name for name, known in scan.rules.known.items() if known.decides} & manifest.rules.keys()
    found = []
    for name in {*scan.rules.names, *decided, *in_use}:
        counts = scan.rules.of(name)
        decides = decided[name] > 0 or name in manifest.rules
        found.append((-decided[name], not decides, name, counts))
    shown = []
    for number, (count, idle, name, counts) in enumerate(sorted(found, key=lambda item: item[:3])[:SHOWN_RULES]):
        detailed = counts is not None and not idle and number < RULES_WITH_EXAMPLES
        dropped, kept = (tuple(counts.dropped()), tuple(counts.kept())) if detailed and counts else ((), ())
        shown.append(ShownRule(name, -count, not idle, scan.rules.known.get(name, UNKNOWN), counts, dropped, kept))
    return shown


def rules(shown: list[ShownRule], shelf: Shelf) -> tuple[Rule, ...]:
    return tuple(_rule(rule, shelf) for rule in shown)


def _rule(rule: ShownRule, shelf: Shelf) -> Rule:
    counts = rule.counts
    low, high = (counts.limits if counts else None) or (None, None)
    return Rule(
        name=cut(rule.name, NAME_LIMIT),
        meaning=rule.known.meaning,
        decides=rule.decides,
        scored=counts.count(kernels.SCORED) if counts else 0,
        fails=counts.fails if counts else None,
        fired=counts.fired if counts else None,
        decided=rule.decided,
        alone=counts.alone if counts else None,
        limit_low=low,
        limit_high=high,
        histogram=counts.histogram() if counts else None,
        dropped=tuple(shelf.example(one.near, one.score, one.limit) for one in rule.dropped),
        kept=tuple(shelf.example(one.near, one.score, one.limit) for one in rule.kept),
    )
