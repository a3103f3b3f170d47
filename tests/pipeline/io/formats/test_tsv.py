import pytest


def outcome(rows):
    return [row["text"] if row["quarantine"] is None else row["quarantine"] for row in rows]


def test_rows_are_lines_and_quotes_are_text(read_file):
    content = b'id\ttext\n1\tsaid "so, he\n2\t"quoted"\r\n\n3\ta\\tb\n4\n5\t\n6\tcaf\xe9\n'
    rows = read_file("a.tsv", content)
    texts = ['said "so, he', '"quoted"', "a\\tb", "invalid_csv", "empty"]
    assert outcome(rows)[:5] == texts
    assert [row["record"] for row in rows] == [f"a.tsv#{i}" for i in range(1, 7)]
    assert "1 fields where the header has 2" in rows[3]["detail"]


def test_commas_do_not_separate(read_file):
    assert outcome(read_file("a.tsv", b"id,text\n1,x\n")) == ["missing_text"]
    assert outcome(read_file("a.tsv", b"text\na,b;c|d\n")) == ["a,b;c|d"]


@pytest.mark.parametrize("content", [b"", b"text\n", b"\n\n"])
def test_no_row(read_file, content):
    assert outcome(read_file("a.tsv", content)) == ["empty"]


def test_limits(read_file):
    rows = read_file("a.tsv", b"text\n" + b"x" * 100 + b"\nshort\n", max_record_bytes=50)
    assert outcome(rows) == ["record_too_long", "short"]
    assert outcome(read_file("a.tsv", b"x" * 100 + b"\nshort\n", max_record_bytes=50)) == ["record_too_long"]
