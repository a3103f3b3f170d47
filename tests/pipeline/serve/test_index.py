"""The search: each filter against the rows themselves, values that are no SQL, a database that is locked."""

import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.inspect.rules import InspectError
from pipeline.serve import index as serve_index
from pipeline.serve.index import AuditIndex, SearchError
from pipeline.serve.query import FACETS, Query, QueryError, parse_query
from schemas.shard import SchemaError


def meets(row: dict, query: Query) -> bool:
    """The filters, written out once more."""
    texts = {"record": row["record"], "text": row["excerpt"] or ""}
    for name, text in texts.items():
        wanted = getattr(query, name)
        if wanted is not None and wanted.lower() not in text.lower():
            return False
    if query.text is not None and row["excerpt"] is None:
        return False
    if query.doc is not None and not row["doc_id"].startswith(query.doc.lower()):
        return False
    return all(getattr(query, name) in (None, row[name]) for name in FACETS)


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"record": "page-3"},
        {"record": "WEB/PAGE-3.HTML#3"},
        {"record": "%"},
        {"record": "_"},
        {"text": "the text of web/page-1"},
        {"text": "überfall"},
        {"text": "ÜBERFALL AUF DIE STRASSE"},
        {"text": "\x00\x1b[31m"},
        {"doc": "001"},
        {"doc": "001F"},
        {"verdict": "filtered"},
        {"verdict": "duplicate", "kind": "near", "language": "de", "source": "web", "rule": "near"},
        {"rule": "bad_json"},
        {"rule": "' or 1=1 --"},
        {"text": "'; drop table audit; --"},
        {"source": "nowhere"},
    ],
)
def test_filters(index: AuditIndex, rows: list[dict], asked: dict[str, str]) -> None:
    query = Query(**asked, size=100)
    found = index.search(query)
    wanted = [(n, row["record"]) for n, row in enumerate(rows) if meets(row, query)]
    assert sorted((row["n"], row["record"]) for row in found.rows) == wanted
    assert found.total == len(wanted)


@settings(max_examples=25, deadline=None)
@given(
    size=st.integers(1, 30),
    text=st.none() | st.sampled_from(["page-1", "TEXT", "web", "%", "x"]),
    verdict=st.none() | st.sampled_from(["kept", "filtered"]),
)
def test_pages_hold_every_row_once_and_in_order(index, rows, size, text, verdict) -> None:
    asked = Query(text=text, verdict=verdict, size=size)
    wanted = [n for n, row in enumerate(rows) if meets(row, asked)]
    pages = [index.search(asked.model_copy(update={"page": page})) for page in range(1, len(wanted) // size + 3)]
    assert [row["n"] for page in pages for row in page.rows] == wanted
    assert {page.total for page in pages} == {len(wanted)}
    assert all(len(page.rows) <= size for page in pages)


def test_pages_far_behind_are_those_of_the_one_pass(index, monkeypatch) -> None:
    asked = [Query(record="PAGE-1", page=page, size=3) for page in range(1, 6)]
    near = [index.search(query) for query in asked]
    monkeypatch.setattr(serve_index, "ONE_PASS", 0)
    assert [index.search(query) for query in asked] == near
    assert near[0].total == 11
    assert index.search(Query(page=10**9)).rows == []


def test_a_whole_name_comes_first(index) -> None:
    assert [row["record"] for row in index.search(Query(record="web/page-9.html#9", size=1)).rows] == [
        "web/page-9.html#9"
    ]


def test_rows_are_those_of_the_files(index, rows) -> None:
    assert len(index) == 100
    for n in (0, 9, 10, 39, 40, 79, 99):
        assert index.row(n) == {"n": n, **rows[n]}
    for n in (-1, 100):
        with pytest.raises(IndexError):
            index.row(n)


def test_facets(index) -> None:
    assert index.facets["verdict"] == [("kept", 75), ("filtered", 20), ("duplicate", 4), ("quarantined", 1)]
    assert index.facets["language"] == [("en", 93), ("de", 5), ("zz", 1)]


@pytest.mark.parametrize(
    "statement",
    [
        "select * from read_csv('/etc/passwd')",
        "select content from read_text('/etc/hostname')",
        "attach '/tmp/other.duckdb'",
        "copy audit to '/tmp/stolen.csv'",
        "insert into audit select * from audit",
        "drop table audit",
        "set enable_external_access = true",
        "set lock_configuration = false",
        "install httpfs",
        "load httpfs",
        "select * from rows",
    ],
)
def test_the_database_reaches_nothing(index, statement: str) -> None:
    rows = [1]  # noqa: F841  DuckDB would find a table of this name here
    with pytest.raises(serve_index.duckdb.Error):
        index._fetched(statement, ())


def test_a_search_without_end_is_given_up(index, monkeypatch) -> None:
    monkeypatch.setattr(serve_index, "SECONDS", 0.2)
    endless = "select count(*) from range(100000000) a, range(100000000) b where a.range + b.range = ?"
    with pytest.raises(SearchError, match="given up"):
        index._fetched(endless, (-1,))
    assert index.search(Query()).total == 100


def test_several_ask_at_once(index) -> None:
    asked = [Query(text="web/page", page=page, size=7) for page in range(1, 13)]
    alone, together = [index.search(query) for query in asked], {}
    threads = [threading.Thread(target=lambda q=q: together.update({q: index.search(q)})) for q in asked]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [together[query] for query in asked] == alone


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("foo=1", "no field 'foo'; there are record, doc, text"),
        ("text=a&text=b", "'text' is given twice"),
        ("text=" + "x" * 501, "'text': String should have at most 500 characters"),
        ("page=0", "'page': Input should be greater than or equal to 1"),
        ("page=x", "'page': Input should be a valid integer"),
        ("page=1e99", "'page'"),
        ("size=101", "'size': Input should be less than or equal to 100"),
        ("&".join(f"f{n}=1" for n in range(40)), "more fields than a search has"),
    ],
)
def test_bad_queries_are_told(query: str, told: str) -> None:
    with pytest.raises(QueryError, match=told.replace("(", r"\(")):
        parse_query(query)


def test_queries_go_there_and_back() -> None:
    asked = Query(text="a&b=c <é> \x00%", rule="x y", page=3, size=7)
    assert parse_query(asked.url()) == asked
    assert parse_query("text=&rule=&page=2") == Query(page=2)
    assert Query().url() == ""


def test_an_output_without_an_audit(tmp_path, audited, audit_row) -> None:
    path = audited(tmp_path / "bare", [audit_row("a/b#1", "0" * 32)])
    (path / "audit/audit-00000.arrow").write_bytes(b"not Arrow")
    (tmp_path / "scratch").mkdir()
    with pytest.raises(SchemaError, match="not a complete Arrow file"):
        AuditIndex(path, tmp_path / "scratch")
    (path / "audit/audit-00000.arrow").unlink()
    with pytest.raises(InspectError, match=r"audit-00000\.arrow is gone; there is nothing to search"):
        AuditIndex(path, tmp_path / "scratch")
