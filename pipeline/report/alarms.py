"""What deserves a look before the corpus is used: plain thresholds over the numbers of the report."""

from collections.abc import Iterable, Sequence

from pipeline.report.model import Alarm, Duplicates, Language, Rule, Splits, Tokens
from schemas.manifest import Counts

QUARANTINE_SHARE = 0.5
"""Of the limit at which the run would have failed."""
BYTE_FALLBACK_SHARE = 0.02
GROUP_SHARE = 0.01
"""Of the input, one kept document with all that was removed as its duplicates."""
UNEXPECTED_SHARE = 0.01
"""Of the kept records: a language below it was hardly meant, where the config names none."""
FOREIGN_SHARE = 0.10
"""Of the records with text, in languages that the config does not keep."""
FEW_VALID_DOCUMENTS = 10
FEW_VALID_TOKENS = 1_000
NAMED = 8
"""Alarms of one kind, and names in one; beyond it their number is told."""
_LEVELS = ("alarm", "warning", "note")


def sorted_by_level(alarms: Iterable[Alarm]) -> tuple[Alarm, ...]:
    """The worst first; those of one level stay in their order."""
    return tuple(sorted(alarms, key=lambda alarm: _LEVELS.index(alarm.level)))


def percent(share: float) -> str:
    """One decimal."""
    return f"{share * 100:.1f} %"


def _listed(names: Sequence[str]) -> str:
    more = len(names) - 4 * NAMED
    return ", ".join(names[: 4 * NAMED]) + (f" and {more:,} more" if more > 0 else "")


def bounded(alarms: list[Alarm], title: str) -> list[Alarm]:
    """The first NAMED of them, and one that counts the rest."""
    more = len(alarms) - NAMED
    if more <= 0:
        return alarms
    told = {
        "title": title,
        "value": None,
        "detail": f"{more:,} more of the same kind.",
        "remedy": "See the tables below.",
    }
    rest = alarms[0].model_copy(update=told)
    return [*alarms[:NAMED], rest]


def contradictions(audit: Counts, manifest: Counts) -> list[Alarm]:
    """The audit and the manifest must tell the same story."""
    found = []
    if audit != manifest:
        told = ", ".join(
            f"{name} {getattr(audit, name):,} against {getattr(manifest, name):,}"
            for name in Counts.model_fields
            if getattr(audit, name) != getattr(manifest, name)
        )
        found.append(
            Alarm(
                kind="contradiction",
                level="alarm",
                title="The audit does not match the manifest",
                detail=f"Audit rows against the manifest: {told}.",
                remedy="Run `siliang-pipeline verify`, then `prepare` again.",
                section="flow",
            )
        )
    if not audit.kept:
        found.append(
            Alarm(
                kind="nothing_kept",
                level="alarm",
                title="Nothing was kept",
                value=0,
                limit=1,
                unit="count",
                detail=f"{audit.input:,} records came in.",
                remedy="See which rule decided, and what `siliang-pipeline tune` says of its limit.",
                section="rules",
            )
        )
    return found


def leaks(splits: Splits) -> list[Alarm]:
    return [
        Alarm(
            kind="leak",
            level="alarm",
            title=f"Held-out text can be met in training: {check.found:,} times",
            value=check.found,
            limit=0,
            unit="count",
            detail=f"“{check.title}” does not hold: {check.found:,} of {check.looked_at or 0:,}.",
            remedy="Run `siliang-pipeline verify`; if the files are sound, this is a bug: please report it.",
            section="splits",
        )
        for check in splits.checks
        if check.found
    ]


def quarantine(counts: Counts, limit: float) -> list[Alarm]:
    """`limit`: share of quarantined records above which the run fails."""
    share = counts.quarantined / counts.input if counts.input else 0.0
    if not counts.quarantined or share <= QUARANTINE_SHARE * limit:
        return []
    return [
        Alarm(
            kind="quarantine",
            level="alarm",
            title=f"{percent(share)} of the records are quarantined",
            value=share,
            limit=QUARANTINE_SHARE * limit,
            unit="share",
            detail=f"{counts.quarantined:,} of {counts.input:,} records; the run fails above {percent(limit)} "
            "(input.max_quarantined).",
            remedy="See the reasons below the rules: a wrong format or text field makes whole files unreadable.",
            section="rules",
        )
    ]


def validation(tokens: Tokens, share: float) -> list[Alarm]:
    """`share`: of the documents, that the config holds out."""
    if tokens.valid_documents >= FEW_VALID_DOCUMENTS and tokens.valid >= FEW_VALID_TOKENS:
        return []
    empty = not tokens.valid_documents
    return [
        Alarm(
            kind="validation",
            level=("alarm" if share else "note") if empty else "warning",
            title="No document is held out for validation" if empty else "Validation is nearly empty",
            value=tokens.valid_documents,
            limit=FEW_VALID_DOCUMENTS,
            unit="count",
            detail=f"{tokens.valid_documents:,} documents with {tokens.valid:,} tokens are held out, "
            f"{tokens.train_documents:,} are in train (shards.valid_share is {share:g}).",
            remedy="Raise shards.valid_share: the held-out loss of so little text is noise.",
            section="splits",
        )
    ]


