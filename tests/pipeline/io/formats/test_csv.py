import csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st


def outcome(rows):
    return [row["text"] if row["quarantine"] is None else row["quarantine"] for row in rows]


def test_quotes_newlines_and_order_of_fields(read_file):
    rows = read_file("a.csv", b'id, content ,text\r\n1,no,"a ""quoted"", b\r\nsecond line"\r\n\r\n2,no,c\r\n')
    assert outcome(rows) == ['a "quoted", b\r\nsecond line', "c"]
    assert [row["record"] for row in rows] == ["a.csv#1", "a.csv#2"]
    assert outcome(read_file("a.csv", b"id,content\n1,x\n", text_fields=("text", "content"))) == ["x"]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(alphabet='ab,"\n\r\t;é四 ', min_size=1).filter(str.strip), min_size=1, max_size=8))
def test_what_the_csv_module_writes_is_read_back(read_file, texts):
    out = io.StringIO(newline="")
    writer = csv.writer(out, quoting=csv.QUOTE_ALL)
    writer.writerows([["id", "text"], *([str(i), text] for i, text in enumerate(texts))])
    assert outcome(read_file("a.csv", out.getvalue().encode())) == texts


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_other_delimiters(read_file, delimiter):
    content = f"id{delimiter}text\n1{delimiter}a, b\n"
    assert outcome(read_file("a.csv", content.encode())) == ["a, b"]


def test_missing_column_and_ragged_rows(read_file):
    rows = read_file("a.csv", b"id,title\n1,x\n2,y\n")
    assert outcome(rows) == ["missing_text", "missing_text"]
    assert "found id, title" in rows[0]["detail"]
    rows = read_file("a.csv", b"id,text\n1,unquoted, comma\n2\n3,good\n4,\n")
    assert outcome(rows) == ["invalid_csv", "invalid_csv", "good", "empty"]
    assert "3 fields where the header has 2" in rows[0]["detail"]


def test_only_a_header_is_empty(read_file):
    for content in (b"id,text\n", b"id,text", b"", b"\n\n"):
        assert outcome(read_file("a.csv", content)) == ["empty"]


def test_a_stray_quote_costs_its_line_only(read_file):
    rows = read_file("a.csv", b'id,text\n1,good\n2,"open\n3,fine\n4,"well, quoted"\n5,last\n')
    assert outcome(rows)[0] == "good"
    assert outcome(rows)[-1] == "last"
    rows = read_file("a.csv", b'id,text\n1,good\n2,"open\n' + b"3,fine\n" * 500, max_record_bytes=400)
    assert outcome(rows) == ["good", "invalid_csv"] + ["fine"] * 500
    rows = read_file("a.csv", b'id,text\n1,good\n2,"open\n3,fine\n')
    assert outcome(rows) == ["good", "invalid_csv", "fine"]
    assert "row 2 from line 3" in rows[1]["detail"]


def test_long_rows_invalid_bytes_and_nul(read_file):
    rows = read_file("a.csv", b"id,text\n1," + b"x" * 2000 + b"\n2,good\n", max_record_bytes=1000)
    assert outcome(rows) == ["record_too_long", "good"]
    content = b"id,text\n1,caf\xe9\n2\xe9,only the other field\n3,n\0l\n"
    rows = read_file("a.csv", content)
    assert outcome(rows) == ["invalid_utf8", "only the other field", "nul_bytes"]
    assert f"byte {content.index(0xE9)} " in rows[0]["detail"]


def test_fields_beyond_the_default_limit_of_the_csv_module(read_file):
    assert outcome(read_file("a.csv", b"text\n" + b"x" * 500_000 + b"\n")) == ["x" * 500_000]


def test_a_header_that_cannot_be_used(read_file):
    assert outcome(read_file("a.csv", b"x" * 2000 + b",text\n1,2\n", max_record_bytes=1000)) == ["record_too_long"]
