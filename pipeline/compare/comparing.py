"""Two outputs compared: the manifests side by side, the audits joined by DuckDB.

The join: records of the same name belong together. What is left on both sides belongs together by doc_id, copies in
the order of their names; so files that were moved or renamed between two runs are found again.
"""

import os
import tempfile
from pathlib import Path
from typing import Any

import duckdb

from pipeline.audit_database import AuditRows, load, open_database, told_errors
from pipeline.compare.model import (
    LENGTH_SHARES,
    Comparison,
    Decision,
    Example,
    LanguageRow,
    Matching,
    Move,
    Side,
)
from pipeline.compare.sides import Output, differing, open_pair, rule_rows, source_rows
from pipeline.inspect.explanation import outcome
from pipeline.meter import tell

MOVES = 40
"""Moves that are told one by one."""
COLUMNS = {name: (name, name) for name in ("record", "doc_id", "source", "verdict", "rule", "language", "chars_out")}

JOIN = """
create table pairs as
    select a.n as n1, b.n as n2, a.doc_id, a.verdict as v1, b.verdict as v2, a.rule as r1, b.rule as r2,
        a.doc_id = b.doc_id as same, true as named
    from first a join second b using (record);
create view left_first as
    select n, doc_id, verdict, rule, row_number() over (partition by doc_id order by record) as copy
    from first anti join second using (record);
create view left_second as
    select n, doc_id, verdict, rule, row_number() over (partition by doc_id order by record) as copy
    from second anti join first using (record);
insert into pairs
    select a.n, b.n, a.doc_id, a.verdict, b.verdict, a.rule, b.rule, true, false
    from left_first a join left_second b using (doc_id, copy);
"""
MOVED = "v1 != v2 or r1 is distinct from r2"
ORDER = """(v1 = 'kept' or v2 = 'kept') desc, count(*) desc, v1, r1 nulls first, v2, r2 nulls first"""


def compare(first: Path, second: Path, examples: int = 3) -> Comparison:
    """`examples` records of each move. Memory and temporary disk do not depend on the texts: DuckDB holds names,
    doc_ids and verdicts, at most `audit_database.MEMORY_MB` of them in memory.

    Raises ManifestError, CompareError, SchemaError.
    """
    one, two = open_pair(first, second)
    with tempfile.TemporaryDirectory(prefix="siliang-compare-") as temporary, told_errors(Path(temporary)):
        connection = open_database(Path(temporary) / "audits.duckdb", os.cpu_count() or 1)
        try:
            total = sum(entry.rows for side in (one, two) for entry in side.audit)
            read = 0

            def done(rows: int) -> None:
                nonlocal read
                read += rows
                tell(read, total, "records")

            for name, side in (("first", one), ("second", two)):
                load(connection, name, COLUMNS, side.path, side.audit, done)
            for statement in JOIN.split(";")[:-1]:
                connection.execute(statement).fetchall()
            return _told(connection, one, two, examples)
        finally:
            connection.close()


def _told(connection: duckdb.DuckDBPyConnection, one: Output, two: Output, examples: int) -> Comparison:
    matched = _row(
        connection,
        f"""select count(*) filter (named), count(*) filter (named and not same), count(*) filter (not named),
            count(*) filter (v1 = 'kept' and v2 != 'kept'), count(*) filter (v1 != 'kept' and v2 = 'kept'),
            count(*) filter (v1 != 'kept' and v2 != 'kept' and ({MOVED})) from pairs""",
    )
    moves, more = _moves(connection, AuditRows(one.path, one.audit), AuditRows(two.path, two.audit), examples)
    return Comparison(
        first=_side(connection, "first", one),
        second=_side(connection, "second", two),
        settings=differing(one.manifest.config, two.manifest.config),
        versions=differing(one.manifest.versions, two.manifest.versions),
        sources=source_rows(one.manifest, two.manifest),
        rules=rule_rows(one.manifest, two.manifest),
        languages=_languages(connection),
        matching=Matching(
            by_record=matched[0],
            changed=matched[1],
            by_doc_id=matched[2],
            only_first=_only(connection, "first", "n1"),
            only_second=_only(connection, "second", "n2"),
        ),
        lost=matched[3],
        gained=matched[4],
        other=matched[5],
        moves=moves,
        more_moves=more,
    )