def languages(found: Sequence[Language], keep: Sequence[str]) -> list[Alarm]:
    """`keep`: languages that the config keeps; none: all."""
    kept = sum(language.kept for language in found)
    if not keep:
        odd = [language for language in found if 0 < language.kept < UNEXPECTED_SHARE * kept and language.name != "und"]
        if not odd:
            return []
        share = sum(language.kept for language in odd) / kept
        return [
            Alarm(
                kind="language",
                level="note",
                title=f"{len(odd)} language{'s' if len(odd) > 1 else ''} with under "
                f"{percent(UNEXPECTED_SHARE)} of the kept records",
                value=len(odd),
                limit=0,
                unit="count",
                detail=f"{percent(share)} of the kept records together: "
                f"{_listed([f'{language.name} {language.kept:,}' for language in odd])}.",
                remedy="Where these are not meant, list the wanted ones in language.keep.",
                section="languages",
            )
        ]
    alarms = []
    strangers = [language for language in found if language.name not in keep and language.kept]
    if strangers:
        count = sum(language.kept for language in strangers)
        alarms.append(
            Alarm(
                kind="language",
                level="alarm",
                title=f"{count:,} kept records are in languages that were not wanted",
                value=count,
                limit=0,
                unit="count",
                detail=_listed([f"{language.name} {language.kept:,}" for language in strangers]) + ".",
                remedy="language.keep names other languages: is language.keep among rules.disable?",
                section="languages",
            )
        )
    told = sum(language.kept + language.dropped for language in found)
    foreign = sum(language.kept + language.dropped for language in found if language.name not in keep)
    if told and foreign > FOREIGN_SHARE * told:
        alarms.append(
            Alarm(
                kind="foreign_input",
                level="warning",
                title=f"{percent(foreign / told)} of the records are in languages that are not kept",
                value=foreign / told,
                limit=FOREIGN_SHARE,
                unit="share",
                detail=f"{foreign:,} of {told:,} records with text; language.keep is {_listed(list(keep))}.",
                remedy="Look at the sources they come from, or widen language.keep.",
                section="languages",
            )
        )
    return alarms


def vocabulary(tokens: Tokens) -> list[Alarm]:
    if tokens.byte_fallback_share <= BYTE_FALLBACK_SHARE:
        return []
    return [
        Alarm(
            kind="byte_fallback",
            level="warning",
            title=f"{percent(tokens.byte_fallback_share)} of the tokens are byte fallback",
            value=tokens.byte_fallback_share,
            limit=BYTE_FALLBACK_SHARE,
            unit="share",
            detail="Characters outside the vocabulary are spelt byte by byte.",
            remedy="Raise vocabulary.character_coverage or vocabulary.size; the table by language shows where.",
            section="vocabulary",
        )
    ]


def groups(duplicates: Duplicates) -> list[Alarm]:
    large = [group for group in duplicates.groups if group.removed > 1 and group.share > GROUP_SHARE]
    return bounded(
        [
            Alarm(
                kind="group",
                level="warning",
                title=f"{group.removed:,} records are duplicates of one document",
                value=group.share,
                limit=GROUP_SHARE,
                unit="share",
                detail=f"{percent(group.share)} of the input, with the one kept: {group.record or group.doc_id}.",
                remedy="Is it an error page, a template or a placeholder? Then drop it by a rule, the kept one too.",
                section="duplicates",
            )
            for group in large
        ],
        "Large groups of duplicates",
    )


def unexamined(duplicates: Duplicates) -> list[Alarm]:
    search = duplicates.search
    if search is None or not search.unexamined:
        return []
    return [
        Alarm(
            kind="unexamined",
            level="note",
            title=f"{search.unexamined:,} pairs of very large buckets were not looked at",
            value=search.unexamined,
            limit=0,
            unit="count",
            detail=f"Candidates of {search.overfull or 0:,} buckets over deduplicate.bucket_cap were compared in "
            f"{search.rounds or 0:,} further rounds; a near-duplicate among these pairs stays.",
            remedy="Raise deduplicate.bucket_cap if near-duplicates of this kind matter.",
            section="duplicates",
        )
    ]


def silent_rules(rules: Sequence[Rule]) -> list[Alarm]:
    names = sorted(rule.name for rule in rules if rule.decides and not rule.decided)
    if not names:
        return []
    return [
        Alarm(
            kind="silent_rules",
            level="note",
            title=f"{len(names)} rule{'s' if len(names) > 1 else ''} decided against no record",
            value=len(names),
            limit=0,
            unit="count",
            detail=f"{_listed(names)}.",
            remedy="Right for clean text; else see with `tune DIR` what a tighter limit would drop.",
            section="rules",
        )
    ]
