"""Chosen rows as examples, every text cut."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.report.model import Example
from pipeline.report.nearest import Near
from pipeline.report.rows import fetch
from pipeline.report.visible import cut
from schemas.manifest import FileEntry

TEXT_LIMIT = 240
"""Code points of an excerpt or a detail that the report keeps: bounds its size whatever the documents hold."""
NAME_LIMIT = 160
"""Code points of a record, source, rule or word that the report keeps."""

_COLUMNS = ("record", "doc_id", "source", "detail", "duplicate_of", "duplicate_record", "jaccard", "excerpt")


class Shelf:
    """The rows that the report shows, read once for all of its parts."""

    def __init__(self, root: Path, files: Sequence[FileEntry], chosen: Iterable[Near]) -> None:
        self._rows: Mapping[int, dict[str, Any]] = fetch(root, files, (near.place for near in chosen), _COLUMNS)

    def row(self, near: Near) -> dict[str, Any]:
        """The audit's columns but those of counts and scores."""
        return self._rows[near.place]

    def example(self, near: Near, score: float | None = None, limit: float | None = None) -> Example:
        return example(self.row(near), score, limit)

    def examples(self, chosen: Iterable[Near]) -> tuple[Example, ...]:
        return tuple(map(self.example, chosen))


def example(row: Mapping[str, Any], score: float | None = None, limit: float | None = None) -> Example:
    """A row of an audit as an example."""
    texts = {name: cut(row[name] or "", NAME_LIMIT) for name in ("record", "doc_id", "source")}
    long = {name: cut(row[name] or "", TEXT_LIMIT) for name in ("detail", "excerpt")}
    return Example(**texts, **long, score=score, limit=limit)
