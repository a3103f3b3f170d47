"""SQLite databases: the rows of a query, or of the one table that has a text field.

A database is data from anywhere: it may be damaged on purpose, and its views and generated columns are code. It is
opened read-only as a file that nobody else writes, may only select, and has a bounded number of steps for each row.
"""

import os
import sqlite3
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import quote

from pipeline.config import InputConfig
from pipeline.io.decompress import ReadError, check_expansion
from pipeline.io.formats.encoding import decode_any
from pipeline.io.formats.record import Record, checked, failed, joined, missing_text, too_long

MAGIC = b"SQLite format 3\0"
_MAGIC_AT_LEAST = 512
"""Bytes of the smallest page: what is shorter holds no database."""
_ALLOWED = frozenset({sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_RECURSIVE})
_FORBIDDEN = frozenset(
    ["load_extension", "random", "randomblob", "current_date", "current_time", "current_timestamp", "fts3_tokenizer"]
)
"""Functions that lead out of the database, or that give other values in another run."""
_STEPS = 1_000_000
"""Steps of SQLite's machine between two looks at the count; about 10 ms."""
MAX_STEPS = 1_000_000_000
"""Steps from one row to the next: about 10 s, time to sort some 10 million rows before the first. Steps and not
seconds, so that the same query ends at the same row everywhere."""
_LONGEST = 1 << 28
"""256 MiB: a longer value ends the query before it comes into memory."""
_SIDECARS = ("-wal", "-journal")
_SHOWN = 12
"""Tables that a message names, and columns of each."""
_ERRORS = (sqlite3.Error, sqlite3.Warning, UnicodeError, ValueError, OverflowError, MemoryError)
_DAMAGE = ("malformed", "not a database", "disk I/O error", "unsupported file format", "corrupt")
"""How SQLite names a damaged file; Python tells codes and messages apart only by their text."""


class _Table(NamedTuple):
    name: str
    kind: str
    """"table", "view" or "virtual"."""
    rowid: bool
    columns: tuple[str, ...]


def read_sqlite(path: str, config: InputConfig) -> Iterator[Record]:
    """Position: ordinal of the row in the query's order; without a query in that of the rowid, or the primary key.

    Reads a local path. A value that is bytes is decoded as a file would be. What ends the query early is one record.
    """
    stored = os.path.getsize(path)
    if not stored:
        return
    position = 1
    try:
        with _Database(path) as database:
            cursor, place, field = database.select(config)
            produced = 0
            for row in database.rows(cursor):
                value = row[place]
                size = len(value) if isinstance(value, bytes) else 1
                produced += size
                check_expansion(produced, stored, config)
                yield _record(position, value, field, config)
                position += 1
    except ReadError as error:
        yield failed(position, error, f"from row {position} on")


def check_query(path: str, config: InputConfig) -> None:
    """Raises the ReadError that would end the database before its first row: no text field, a bad query, damage."""
    with _Database(path) as database:
        database.select(config)


