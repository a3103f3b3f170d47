"""What the search is asked, checked: every value is bounded, and none becomes a part of a statement."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any
from urllib.parse import parse_qs, urlencode

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

LONGEST = 500
"""Code points of a filter."""
LARGEST_PAGE = 100
FACETS = ("verdict", "rule", "kind", "source", "language")
"""Filters whose value is one of those that the audit holds."""
_CONDITIONS = {
    "record": "contains(record, lower(?))",
    "doc": "starts_with(doc_id, lower(?))",
    "text": "contains(text, lower(?))",
} | {name: f"{name} = ?" for name in FACETS}


class QueryError(ValueError):
    """A search that cannot be made; the message says what is wrong."""


def _filled(value: Any) -> Any:
    """An empty field of a form asks for nothing."""
    return None if value == "" else value


Filter = Annotated[Annotated[str, Field(max_length=LONGEST)] | None, BeforeValidator(_filled)]


class Query(BaseModel):
    """Filters that must all be met; None asks for nothing."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    record: Filter = None
    """A part of the record's name, in any case of letters."""
    doc: Filter = None
    """The doc_id or its first digits."""
    text: Filter = None
    """A part of the excerpt, in any case of letters."""
    verdict: Filter = None
    rule: Filter = None
    kind: Filter = None
    source: Filter = None
    language: Filter = None
    page: int = Field(default=1, ge=1, le=10**9)
    size: int = Field(default=20, ge=1, le=LARGEST_PAGE)

    def conditions(self) -> tuple[str, tuple[str, ...]]:
        """SQL with a place for each value, and the values: "" and () where nothing is asked."""
        asked = [(sql, getattr(self, name)) for name, sql in _CONDITIONS.items() if getattr(self, name) is not None]
        return " and ".join(sql for sql, _ in asked), tuple(value for _, value in asked)

    def url(self, **changes: Any) -> str:
        """The query string of this search with some values changed; defaults are left out."""
        values = self.model_copy(update=changes).model_dump(exclude_defaults=True)
        return urlencode({name: value for name, value in values.items() if value is not None})


def fields_of(query: str) -> dict[str, str]:
    """A query string as a table. Raises QueryError where a name stands twice."""
    try:
        found: Mapping[str, Sequence[str]] = parse_qs(query, keep_blank_values=True, max_num_fields=20)
    except ValueError as error:
        raise QueryError("more fields than a search has") from error
    for name, values in found.items():
        if len(values) > 1:
            raise QueryError(f"'{name[:40]}' is given twice")
    return {name: values[0] for name, values in found.items()}


def parse_query(query: str) -> Query:
    """Raises QueryError naming the field."""
    try:
        return Query.model_validate(fields_of(query))
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])[:40] if first["loc"] else "query"
        if first["type"] == "extra_forbidden":
            raise QueryError(f"no field '{name}'; there are {', '.join(Query.model_fields)}") from error
        raise QueryError(f"'{name}': {first['msg']}") from error
