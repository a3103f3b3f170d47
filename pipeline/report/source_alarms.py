"""Sources that lost more than one would expect."""

from collections.abc import Sequence

from pipeline.report.alarms import bounded, percent
from pipeline.report.model import Alarm, Source

LOST_SHARE = 0.30
"""A source that loses more than this is worth reading by eye."""
REMOVED_SHARE = 0.30
"""Of a source's records that passed the rules, removed by deduplication: so much is right only where the source repeats
itself or another."""


def removals(sources: Sequence[Source]) -> list[Alarm]:
    """Sources of which deduplication removed more than REMOVED_SHARE, most records first."""
    worst = sorted(
        (source for source in sources if source.deduplicated > REMOVED_SHARE),
        key=lambda source: (-source.removed.total, source.name),
    )
    return bounded(
        [
            Alarm(
                kind="source_duplicates",
                level="alarm",
                title=f"Source {source.name} lost {percent(source.deduplicated)} of its documents to deduplication",
                value=source.deduplicated,
                limit=REMOVED_SHARE,
                unit="share",
                detail=f"Of {source.reached:,} that passed the rules {source.removed.exact:,} were removed as exact "
                f"copies, {source.removed.near:,} as near-duplicates, {source.removed.contained:,} as contained and "
                f"{source.removed.protected:,} as protected.",
                remedy="Read some with `siliang-pipeline inspect DIR --duplicates`; where one source should win over "
                "another, set input.priority.",
                section="duplicates",
            )
            for source in worst
        ],
        "Sources lost much to deduplication",
    )


def losses(sources: Sequence[Source]) -> list[Alarm]:
    """Sources that lost more than LOST_SHARE, most lost records first."""
    worst = sorted(
        (source for source in sources if source.lost > LOST_SHARE),
        key=lambda source: (source.counts.kept - source.counts.input, source.name),
    )
    return bounded(
        [
            Alarm(
                kind="source_lost",
                level="warning",
                title=f"Source {source.name} lost {percent(source.lost)} of its records",
                value=source.lost,
                limit=LOST_SHARE,
                unit="share",
                detail=f"{source.counts.input:,} came in, {source.counts.kept:,} stayed: {source.counts.filtered:,} "
                f"filtered, {source.counts.duplicate:,} duplicates, {source.counts.quarantined:,} quarantined.",
                remedy=_remedy_of_loss(source),
                section="flow",
            )
            for source in worst
        ],
        "Sources lost much of their records",
    )


def _remedy_of_loss(source: Source) -> str:
    counts = source.counts
    if counts.filtered >= max(counts.duplicate, counts.quarantined):
        rule = source.filtered_by[0].name if source.filtered_by else "a rule"
        return f"Most went by {rule}: read them with `inspect DIR --rule`, and try other limits with `tune DIR`."
    if counts.duplicate >= counts.quarantined:
        return "Most are duplicates: read some with `inspect DIR --duplicates`."
    return "Most could not be read: see the reasons of quarantine, and input.text_fields or input.formats."


def boilerplate(sources: Sequence[Source]) -> list[Alarm]:
    alarms = []
    for source in sources:
        text = source.boilerplate + source.chars_kept
        if source.boilerplate > LOST_SHARE * text:
            share = source.boilerplate / text
            alarms.append(
                Alarm(
                    kind="boilerplate",
                    level="warning",
                    title=f"{percent(share)} of the text of source {source.name} was cut as boilerplate",
                    value=share,
                    limit=LOST_SHARE,
                    unit="share",
                    detail=f"{source.boilerplate:,} of {text:,} characters.",
                    remedy="Read the lines below; documents that are variants of one another can make their own text "
                    "boilerplate. See boilerplate.min_share and boilerplate.max_shared.",
                    section="boilerplate",
                )
            )
    return bounded(alarms, "Sources lost much of their text as boilerplate")
