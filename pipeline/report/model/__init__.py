"""The report as typed data: what `report.json` holds and what the page is drawn from."""

from typing import Any, Literal

import orjson
from pydantic import Field

from pipeline.report.facts import Counting, RareFacts
from pipeline.report.model.base import Example, Frozen, Histogram, NamedCount
from pipeline.report.model.duplicates import (
    Boilerplate,
    BoilerplateLine,
    Difference,
    Duplicates,
    Group,
    Kind,
    Pair,
    Run,
    Search,
)
from pipeline.report.model.records import (
    Language,
    Lengths,
    Mask,
    Privacy,
    Reason,
    Removed,
    Repair,
    Rule,
    ScoreHistogram,
    Script,
    Source,
)
from pipeline.report.model.run import Check, Directory, Earlier, Performance, Provenance, Split, Splits, Stage
from pipeline.report.model.words import (
    Cover,
    Fertility,
    PieceCount,
    Pieces,
    Rare,
    RareWord,
    SourceTokens,
    Tokens,
    Vocabulary,
    Window,
    Word,
    Words,
)
from schemas.manifest import Counts

__all__ = [
    "REPORT_SCHEMA",
    "Alarm",
    "Boilerplate",
    "BoilerplateLine",
    "Check",
    "Counting",
    "Counts",
    "Cover",
    "Difference",
    "Directory",
    "Duplicates",
    "Earlier",
    "Example",
    "Fertility",
    "Group",
    "Histogram",
    "Kind",
    "Language",
    "Lengths",
    "Mask",
    "NamedCount",
    "Pair",
    "Performance",
    "PieceCount",
    "Pieces",
    "Privacy",
    "Provenance",
    "Rare",
    "RareFacts",
    "RareWord",
    "Reason",
    "Removed",
    "Repair",
    "Report",
    "Rule",
    "Run",
    "ScoreHistogram",
    "Script",
    "Search",
    "Source",
    "SourceTokens",
    "Split",
    "Splits",
    "Stage",
    "Tokens",
    "Vocabulary",
    "Window",
    "Word",
    "Words",
    "report_schema",
]

REPORT_SCHEMA = "siliang-report/2"


class Alarm(Frozen):
    """Something a data engineer should look at before using the corpus."""

    kind: str
    """Stable name of what was found, for programs; docs/report.md lists all."""
    level: Literal["alarm", "warning", "note"]
    """`alarm`: likely wrong; `warning`: look at it; `note`: good to know."""
    title: str
    value: float | None = None
    """The number that stands out, in `unit`; None where it is not one number."""
    limit: float | None = None
    """What it was held against, in `unit`."""
    unit: Literal["share", "count", ""] = ""
    """`share`: 0..1."""
    detail: str = ""
    """What was found, in numbers."""
    remedy: str = ""
    """What to do."""
    section: str = ""
    """Section of the page that shows more."""


class Report(Frozen):
    """Everything the page shows. Lists are bounded: the largest or the most telling entries, never all of a corpus."""

    schema_: str = Field(default=REPORT_SCHEMA, pattern=r"^siliang-report/[0-9]+$")
    """Name and major version of this schema."""
    alarms: tuple[Alarm, ...]
    """What stands out, the worst first."""
    counts: Counts
    """Records by verdict; input = kept + filtered + duplicate + quarantined."""
    chars_in: int
    """Code points of all records before extraction and repair."""
    chars_kept: int
    """Code points of clean text in the kept records."""
    sources: tuple[Source, ...]
    """Most records first; beyond the 200th added up."""
    rules: tuple[Rule, ...]
    """Those that decided most first, then those in use, then by name."""
    quarantine: tuple[Reason, ...]
    """Most records first."""
    duplicates: Duplicates
    languages: tuple[Language, ...]
    """Most records first; beyond the 60th added up."""
    scripts: tuple[Script, ...] = ()
    """Most records first."""
    lengths: Lengths
    privacy: Privacy = Privacy()
    repairs: tuple[Repair, ...]
    """Most records first."""
    boilerplate: Boilerplate = Boilerplate()
    tokens: Tokens
    vocabulary: Vocabulary | None = None
    """None for a corpus of a version that told nothing of it."""
    words: Words
    rare: Rare
    splits: Splits = Splits()
    performance: Performance | None
    """None where the run left no measurements."""
    provenance: Provenance

    def to_bytes(self) -> bytes:
        """JSON with sorted keys: equal reports give equal bytes."""
        options = orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE
        return orjson.dumps(self.model_dump(mode="json"), option=options)


def report_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of report.json."""
    schema = Report.model_json_schema(mode="serialization")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": "siliang-report-2", **schema}
