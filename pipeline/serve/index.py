"""The audit made searchable: a DuckDB database in a temporary directory, read-only and locked once it is filled.

What is searched is in the database; what is shown comes from the Arrow files.
"""

import os
import threading
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from pipeline.audit_database import AuditRows, load, lock, open_database, told_errors
from pipeline.inspect.rules import InspectError
from pipeline.meter import tell
from pipeline.serve.query import FACETS, Query
from schemas.manifest import read_manifest

SECONDS = 30.0
"""A search that takes longer is given up."""
SHOWN_VALUES = 500
"""Values of a facet that the form offers, the most frequent ones."""
ONE_PASS = 10_000
"""Rows up to which a page is found together with the number of all rows."""
_BEFORE = 1 << 60
COLUMNS = {
    "record": ("record", "lower(record)"),
    "doc_id": ("doc_id", "doc_id"),
    "text": ("excerpt", "lower(excerpt)"),
} | {name: (name, name) for name in FACETS}


class SearchError(Exception):
    """The search was given up; the message says why."""


@dataclass(frozen=True)
class Found:
    """One page of a search."""

    total: int
    """Rows that meet the filters."""
    rows: list[dict[str, Any]]
    """Whole audit rows, and "n", the row's number."""


class AuditIndex:
    """Searches of one audit. May be asked by several threads."""

    def __init__(self, directory: Path, scratch: Path) -> None:
        """`scratch`: a directory for the database, about 50 bytes a record and what its excerpts need.

        Raises ManifestError, SchemaError; InspectError where the output has no audit.
        """
        files = read_manifest(directory).under("audit")
        gone = [entry.path for entry in files if not (directory / entry.path).is_file()]
        if not files or gone:
            what = f"{gone[0]} is gone" if gone else "its manifest lists no audit file"
            raise InspectError(f"{directory}: {what}; there is nothing to search: run prepare again")
        total, read = sum(entry.rows for entry in files), 0

        def done(rows: int) -> None:
            nonlocal read
            read += rows
            tell(read, total, "records")

        path, threads = scratch / "audit.duckdb", os.cpu_count() or 1
        with told_errors(scratch), closing(open_database(path, threads)) as connection:
            load(connection, "audit", COLUMNS, directory, files, done)
        self._connection = open_database(path, threads, read_only=True)
        lock(self._connection)
        self._one = threading.Lock()
        self._rows = AuditRows(directory, files)
        self.facets = {name: self._values(name) for name in FACETS}
        """Column -> (value, rows that have it), the most frequent first."""

    def close(self) -> None:
        self._connection.close()

    def __len__(self) -> int:
        return len(self._rows)

    def _values(self, column: str) -> list[tuple[str, int]]:
        return self._fetched(
            f"select {column}, count(*) from audit where {column} is not null group by 1 order by 2 desc, 1 limit ?",
            (SHOWN_VALUES,),
        )

    def _fetched(self, statement: str, values: tuple[Any, ...]) -> list[Any]:
        """One search at a time: each has all cores. Raises SearchError."""
        with self._one, self._connection.cursor() as cursor:
            timer = threading.Timer(SECONDS, cursor.interrupt)
            timer.start()
            try:
                return cursor.execute(statement, values).fetchall()
            except duckdb.InterruptException as error:
                raise SearchError(f"given up after {SECONDS:.0f} s; ask for less") from error
            finally:
                timer.cancel()

    def search(self, query: Query) -> Found:
        """The rows of one page, a record of exactly the name that was asked for first, then in audit order.

        Raises SearchError.
        """
        conditions, values = query.conditions()
        where = f" where {conditions}" if conditions else ""
        key, named = "n", tuple[str, ...]()
        if query.record:
            key, named = f"case when record = lower(?) then n - {_BEFORE} else n end", (query.record,)
        last = query.page * query.size
        if last <= ONE_PASS:
            # The number of rows and the first of them from one pass over the table.
            statement = f"select count(*), min({key}, ?) from audit{where}"
            total, keys = self._fetched(statement, (*named, last, *values))[0]
            keys = (keys or [])[last - query.size :]
        else:
            total = self._fetched(f"select count(*) from audit{where}", values)[0][0]
            statement = f"select {key} as key from audit{where} order by key limit ? offset ?"
            keys = [key for (key,) in self._fetched(statement, (*named, *values, query.size, last - query.size))]
        return Found(total, [self.row(key if key >= 0 else key + _BEFORE) for key in keys])

    def row(self, n: int) -> dict[str, Any]:
        """A whole audit row. Raises IndexError."""
        with self._one:
            return {"n": n, **self._rows[n]}
