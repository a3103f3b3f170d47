import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config import InputConfig
from pipeline.io.formats.text import read_text, split_text

PARAGRAPHS = st.lists(
    st.text(alphabet="ab .。\u4e2d\u0301\U0001f600\x0c\u00a0", max_size=30)
    | st.sampled_from(["\n", "\r\n", "\n\n", "\r\n\r\n", "\r\r", "\n \t\n", ". ", "word " * 9, "\n" * 30, " " * 30]),
    max_size=40,
).map("".join)


@settings(max_examples=300, deadline=None)
@given(PARAGRAPHS, st.integers(1, 60), st.integers(1, 200))
def test_pieces_join_to_the_text_whatever_the_chunks(text, size, chunk):
    pieces = list(split_text(iter([text]), size))
    assert "".join(pieces) == text
    assert all(0 < len(piece) <= 2 * size for piece in pieces)
    assert list(split_text((text[i : i + chunk] for i in range(0, len(text), chunk)), size)) == pieces


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 200), min_size=1, max_size=40), st.integers(100, 150))
def test_paragraphs_up_to_twice_the_size_are_never_cut(lengths, size):
    paragraphs = [("x" * 3 + ". " + "y" * 200)[:length] + "\n\n" for length in lengths]
    pieces = list(split_text(iter(["".join(paragraphs)]), size + 2))
    ends, at = set(), 0
    for paragraph in paragraphs:
        at += len(paragraph)
        ends.add(at)
    at = 0
    for piece in pieces:
        at += len(piece)
        assert at in ends


def test_cuts_lie_nearest_to_the_size():
    text = "".join("x" * 98 + "\n\n" for _ in range(100))
    assert [len(piece) for piece in split_text(iter([text]), 1020)] == [1000] * 10


def test_a_paragraph_a_line():
    """No blank lines: every line is a paragraph, and one of up to twice the size is not cut."""
    lines = [f"Line {i}, with a sentence. And another, of {'many ' * (i % 40)}words\r\n" for i in range(200)]
    pieces = list(split_text(iter(lines), 300))
    assert "".join(pieces) == "".join(lines)
    assert all(piece.endswith("\r\n") for piece in pieces)
    assert 200 < sum(map(len, pieces)) / len(pieces) < 400


def test_one_long_paragraph_is_cut_at_sentence_ends_then_at_spaces_then_anywhere():
    sentences = "Twelve words stand in this sentence, and none of them is long. " * 100
    assert all(piece.endswith("long. ") for piece in split_text(iter([sentences]), 500))
    chinese = "道可道，非常道。名可名，非常名。" * 200
    assert all(piece.endswith("。") for piece in split_text(iter([chinese]), 500))
    words = "word " * 1000
    assert all(piece.endswith("word ") for piece in split_text(iter([words]), 500))
    assert [len(piece) for piece in split_text(iter(["x" * 1234]), 500)] == [500, 734]


def test_hard_wrapped_lines_are_cut_behind_sentences():
    text = "this line goes on and on\nuntil it ends here.\n" * 100
    assert all(piece.endswith("here.\n") for piece in split_text(iter([text]), 400))


def test_pieces_are_numbered_records(read_file):
    paragraphs = [f"Paragraph {i}. " + "word " * 40 for i in range(60)]
    content = "\r\n\r\n".join(paragraphs).encode()
    rows = read_file("book.md", content, split_characters=1000)
    assert len(rows) > 5
    assert [row["record"] for row in rows] == [f"book.md#{i}" for i in range(1, len(rows) + 1)]
    assert "".join(row["text"] for row in rows).encode() == content


def test_a_large_file_streams():
    """200 MB never lie in memory: the reader asks for a chunk when it needs one."""
    asked = 0

    def chunks():
        nonlocal asked
        for _ in range(200):
            asked += 1
            yield (b"x" * 1022 + b"\n\n") * 1024

    records = read_text(chunks(), InputConfig(split_characters=4000))
    sizes = 0
    for count, record in enumerate(records, 1):
        sizes += record.chars
        assert asked <= 2 + count * 8000 // (1 << 20) + 1
    assert sizes == 200 << 20


def test_invalid_utf8(read_file):
    [row] = read_file("a.txt", b"\xef\xbb\xbfabc \xe9t\xe9")
    assert row["quarantine"] == "invalid_utf8"
    assert "byte 7 (0xe9)" in row["detail"]
    assert row["chars_in"] == 0


def test_invalid_utf8_costs_only_its_piece(read_file):
    paragraphs = [f"Paragraph {i}: ".encode() + b"\xe4\xb8\xad" * 50 + b"\n\n" for i in range(40)]
    paragraphs[17] = paragraphs[17][:-4] + b"\n\n"  # cut inside of a character
    content = b"".join(paragraphs)
    rows = read_file("a.txt", content, split_characters=200)
    [bad] = [row for row in rows if row["quarantine"]]
    assert bad["quarantine"] == "invalid_utf8"
    offset = int(re.search(r"byte (\d+) \(", bad["detail"])[1])
    assert content[:offset].decode()  # sound up to there
    with pytest.raises(UnicodeDecodeError):
        content[: offset + 4].decode()
    assert len(rows) > 10


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-32", "utf-8-sig"])
@pytest.mark.parametrize("split", [0, 10])
def test_byte_order_marks(read_file, encoding, split):
    text = "Grüße 四两 😀\n\nsecond paragraph\n"
    content = text.encode(encoding) if encoding != "utf-16-be" else b"\xfe\xff" + text.encode(encoding)
    rows = read_file("a.txt", content, split_characters=split)
    assert "".join(row["text"] for row in rows) == text
    expected = [] if encoding == "utf-8-sig" else [f"decoded:{encoding[:6]}"]
    assert all(row["repairs"] == expected for row in rows)


def test_utf16_with_damage(read_file):
    good = "line one\n\nline two\n\n".encode("utf-16")
    [row] = read_file("a.txt", good + b"\x00\xd8a\x00")  # a lone surrogate
    assert row["quarantine"] == "invalid_utf8"
    [row] = read_file("a.txt", good[:-1])
    assert row["quarantine"] == "invalid_utf8"


def test_nul_bytes_empty_and_too_long(read_file):
    [row] = read_file("a.txt", b"abc\0def")
    assert row["quarantine"] == "nul_bytes"
    assert "character 4" in row["detail"]
    [row] = read_file("a.txt", "UTF-16 without a mark".encode("utf-16-le"))
    assert row["quarantine"] == "nul_bytes"
    for content in (b"", b" \r\n\t\n", b"\xef\xbb\xbf"):
        [row] = read_file("a.txt", content)
        assert row["quarantine"] == "empty"
    [row] = read_file("a.txt", b"x" * 1001, max_record_bytes=1000)
    assert row["quarantine"] == "record_too_long"
    assert "split_characters" in row["detail"]
    [row] = read_file("a.txt", b"x" * 1000, max_record_bytes=1000)
    assert row["quarantine"] is None
