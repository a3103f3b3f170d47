"""The report as typed data: what `report.json` holds and what the page is drawn from."""

from typing import Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict

from pipeline.report.facts import Counting, RareFacts
from schemas.manifest import Counts

REPORT_SCHEMA = "siliang-report/1"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Alarm(_Frozen):
    """Something a data engineer should look at before using the corpus."""

    level: Literal["alarm", "warning", "note"]
    """`alarm`: likely wrong; `warning`: look at it; `note`: good to know."""
    title: str
    detail: str


class NamedCount(_Frozen):
    name: str
    count: int


class Removed(_Frozen):
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


class Source(_Frozen):
    """What came in from one source and what stayed."""

    name: str
    counts: Counts
    chars_in: int
    """Code points of its records before extraction and repair."""
    chars_kept: int
    """Code points of clean text in its kept records."""
    removed: Removed = Removed()
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
        return 1 - self.counts.kept / self.counts.input if self.counts.input else 0.0


class Example(_Frozen):
    """One record shown to people; every text is cut to a bounded length."""

    record: str
    doc_id: str
    source: str
    score: float | None = None
    limit: float | None = None
    detail: str = ""
    excerpt: str = ""


class Rule(_Frozen):
    """One rule over the whole corpus, with records on both sides of its limit."""

    name: str
    decided: int
    """Records it decided against (the first failing rule decides)."""
    scored: int
    """Records it applies to."""
    fails: Literal["below", "above"] | None
    """Side of the limit on which a record fails; None where neither the rule set nor the scores tell."""
    failing: int | None
    """Records on the failing side of the limit, whichever rule decided; None where the side is unknown."""
    limit_low: float | None
    limit_high: float | None
    """Least and greatest limit in use: they differ where a script has its own."""
    decides: bool
    """False for a rule that is scored but not among those chosen in the config."""
    dropped: tuple[Example, ...] = ()
    """Records it decided against, nearest the limit first."""
    kept: tuple[Example, ...] = ()
    """Kept records nearest the limit on the other side."""


class Reason(_Frozen):
    """Quarantined records of one reason."""

    name: str
    count: int
    examples: tuple[Example, ...] = ()


Kind = Literal["exact", "near", "contained", "protected"]


class Pair(_Frozen):
    """A removed record beside the kept document, or the protected item, that justifies it."""

    kind: Kind
    jaccard: float | None
    removed: Example
    kept: Example | None
    """None where none is named: the removed record's detail then says more."""


class Group(_Frozen):
    """A kept document and how many records were removed as its duplicates."""

    doc_id: str
    record: str
    removed: int
    share: float
    """Of the input: the kept document and those removed."""
    excerpt: str = ""


class Histogram(_Frozen):
    edges: tuple[float, ...]
    """n + 1 ascending bin edges; a bin holds its lower edge, the last one both."""
    counts: tuple[int, ...]


class Search(_Frozen):
    """How the near-duplicates were found, as the deduplicate stage counted it; None what it did not count."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    compared: int | None = None
    """Documents with a signature."""
    short: int | None = None
    """Documents too short for one."""
    buckets: int | None = None
    """Buckets of at least two documents."""
    overfull: int | None = None
    """Those with more documents than the cap."""
    largest: int | None = None
    """Documents in the largest bucket."""
    pairs: int | None = None
    """Candidate pairs whose exact Jaccard was computed at first."""
    further_pairs: int | None = None
    """And in the rounds over overfull buckets."""
    rounds: int | None = None
    """Rounds over overfull buckets."""
    edges: int | None = None
    """Pairs at or above the threshold."""
    resolution_rounds: int | None = None
    """Rounds of jobs that resolved them; 0 where one process did."""
    unexamined: int | None = None
    """Pairs of overfull buckets that the last round passed over."""
    contained_pairs: int | None = None
    """Pairs that were looked at for containment."""


class Duplicates(_Frozen):
    exact: int
    near: int
    contained: int = 0
    protected: int = 0
    threshold: float
    bands: int
    rows: int
    s_curve: tuple[tuple[float, float], ...]
    """(Jaccard, probability that MinHash bands make the pair a candidate)."""
    jaccard: Histogram
    """Exact Jaccard of the removed near-duplicates with the document that was kept."""
    groups: tuple[Group, ...] = ()
    """Largest first."""
    pairs: tuple[Pair, ...] = ()
    search: Search | None = None
    """None where the deduplicate stage's files are gone."""


