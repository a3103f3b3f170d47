"""Records: what came in and stayed, why the rest went, what they are and what was mended."""

from typing import Literal

from pipeline.report.model.base import Example, Frozen, NamedCount
from schemas.manifest import Counts


class Removed(Frozen):
    """Records that deduplication removed, by what they are duplicates of."""

    exact: int = 0
    """Of the same normalised text as a kept document."""
    near: int = 0
    """Of a kept document with at least the threshold's exact Jaccard."""
    contained: int = 0
    """Held by a larger kept document."""
    protected: int = 0
    """Of a protected item: an evaluation set's."""

    @property
    def total(self) -> int:
        return self.exact + self.near + self.contained + self.protected


class Source(Frozen):
    """What came in from one source and what stayed."""

    name: str
    counts: Counts
    chars_in: int
    """Code points of its records before extraction and repair."""
    chars_kept: int
    """Code points of clean text in its kept records."""
    removed: Removed = Removed()
    filtered_by: tuple[NamedCount, ...] = ()
    """Rules that decided against its records, most records first; beyond the tenth added up."""
    boilerplate: int = 0
    """Code points that were cut as boilerplate from its records, those of removed ones included."""

    @property
    def reached(self) -> int:
        """Records that passed the rules, and so came to deduplication."""
        return self.counts.kept + self.removed.total

    @property
    def deduplicated(self) -> float:
        """Share of `reached` that deduplication removed, 0..1."""
        return self.removed.total / self.reached if self.reached else 0.0

    @property
    def lost(self) -> float:
        """Share of its records that were not kept, 0..1."""
        return (self.counts.input - self.counts.kept) / self.counts.input if self.counts.input else 0.0


class ScoreHistogram(Frozen):
    """Scores of one rule. Edges are equally far apart, or grow where scores spread widely; the last bin takes what
    lies beyond the others."""

    edges: tuple[float, ...]
    """n + 1 ascending bin edges; a bin holds its lower edge."""
    failing: tuple[int, ...]
    """[n] records on the failing side of the limit that was in force for them."""
    passing: tuple[int, ...]
    """[n]"""


class Rule(Frozen):
    """One rule over the whole corpus, with records on both sides of its limit."""

    name: str
    meaning: str = ""
    """What it drops."""
    decides: bool
    """False for a rule that is scored but not among those chosen in the config."""
    scored: int
    """Records it applies to."""
    fails: Literal["below", "above"] | None
    """Side of the limit on which a record fails; None where neither the config nor the scores tell."""
    fired: int | None
    """Records on the failing side of the limit, whichever rule decided; None where the side is unknown."""
    decided: int
    """Records it decided against (the first failing rule decides)."""
    alone: int | None
    """Those of them that no other rule in use would have dropped; None where the config does not name the rule."""
    limit_low: float | None
    limit_high: float | None
    """Least and greatest limit in use: they differ where a script or a language has its own. None for a rule over
    lines, whose limit is a line's."""
    histogram: ScoreHistogram | None = None
    """Of all scores; None where no record was scored."""
    dropped: tuple[Example, ...] = ()
    """Records it decided against, nearest the limit first."""
    kept: tuple[Example, ...] = ()
    """Kept records nearest the limit on the other side."""


class Reason(Frozen):
    """Quarantined records of one reason."""

    name: str
    count: int
    examples: tuple[Example, ...] = ()


class Language(Frozen):
    """Records of one language, quarantined ones left out."""

    name: str
    """ISO 639-1 code, or "und"."""
    kept: int
    dropped: int
    """Filtered and duplicate records."""
    chars_kept: int = 0
    """Code points of clean text in its kept records."""


class Script(Frozen):
    """Records by the script that most letters at their beginning belong to, quarantined ones left out."""

    name: str
    kept: int
    dropped: int


class Lengths(Frozen):
    """Records by code points of clean text, in logarithmic bins."""

    edges: tuple[float, ...]
    """n + 1 edges."""
    kept: tuple[int, ...]
    """[n]"""
    dropped: tuple[int, ...]
    """[n] filtered and duplicate records; quarantined ones have no text."""
    empty: int
    """Records (of any verdict) without a character of clean text."""
    quantiles: tuple[tuple[float, float], ...] = ()
    """(share of the kept records, code points that this share does not exceed), exact to 3 %."""


class Mask(Frozen):
    """Personal data of one kind that were replaced by a tag."""

    name: str
    """Name in the audit's `repairs`."""
    meaning: str = ""
    records: int
    """Records in which it was masked."""
    items: int | None = None
    """What was replaced in them; None where the audit does not count it."""
    examples: tuple[Example, ...] = ()


class Privacy(Frozen):
    """Personal data."""

    masks: tuple[Mask, ...] = ()
    """Most records first."""
    records: int = 0
    """Records in which anything was masked."""
    dropped: int = 0
    """Records dropped because they are full of personal data."""


class Repair(Frozen):
    """A repair that changed something."""

    name: str
    records: int
    examples: tuple[Example, ...] = ()
