"""`text_fields = ["body.text"]` finds the same text in every format that has objects."""

import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

RECORDS = [
    {"body": {"text": "one", "more": {"deep": "in"}}, "id": 1},
    {"body": None, "id": 2},
    {"body": {"text": None, "more": None}, "id": 3},
    {"body": {"text": "four", "more": {"deep": None}}, "id": 4},
]


def jsonl(records):
    return "".join(json.dumps(record) + "\n" for record in records).encode()


def parquet(records):
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(records), sink, row_group_size=3)
    return sink.getvalue()


def arrow(records):
    table = pa.Table.from_pylist(records)
    sink = io.BytesIO()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=3)
    return sink.getvalue()


FORMATS = {"jsonl": jsonl, "json": lambda records: json.dumps(records).encode(), "parquet": parquet, "arrow": arrow}
every = pytest.mark.parametrize("kind", FORMATS)


def outcome(rows):
    return [row["text"] if row["quarantine"] is None else row["quarantine"] for row in rows]


@every
def test_fields_of_objects(read_file, kind):
    null = "missing_text" if kind.startswith("json") else "not_text"  # a schema has the field in every row
    content = FORMATS[kind](RECORDS)
    assert outcome(read_file(f"a.{kind}", content, text_fields=["body.text"])) == ["one", null, "not_text", "four"]
    rows = read_file(f"a.{kind}", content, text_fields=["nothing.here", "id.text", "body.more.deep"])
    assert outcome(rows) == ["in", null, null, "not_text"]


@every
def test_a_field_of_that_very_name_comes_first(read_file, kind):
    content = FORMATS[kind]([{"body": {"text": "nested", "a.b": {"c": "partly"}}, "body.text": "flat"}])
    assert outcome(read_file(f"a.{kind}", content, text_fields=["body.text"])) == ["flat"]
    assert outcome(read_file(f"a.{kind}", content, text_fields=["body.none", "text"])) == ["missing_text"]


@every
def test_lists_in_objects(read_file, kind):
    content = FORMATS[kind]([{"body": {"lines": ["a", "b"]}}, {"body": {"lines": ["c"]}}])
    assert outcome(read_file(f"a.{kind}", content, text_fields=["body.lines"])) == ["a\nb", "c"]
