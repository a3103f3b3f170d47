"""Columns of an audit in a DuckDB table, and whole audit rows by their number.

A search or a join that is to be quick, or is asked again and again, works on such a table; whole rows come from the
Arrow files. DuckDB could scan those by itself through pyarrow's dataset, but then every search unpacks all of them anew
(2 s for 10,000,000 rows on two cores), and a scan that ends early, at a LIMIT, can crash the process (seen with DuckDB
2.0 and pyarrow 25).
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from pipeline.report.audit import open_audit, read_table, tables
from schemas.manifest import FileEntry
from schemas.shard import SchemaError

MEMORY_MB = 1000
"""What DuckDB may hold; beyond that it writes to its directory."""


def open_database(path: Path, threads: int, read_only: bool = False) -> duckdb.DuckDBPyConnection:
    """A database file that loads no extension and reads no variable of Python by its name."""
    return duckdb.connect(
        str(path),
        read_only=read_only,
        config={
            "memory_limit": f"{MEMORY_MB}MB",
            "threads": threads,
            "temp_directory": str(path.parent / "spilled"),
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "python_enable_replacements": False,
        },
    )


@contextmanager
def told_errors(directory: Path) -> Iterator[None]:
    """A full disk or memory as one line: raises OSError. `directory`: where the database lies."""
    try:
        yield
    except (duckdb.OperationalError, duckdb.FatalException) as error:
        reason = str(error).splitlines()[0]
        raise OSError(f"the temporary database in {directory}: {reason}; let TMPDIR name a larger disk") from error


def lock(connection: duckdb.DuckDBPyConnection) -> None:
    """From here on no statement can reach a file beside the database, nor undo this."""
    connection.execute("set enable_external_access = false")
    connection.execute("set lock_configuration = true")


def load(
    connection: duckdb.DuckDBPyConnection,
    name: str,
    columns: dict[str, tuple[str, str]],
    directory: Path,
    files: Sequence[FileEntry],
    done: Callable[[int], None] = lambda rows: None,
) -> None:
    """Makes the table `name` of all audit rows in audit order.

    Its first column `n` is the row's number, 0-based over all files.

    Args:
        columns: name in the table -> (column of the audit, SQL expression over audit columns). All three are ours.
        done: called with the rows of each part once they are in.

    Raises SchemaError (schemas.shard) where a file is missing, damaged or not an audit.
    """
    wanted = sorted({column for column, _ in columns.values()})
    expressions = ", ".join(f"{expression} as {as_name}" for as_name, (_, expression) in columns.items())
    first, made = 0, False
    for table in _ahead(tables(directory, files, wanted)):
        numbers = pa.array(np.arange(first, first + len(table), dtype=np.int64))
        connection.register("part", table.append_column("n", numbers))
        statement = f"insert into {name}" if made else f"create table {name} as"
        connection.execute(f"{statement} select n, {expressions} from part").fetchall()
        connection.unregister("part")
        first, made = first + len(table), True
        done(len(table))
    if not made:
        raise SchemaError(f"{directory}: its audit holds no record")


def _ahead(parts: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """The same, the next one made in a thread while the caller is busy with one."""
    with ThreadPoolExecutor(1) as pool:
        following = pool.submit(next, parts, None)
        while (part := following.result()) is not None:
            following = pool.submit(next, parts, None)
            yield part


class AuditRows:
    """Whole audit rows by their number, read from the Arrow files."""

    def __init__(self, directory: Path, files: Sequence[FileEntry]) -> None:
        """Raises SchemaError."""
        self._paths = [directory / entry.path for entry in files]
        self._firsts, self._widths = [0], list[int]()
        for path in self._paths:
            reader = open_audit(path, ["verdict"])
            count = reader.num_record_batches
            # All batches of a file but the last hold the same number of rows (schemas.arrow.BATCH_ROWS).
            width, last = (len(read_table(reader, [number], path)) if count else 0 for number in (0, count - 1))
            self._firsts.append(self._firsts[-1] + max(count - 1, 0) * width + last)
            self._widths.append(max(width, 1))
        # Neighbours of a page often lie in one batch.
        self._batch = lru_cache(maxsize=16)(self._read)

    def __len__(self) -> int:
        return self._firsts[-1]

    def _read(self, file: int, number: int) -> pa.Table:
        path = self._paths[file]
        return read_table(open_audit(path, None), [number], path)

    def __getitem__(self, n: int) -> dict[str, Any]:
        """Raises IndexError."""
        if not 0 <= n < len(self):
            raise IndexError(n)
        file = bisect_right(self._firsts, n) - 1
        number, row = divmod(n - self._firsts[file], self._widths[file])
        return self._batch(file, number).slice(row, 1).to_pylist()[0]