class BoilerplateLine(_Frozen):
    """A line that was cut from many documents of a source."""

    source: str
    line: str
    documents: int
    """Documents it was cut from, copies among them."""
    characters: int


class Boilerplate(_Frozen):
    distinct: int = 0
    """Lines that were cut, each counted once."""
    characters: int = 0
    lines: tuple[BoilerplateLine, ...] = ()
    """Most characters first."""


class Language(_Frozen):
    name: str
    kept: int
    dropped: int


class Lengths(_Frozen):
    """Records by code points of clean text, in logarithmic bins."""

    edges: tuple[float, ...]
    kept: tuple[int, ...]
    dropped: tuple[int, ...]
    """Filtered and duplicate records; quarantined ones have no text."""
    empty: int
    """Records (of any verdict) without a character of clean text."""


class SourceTokens(_Frozen):
    """Tokens of one source in each split."""

    name: str
    train: int = 0
    valid: int = 0
    test: int = 0


class Tokens(_Frozen):
    train: int
    valid: int
    train_documents: int
    valid_documents: int
    test: int = 0
    test_documents: int = 0
    by_source: tuple[SourceTokens, ...] = ()
    vocabulary_size: int
    unused_pieces: int
    """Ordinary pieces of the vocabulary that never occur."""
    byte_fallback_share: float
    """Share of all tokens that are single bytes of a character unknown to the vocabulary."""
    characters_per_token: float | None
    """Clean characters of kept documents per token."""


class Word(_Frozen):
    word: str
    count: int
    documents: int


class Words(_Frozen):
    distinct: int
    """Listed words."""
    total: int
    """Their occurrences."""
    frequent: tuple[Word, ...] = ()
    zipf: tuple[tuple[int, int], ...] = ()
    """(rank, count) at logarithmically spaced ranks."""
    counting: Counting | None = None
    """None where the count stage's files are gone."""


class Window(_Frozen):
    """One context of a rare word, decoded; the word stands between left and right."""

    doc_id: str
    left: str
    word: str
    right: str


class RareWord(_Frozen):
    word: str
    count: int
    documents: int
    windows: tuple[Window, ...] = ()


class Rare(_Frozen):
    words: int
    occurrences: int
    examples: tuple[RareWord, ...] = ()
    facts: RareFacts | None = None
    """None where the encode stage's files are gone."""


class Stage(_Frozen):
    """One stage as the driver measured it; a field it did not measure is None."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    name: str
    seconds: float | None = None
    input_bytes: int | None = None
    units: int | None = None
    resumed_units: int | None = None
    peak_mb: float | None = None

    @property
    def mb_per_s(self) -> float | None:
        if not self.seconds or self.input_bytes is None:
            return None
        return self.input_bytes / 1e6 / self.seconds


class Performance(_Frozen):
    """`report/run.json`: how the last run went on the machine it ran on."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    workers: int | None = None
    runner: str | None = None
    stages: tuple[Stage, ...] = ()
    python: str | None = None
    cpu: str | None = None


class Provenance(_Frozen):
    schema_: str
    corpus_digest: str
    """sha256 of manifest.json, which holds the sha256 of every file of the corpus."""
    files: int
    bytes: int
    versions: dict[str, str]
    fingerprints: dict[str, str]
    config: dict[str, Any]


class Report(_Frozen):
    """Everything the page shows."""

    schema_: str = REPORT_SCHEMA
    alarms: tuple[Alarm, ...]
    counts: Counts
    chars_in: int
    chars_kept: int
    sources: tuple[Source, ...]
    rules: tuple[Rule, ...]
    quarantine: tuple[Reason, ...]
    duplicates: Duplicates
    boilerplate: Boilerplate = Boilerplate()
    languages: tuple[Language, ...]
    lengths: Lengths
    repairs: tuple[NamedCount, ...]
    tokens: Tokens
    words: Words
    rare: Rare
    vocabulary: dict[str, Any] | None = None
    """pipeline.report.vocabulary.vocabulary_quality."""
    performance: Performance | None
    provenance: Provenance

    def to_bytes(self) -> bytes:
        """JSON with sorted keys: equal reports give equal bytes."""
        options = orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE
        return orjson.dumps(self.model_dump(mode="json"), option=options)