class _Database:
    def __init__(self, path: str) -> None:
        self._path = path
        self._steps = 0

    def __enter__(self) -> "_Database":
        with open(self._path, "rb") as handle:
            head = handle.read(_MAGIC_AT_LEAST)
        if not head.startswith(MAGIC):
            raise ReadError("unsupported_format", "the name says SQLite, but the content is no database of it")
        if len(head) < _MAGIC_AT_LEAST:
            raise ReadError("truncated_stream", "the database ends within its first page")
        for suffix in _SIDECARS:
            if os.path.exists(self._path + suffix) and os.path.getsize(self._path + suffix):
                detail = (
                    f"the database was not closed: '{os.path.basename(self._path)}{suffix}' beside it holds changes"
                )
                raise ReadError("unreadable", f"{detail}; open it once with `sqlite3` and run `PRAGMA wal_checkpoint`")
        name = quote(os.fsencode(os.path.abspath(self._path)))
        try:
            # immutable: no locks, and no files are made beside it.
            self._connection = sqlite3.connect(f"file:{name}?mode=ro&immutable=1", uri=True, isolation_level=None)
        except _ERRORS as error:
            raise _read_error(error) from error
        self._connection.text_factory = bytes
        self._connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LONGEST)
        self._connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
        self._connection.set_progress_handler(self._step, _STEPS)
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def _step(self) -> int:
        """Non-zero ends the query."""
        self._steps += _STEPS
        return int(self._steps > MAX_STEPS)

    def select(self, config: InputConfig) -> tuple[sqlite3.Cursor, int, str]:
        """The running query, the place of the text in its rows, and the text's name."""
        try:
            self._connection.execute("PRAGMA trusted_schema = OFF")
            self._connection.execute("PRAGMA cell_size_check = ON")
            tables = self._tables()
        except _ERRORS as error:
            raise _read_error(error) from error
        query = config.query or _default_query(tables, config.text_fields)
        self._connection.set_authorizer(_authorize)
        try:
            cursor = self._connection.execute(query)
        except _ERRORS as error:
            problem = _read_error(error)
            if problem.reason == "invalid_query":
                problem = ReadError("invalid_query", f"{problem.detail}; the database holds {_shown(tables)}")
            raise problem from error
        names = [column[0] for column in cursor.description or ()]
        for field in (*config.text_fields, "text"):  # a query says itself what is the text
            if field in names:
                return cursor, names.index(field), field
        if len(names) == 1:
            return cursor, 0, names[0]
        raise missing_text(names, config.text_fields)

    def rows(self, cursor: sqlite3.Cursor) -> Iterator[tuple[Any, ...]]:
        while True:
            self._steps = 0
            try:
                row = cursor.fetchone()
            except _ERRORS as error:
                raise _read_error(error) from error
            if row is None:
                return
            yield row

    def _tables(self) -> list[_Table]:
        """Tables and views in the order of their names; not SQLite's own, nor those that virtual tables keep."""
        listed = self._connection.execute("PRAGMA main.table_list").fetchall()
        tables = []
        for _, raw, kind, _, without_rowid, _ in sorted(listed, key=lambda row: row[1]):
            name = raw.decode()
            if kind == b"shadow" or name.startswith("sqlite_"):
                continue
            columns = self._connection.execute(f"PRAGMA main.table_xinfo({_quoted(name)})").fetchall()
            names = tuple(column[1].decode() for column in columns)
            tables.append(_Table(name, kind.decode(), kind == b"table" and not without_rowid, names))
        return tables


def _authorize(action: int, first: str | None, second: str | None, *_: str | None) -> int:
    if action == sqlite3.SQLITE_FUNCTION:
        return sqlite3.SQLITE_DENY if (second or "").lower() in _FORBIDDEN else sqlite3.SQLITE_OK
    # Reading a virtual table prepares statements of its own, which are reads too.
    return sqlite3.SQLITE_OK if action in _ALLOWED else sqlite3.SQLITE_DENY


def _default_query(tables: list[_Table], fields: tuple[str, ...]) -> str:
    """All rows of the one table with a text field. Search indexes and views, which repeat a table, count where no
    table has one."""
    fitting = [table for table in tables if any(field in table.columns for field in fields)]
    fitting = [table for table in fitting if table.kind == "table"] or fitting
    if len(fitting) != 1:
        looked = f"one of the text fields {', '.join(fields)}"
        if not fitting:
            raise ReadError("missing_text", f"no table has {looked}; give a query. The database holds {_shown(tables)}")
        raise ReadError("invalid_query", f"several tables have {looked}; say which by a query: {_shown(fitting)}")
    table = fitting[0]
    field = next(field for field in fields if field in table.columns)
    taken = {column.lower() for column in table.columns}
    rowid = next((name for name in ("rowid", "_rowid_", "oid") if name not in taken), None)
    order = f" ORDER BY {rowid}" if table.rowid and rowid else ""
    return f"SELECT {_quoted(field)} FROM main.{_quoted(table.name)}{order}"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _shown(tables: list[_Table]) -> str:
    def some(names: list[str]) -> str:
        return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")

    return some([f"{table.name[:60]}({some([name[:40] for name in table.columns])})" for table in tables]) or "no table"


def _record(position: int, value: Any, field: str, config: InputConfig) -> Record:
    where, limit = f"row {position}", config.max_record_bytes
    repairs: tuple[str, ...] = ()
    raw = value if isinstance(value, bytes) else b""
    try:
        if len(raw) > limit:
            raise ReadError("record_too_long", too_long(len(raw), limit, "the value"))
        if isinstance(value, bytes):
            value, repairs = decode_any(value)
        text = joined(value, field)
    except ReadError as error:
        return failed(position, error, where, raw[:limit])
    return checked(position, text, where, limit, repairs)


def _read_error(error: Exception) -> ReadError:
    said = " ".join(str(error).split())[:300] or type(error).__name__
    if isinstance(error, MemoryError | OverflowError) or "too big" in said:
        return ReadError("record_too_long", f"a value of more than {_LONGEST} bytes; what stands behind is not read")
    if "interrupted" in said:
        return ReadError("invalid_query", f"no row within {MAX_STEPS} steps of SQLite: the query does not end")
    if isinstance(error, UnicodeError) or any(sign in said for sign in _DAMAGE):
        return ReadError("corrupt_database", said)
    return ReadError("invalid_query", f"the query cannot be run: {said}")
