import pytest


@pytest.mark.parametrize(
    ("head", "encoding", "repairs"),
    [
        ("<meta charset=utf-8>", "utf-8", []),
        ("", "utf-8", []),
        ('<META content="text/html; charset=ISO-8859-1" http-equiv="Content-Type">', "cp1252", ["decoded:cp1252"]),
        ("<meta charset='koi8-r'>", "koi8-r", ["decoded:koi8-r"]),
        ('<?xml version="1.0" encoding="Shift_JIS"?>', "shift_jis", ["decoded:shift_jis"]),
        ("<meta charset=utf-16>", "utf-8", []),  # cannot be true where it can be read
        ("<meta charset=zlib>", "utf-8", []),
        ("<meta charset=utf-8>", "utf-16", ["decoded:utf-16"]),
    ],
)
def test_charsets(read_file, head, encoding, repairs):
    words = {"cp1252": "“Grüße”", "koi8-r": "привет", "shift_jis": "日本語"}.get(encoding, "四两 ü")
    page = f"<html>{head}<body><p>{words}</p></body></html>"
    [row] = read_file("a.html", page.encode(encoding))
    assert row["text"] == page
    assert row["media"] == "html"
    assert row["repairs"] == repairs


def test_neither_declared_nor_utf8(read_file):
    [row] = read_file("a.html", b"<p>caf\xe9</p>")
    assert row["quarantine"] == "invalid_utf8"
    assert "byte 6" in row["detail"]
    [row] = read_file("a.html", b"<meta charset=shift_jis>\xff\xff")
    assert row["quarantine"] == "invalid_utf8"
    assert "shift_jis" in row["detail"]


def test_a_wrong_declaration_before_utf8(read_file):
    page = "<meta charset=euc-jp><p>四两拨千斤</p>"
    [row] = read_file("a.htm", page.encode())
    assert row["text"] == page


def test_too_long(read_file):
    [row] = read_file("a.html", b"<p>" + b"x" * 1000, max_record_bytes=1000)
    assert row["quarantine"] == "record_too_long"
