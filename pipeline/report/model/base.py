"""What several parts of the report are made of."""

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    """A part of the report. Unknown keys are refused, and so are numbers that JSON cannot hold."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)


class Facts(BaseModel):
    """What a stage told of itself; keys that this version does not know are left out."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False, use_attribute_docstrings=True)


class NamedCount(Frozen):
    """How many records (or what is counted) a name stands for."""

    name: str
    count: int


class Example(Frozen):
    """One record shown to people; every text is cut to a bounded length."""

    record: str
    """Path below the input root, '#', position."""
    doc_id: str
    source: str
    score: float | None = None
    limit: float | None = None
    """The limit that was in force for this record."""
    detail: str = ""
    """What the audit says of it."""
    excerpt: str = ""
    """The beginning of its text."""


class Histogram(Frozen):
    """Counts in bins."""

    edges: tuple[float, ...]
    """n + 1 ascending bin edges; a bin holds its lower edge, the last one both."""
    counts: tuple[int, ...]
    """[n]"""