def _row(connection: duckdb.DuckDBPyConnection, statement: str) -> tuple[int, ...]:
    return connection.execute(statement).fetchall()[0]


def _side(connection: duckdb.DuckDBPyConnection, name: str, output: Output) -> Side:
    lengths, characters = connection.execute(
        f"select quantile_disc(chars_out, ?), coalesce(sum(chars_out), 0) from {name} where verdict = 'kept'",
        [list(LENGTH_SHARES)],
    ).fetchall()[0]
    return Side(
        path=str(output.path),
        digest=output.digest,
        counts=output.manifest.counts.model_dump(),
        tokens=output.tokens(),
        characters=int(characters),
        vocabulary_size=output.manifest.vocabulary_size,
        lengths=tuple(lengths or ()),
    )


def _languages(connection: duckdb.DuckDBPyConnection) -> tuple[LanguageRow, ...]:
    counted = [
        f"(select coalesce(language, 'und') as name, count(*) as kept, sum(chars_out) as chars from {side} "
        "where verdict = 'kept' group by 1)"
        for side in ("first", "second")
    ]
    rows = connection.execute(
        f"""select name, coalesce(a.kept, 0), coalesce(b.kept, 0), coalesce(a.chars, 0), coalesce(b.chars, 0)
            from {counted[0]} a full join {counted[1]} b using (name)
            order by greatest(coalesce(a.kept, 0), coalesce(b.kept, 0)) desc, name"""
    ).fetchall()
    return tuple(LanguageRow(name, *map(int, numbers)) for name, *numbers in rows)


def _only(connection: duckdb.DuckDBPyConnection, side: str, number: str) -> dict[str, int]:
    rows = connection.execute(
        f"select verdict, count(*) from {side} anti join pairs on {side}.n = pairs.{number} group by 1 order by 1"
    ).fetchall()
    return dict(rows)


def _moves(
    connection: duckdb.DuckDBPyConnection, before: AuditRows, after: AuditRows, examples: int
) -> tuple[tuple[Move, ...], int]:
    connection.execute(
        f"""create table moves as select row_number() over (order by {ORDER}) as move, v1, r1, v2, r2,
            count(*) as records
            from pairs where {MOVED} group by v1, r1, v2, r2"""
    ).fetchall()
    total = _row(connection, "select count(*) from moves")[0]
    told_ones = connection.execute("select * from moves where move <= ? order by move", [MOVES]).fetchall()
    chosen: dict[int, list[Example]] = {}
    for move, n1, n2 in connection.execute(
        """select move, n1, n2 from pairs p join moves m
            on p.v1 = m.v1 and p.v2 = m.v2 and p.r1 is not distinct from m.r1 and p.r2 is not distinct from m.r2
            where move <= ? qualify row_number() over (partition by move order by doc_id, n2) <= ?
            order by move, doc_id, n2""",
        [MOVES, examples],
    ).fetchall():
        chosen.setdefault(move, []).append(_example(before[n1], after[n2]))
    moves = tuple(
        Move(Decision(v1, r1), Decision(v2, r2), records, tuple(chosen.get(move, ())))
        for move, v1, r1, v2, r2, records in told_ones
    )
    return moves, max(0, total - MOVES)


def _example(before: dict[str, Any], after: dict[str, Any]) -> Example:
    return Example(
        record=after["record"],
        record_before=None if before["record"] == after["record"] else before["record"],
        doc_id=after["doc_id"],
        source=after["source"],
        before=outcome(before),
        after=outcome(after),
        excerpt=after["excerpt"] or before["excerpt"] or "",
    )
