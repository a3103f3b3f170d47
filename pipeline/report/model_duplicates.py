"""Duplicates in the report's data: pairs, groups, how they were looked for."""

from typing import Literal

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    """Base of all that report.json holds: unknown fields and infinite numbers are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)


class Example(Frozen):
    """One record shown to people; every text is cut to a bounded length."""

    record: str
    doc_id: str
    source: str
    score: float | None = None
    limit: float | None = None
    detail: str = ""
    excerpt: str = ""


Kind = Literal["exact", "near", "contained", "protected"]


class Run(Frozen):
    """Words in a row: in both texts ("="), in the removed one alone ("-"), or in the kept one alone ("+")."""

    mark: Literal["=", "-", "+"]
    text: str


class Difference(Frozen):
    """What differs between the removed and the kept text, word by word."""

    compared: Literal["documents", "excerpts"]
    """Excerpts where stages/ was deleted."""
    changes: int
    """Runs of words that differ, those not shown included."""
    only_removed: int
    only_kept: int
    hunks: tuple[tuple[Run, ...], ...] = ()


class Pair(Frozen):
    """A removed record beside the kept document, or the protected item, that justifies it."""

    kind: Kind
    jaccard: float | None
    removed: Example
    kept: Example | None
    """None where none is named: the removed record's detail then says more."""
    difference: Difference | None = None
    """None where one of the texts is not at hand."""


class Group(Frozen):
    """A kept document and how many records were removed as its duplicates."""

    doc_id: str
    record: str
    removed: int
    share: float
    """Of the input: the kept document and those removed."""
    excerpt: str = ""


class Histogram(Frozen):
    edges: tuple[float, ...]
    """n + 1 ascending bin edges; a bin holds its lower edge, the last one both."""
    counts: tuple[int, ...]


class Search(Frozen):
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


class Duplicates(Frozen):
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
