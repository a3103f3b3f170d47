"""Duplicates and boilerplate."""

from typing import Literal

from pipeline.report.model.base import Example, Facts, Frozen, Histogram

Kind = Literal["exact", "near", "contained", "protected"]


class Run(Frozen):
    """Words in a row."""

    mark: Literal["=", "-", "+"]
    """"=" in both texts, "-" in the removed one alone, "+" in the kept one alone."""
    text: str


class Difference(Frozen):
    """What differs between the words of a removed and a kept text."""

    of: Literal["documents", "excerpts"]
    """Excerpts are compared where the documents are no longer at hand."""
    changes: int
    """Runs of words that differ, those that are not shown included."""
    only_removed: int
    """Words in the removed text alone."""
    only_kept: int
    hunks: tuple[tuple[Run, ...], ...] = ()
    """Some changes with words around them, in the order of the text."""


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


class Search(Facts):
    """How the near-duplicates were found, as the deduplicate stage counted it; None what it did not count."""

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
    """What deduplication removed, and how."""

    exact: int
    near: int
    contained: int = 0
    protected: int = 0
    threshold: float
    """Exact Jaccard from which a document is removed."""
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


class BoilerplateLine(Frozen):
    """A line that was cut from many documents of a source."""

    source: str
    line: str
    documents: int
    """Documents it was cut from, copies among them."""
    characters: int


class Boilerplate(Frozen):
    """Lines that many documents of one source share, and that were cut from all of them."""

    distinct: int = 0
    """Lines that were cut, each counted once."""
    characters: int = 0
    lines: tuple[BoilerplateLine, ...] = ()
    """Most characters first."""
