"""What deserves a look before the corpus is used: plain thresholds over the counts of the report."""

from collections.abc import Sequence

from pipeline.report.model import Alarm, Duplicates, Rule, Source, Tokens
from schemas.manifest import Counts

LOST_SHARE = 0.30
"""A source that loses more than this is worth reading by eye."""
QUARANTINE_SHARE = 0.5
"""Of the limit at which the run would have failed."""
REMOVED_SHARE = 0.30
"""Of a source's records that passed the rules, removed by deduplication: so much is right only where the source repeats
itself or another."""
BYTE_FALLBACK_SHARE = 0.02
GROUP_SHARE = 0.01
"""Of the input, one kept document with all that was removed as its duplicates."""
FEW_VALID_DOCUMENTS = 10
FEW_VALID_TOKENS = 1_000
NAMED = 8
"""Alarms of one kind; beyond it their number is told."""


def _percent(share: float) -> str:
    return f"{share * 100:.1f} %"


def _bounded(alarms: list[Alarm], title: str) -> list[Alarm]:
    more = len(alarms) - NAMED
    if more <= 0:
        return alarms
    return [*alarms[:NAMED], Alarm(level=alarms[0].level, title=title, detail=f"{more:,} more of the same kind.")]


def contradictions(audit: Counts, manifest: Counts) -> list[Alarm]:
    """The audit and the manifest must tell the same story."""
    found = []
    if audit != manifest:
        told = ", ".join(
            f"{name} {getattr(audit, name):,} against {getattr(manifest, name):,}"
            for name in Counts.model_fields
            if getattr(audit, name) != getattr(manifest, name)
        )
        detail = f"Audit rows against the manifest: {told}. Run `siliang-pipeline verify`, then `prepare` again."
        found.append(Alarm(level="alarm", title="The audit does not match the manifest", detail=detail))
    if not audit.kept:
        found.append(Alarm(level="alarm", title="Nothing was kept", detail=f"{audit.input:,} records came in."))
    return found


def _records_removed(source: Source) -> tuple[int, str]:
    return -source.removed.total, source.name


def removals(sources: Sequence[Source]) -> list[Alarm]:
    """Sources of which deduplication removed more than REMOVED_SHARE, most records first."""
    worst = sorted((source for source in sources if source.deduplicated > REMOVED_SHARE), key=_records_removed)
    return _bounded(
        [
            Alarm(
                level="alarm",
                title=f"Source {source.name} lost {_percent(source.deduplicated)} of its documents to deduplication",
                detail=f"Of {source.reached:,} that passed the rules {source.removed.exact:,} were removed as exact "
                f"copies, {source.removed.near:,} as near-duplicates, {source.removed.contained:,} as contained and "
                f"{source.removed.protected:,} as protected. Read some with `siliang-pipeline inspect --duplicates`.",
            )
            for source in worst
        ],
        "Sources lost much to deduplication",
    )


def _records_lost(source: Source) -> tuple[int, str]:
    return source.counts.kept - source.counts.input, source.name


def losses(sources: Sequence[Source]) -> list[Alarm]:
    """Sources that lost more than LOST_SHARE, most lost records first."""
    title = "Sources lost much of their records"
    worst = sorted((source for source in sources if source.lost > LOST_SHARE), key=_records_lost)
    return _bounded(
        [
            Alarm(
                level="warning",
                title=f"Source {source.name} lost {_percent(source.lost)} of its records",
                detail=f"{source.counts.input:,} came in, {source.counts.kept:,} stayed: {source.counts.filtered:,} "
                f"filtered, {source.counts.duplicate:,} duplicates, {source.counts.quarantined:,} quarantined.",
            )
            for source in worst
        ],
        title,
    )


def quarantine(counts: Counts, limit: float) -> list[Alarm]:
    """`limit`: share of quarantined records above which the run fails."""
    share = counts.quarantined / counts.input if counts.input else 0.0
    if not counts.quarantined or share <= QUARANTINE_SHARE * limit:
        return []
    detail = f"{counts.quarantined:,} of {counts.input:,} records; the run fails above {_percent(limit)}."
    return [Alarm(level="alarm", title=f"{_percent(share)} of the records are quarantined", detail=detail)]


def validation(tokens: Tokens, share: float) -> list[Alarm]:
    """`share`: of the documents, that the config holds out."""
    if not tokens.valid_documents:
        detail = f"shards.valid_share is {share:g}; {tokens.train_documents:,} documents are in train."
        return [
            Alarm(level="alarm" if share else "note", title="No document is held out for validation", detail=detail)
        ]
    if tokens.valid_documents >= FEW_VALID_DOCUMENTS and tokens.valid >= FEW_VALID_TOKENS:
        return []
    detail = f"{tokens.valid_documents:,} documents, {tokens.valid:,} tokens: held-out loss will be noisy."
    return [Alarm(level="warning", title="Validation is nearly empty", detail=f"{detail} Raise shards.valid_share.")]


def vocabulary(tokens: Tokens) -> list[Alarm]:
    if tokens.byte_fallback_share <= BYTE_FALLBACK_SHARE:
        return []
    detail = "Characters outside the vocabulary are spelt byte by byte; raise vocabulary.character_coverage or size."
    title = f"{_percent(tokens.byte_fallback_share)} of the tokens are byte fallback"
    return [Alarm(level="warning", title=title, detail=detail)]


def groups(duplicates: Duplicates) -> list[Alarm]:
    large = [group for group in duplicates.groups if group.removed > 1 and group.share > GROUP_SHARE]
    return _bounded(
        [
            Alarm(
                level="warning",
                title=f"{group.removed:,} records are duplicates of one document",
                detail=f"{_percent(group.share)} of the input, with the one kept: {group.record or group.doc_id}.",
            )
            for group in large
        ],
        "Large groups of duplicates",
    )


def unexamined(duplicates: Duplicates) -> list[Alarm]:
    search = duplicates.search
    if search is None or not search.unexamined:
        return []
    detail = (
        f"Candidates of {search.overfull or 0:,} buckets over deduplicate.bucket_cap were compared in "
        f"{search.rounds or 0:,} further rounds; a near-duplicate among these pairs stays."
    )
    title = f"{search.unexamined:,} pairs of very large buckets were not looked at"
    return [Alarm(level="note", title=title, detail=detail)]


def silent_rules(rules: Sequence[Rule]) -> list[Alarm]:
    names = sorted(rule.name for rule in rules if rule.decides and not rule.decided)
    if not names:
        return []
    listed = ", ".join(names[: 4 * NAMED]) + (f" and {len(names) - 4 * NAMED} more" if len(names) > 4 * NAMED else "")
    plural = "s" if len(names) > 1 else ""
    return [Alarm(level="note", title=f"{len(names)} rule{plural} decided against no record", detail=f"{listed}.")]
