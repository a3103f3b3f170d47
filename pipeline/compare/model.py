"""What `siliang-pipeline compare` tells, and what `--json` prints: dataclasses, field by field."""

from dataclasses import dataclass
from typing import Any

LENGTH_SHARES = (0.05, 0.25, 0.5, 0.75, 0.95)
"""Of the kept records those shorter than the length that is told."""


@dataclass(frozen=True)
class Side:
    """One of the two outputs."""

    path: str
    digest: str
    """sha256 of its manifest.json."""
    counts: dict[str, int]
    """input, kept, filtered, duplicate, quarantined: records."""
    tokens: dict[str, int]
    """Split (train, valid, test) -> token ids."""
    characters: int
    """Code points of the clean text of its kept records."""
    vocabulary_size: int
    lengths: tuple[int, ...]
    """Code points of clean text, one for each of LENGTH_SHARES; empty where nothing was kept."""


@dataclass(frozen=True)
class Setting:
    """A config key or a library version that differs; None where a side has none."""

    key: str
    first: Any
    second: Any


@dataclass(frozen=True)
class SourceRow:
    """Counts as in `Side.counts`, None where a side has no such source."""

    name: str
    first: dict[str, int] | None
    second: dict[str, int] | None


@dataclass(frozen=True)
class RuleRow:
    """Records that a rule, kind of duplicate or quarantine reason decided against; None: that side does not use it."""

    name: str
    first: int | None
    second: int | None


@dataclass(frozen=True)
class LanguageRow:
    name: str
    first: int
    """Kept records."""
    second: int
    first_characters: int
    """Code points of their clean text."""
    second_characters: int


@dataclass(frozen=True)
class Decision:
    """What became of a record."""

    verdict: str
    rule: str | None
    """What decided; None for kept records."""


@dataclass(frozen=True)
class Example:
    """One record that moved."""

    record: str
    """In the second output; `record_before` is set where it has another name in the first."""
    record_before: str | None
    doc_id: str
    source: str
    before: str
    """A sentence: what the first output says of it."""
    after: str
    excerpt: str


@dataclass(frozen=True)
class Move:
    """All records of which the first output says `before` and the second `after`."""

    before: Decision
    after: Decision
    records: int
    examples: tuple[Example, ...]
    """Those of the lowest doc_id, a hash of the text: a sample that does not change."""

    @property
    def lost(self) -> bool:
        return self.before.verdict == "kept" and self.after.verdict != "kept"

    @property
    def gained(self) -> bool:
        return self.before.verdict != "kept" and self.after.verdict == "kept"


@dataclass(frozen=True)
class Matching:
    """How the records of both were put side by side."""

    by_record: int
    """Under the same name."""
    changed: int
    """Of those, records whose raw text differs."""
    by_doc_id: int
    """Under another name, by the same raw text."""
    only_first: dict[str, int]
    """Verdict -> records that the second does not have."""
    only_second: dict[str, int]


@dataclass(frozen=True)
class Comparison:
    first: Side
    second: Side
    settings: tuple[Setting, ...]
    versions: tuple[Setting, ...]
    sources: tuple[SourceRow, ...]
    rules: tuple[RuleRow, ...]
    languages: tuple[LanguageRow, ...]
    matching: Matching
    lost: int
    """Records kept by the first and not by the second."""
    gained: int
    other: int
    """Dropped by both, for another reason."""
    moves: tuple[Move, ...]
    """The greatest, lost and gained ones first; `more_moves` are left out."""
    more_moves: int
