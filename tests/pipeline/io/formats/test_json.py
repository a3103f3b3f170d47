import itertools
import json
import resource

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.io.formats.json_array import read_elements
from pipeline.io.formats.lines import read_lines


def outcome(rows):
    return [row["text"] if row["quarantine"] is None else row["quarantine"] for row in rows]


def test_lines_and_their_damage(read_file):
    content = b"\n".join(
        [
            b'{"text": "one"}',
            b"",
            b'{"text": "two", "n": NaN}\r',
            b'{"text": "cut off',
            b'{"title": "no text", "\\ud800": 1}',
            b'{"text": 17}',
            b'{"text": null}',
            b'{"content": "other field", "text": "first field"}',
            b'{"content": ["a", "b"]}',
            b'{"text": ["a", 2]}',
            b'{"text": "caf\xe9"}',
            b'{"text": "nul \\u0000 inside"}',
            b'{"text": "raw \0 nul"}',
            b'{"text": "pair \\ud83d\\ude00 and lone \\ud83d."}',
            b'"a string"',
            b"42",
            b"[" * 100_000,
            b'{"text": "  "}',
            b'{"text": "last"}',
        ]
    )
    rows = read_file("a.jsonl", content)
    assert outcome(rows) == [
        "one",
        "two",
        "invalid_json",
        "missing_text",
        "not_text",
        "not_text",
        "first field",
        "a\nb",
        "not_text",
        "invalid_utf8",
        "nul_bytes",
        "nul_bytes",
        "pair 😀 and lone \ufffd.",
        "a string",
        "not_text",
        "invalid_json",
        "empty",
        "last",
    ]
    assert [int(row["record"].split("#")[1]) for row in rows] == [1, *range(3, 20)]
    details = {row["record"]: row["detail"] for row in rows}
    assert "line 4 at byte" in details["a.jsonl#4"]
    assert "column 10" in details["a.jsonl#4"]
    assert "looked for text, content; found title" in details["a.jsonl#5"]
    assert "'text' is a number (17)" in details["a.jsonl#6"]
    assert f"byte {content.index(0xE9)} (0xe9)" in details["a.jsonl#11"]
    assert rows[12]["repairs"] == ["surrogates"]


def test_text_fields_from_the_config(read_file):
    line = b'{"text": "t", "body": "b", "title": "x"}'
    assert outcome(read_file("a.jsonl", line, text_fields=("none", "body", "text"))) == ["b"]


def test_a_line_longer_than_the_limit(read_file):
    lines = [b'{"text": "before"}', b'{"text": "' + b"x" * 5000 + b'"}', b'{"text": "behind"}']
    rows = read_file("a.jsonl", b"\n".join(lines), max_record_bytes=1000)
    assert outcome(rows) == ["before", "record_too_long", "behind"]
    assert f"{len(lines[1])} bytes" in rows[1]["detail"]
    assert outcome(read_file("a.jsonl", lines[1], max_record_bytes=len(lines[1])))[0].startswith("xxx")


def test_a_very_long_line_is_never_held(read_file):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    huge = b'{"text": "a"}\n{"text": "' + b"x" * 300_000_000 + b'"}\n{"text": "b"}\n'
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert outcome(read_file("a.jsonl", huge)) == ["a", "record_too_long", "b"]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - max(before, held) < 60_000


def test_utf16_lines(read_file):
    content = '{"text": "四两"}\n{"text": "é"}\n'.encode("utf-16")
    rows = read_file("a.jsonl", content)
    assert outcome(rows) == ["四两", "é"]
    assert rows[0]["repairs"] == ["decoded:utf-16"]
    assert outcome(read_file("a.jsonl", '\ufeff{"text": "x"}'.encode())) == ["x"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('[{"text": "a"}, {"text": "b"}]', ["a", "b"]),
        ('  \n[\n "a",\n ["b"], "c"\n]\n', ["a", "not_text", "c"]),
        ('{\n "text": "one object"\n}', ["one object"]),
        ('{"text": "one line"}', ["one line"]),
        ('"just a string"', ["just a string"]),
        ('{"text": "JSON lines"}\n{"text": "called .json"}\n', ["JSON lines", "called .json"]),
        ('\ufeff[{"text": ["a", "b"]}]', ["a\nb"]),
        ("[]", ["empty"]),
        ("[ ]", ["empty"]),
        ("", ["empty"]),
        ("  \n ", ["empty"]),
        ("null", ["not_text"]),
        ('{\n "text": \n', ["invalid_json"]),
        ('[{"text": "a"}, {"text" "b"}, {"text": "c"}]', ["a", "invalid_json", "c"]),
        ('[{"text": "a"} {"text": "b"}, {"text": "c"}]', ["invalid_json", "c"]),
        ('[{"text": "a"}, {"text": "b"', ["a", "invalid_json"]),
        ('[{"text": "a"}, ', ["a", "invalid_json"]),
        ('[{"text": "a"},]', ["a", "invalid_json"]),
        ('[{"text": "a"}] more', ["a", "invalid_json"]),
        ('[{"text": "\\u0000"}, {"text": "\\udc00"}]', ["nul_bytes", "\ufffd"]),
        ('[{"text": "]}, {\\"["}]', [']}, {"[']),
        ("[" * 50_000 + "]" * 50_000, ["invalid_json"]),
    ],
)
def test_documents(read_file, content, expected):
    assert outcome(read_file("a.json", content.encode())) == expected


def test_documents_and_elements_longer_than_the_limit(read_file):
    long = {"text": "x" * 3000}
    small = [{"text": f"small {i}"} for i in range(400)]
    rows = read_file("a.json", json.dumps([*small, long, *small]).encode(), max_record_bytes=1000)
    assert outcome(rows) == [row["text"] for row in small] + ["record_too_long"] + [row["text"] for row in small]
    assert outcome(read_file("a.json", json.dumps(long, indent=1).encode(), max_record_bytes=1000)) == [
        "record_too_long"
    ]


VALUES = st.recursive(
    st.none() | st.integers() | st.text(alphabet='ab"\\[]{},\n\u4e2d', max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=12,
)


@settings(max_examples=200, deadline=None)
@given(st.lists(VALUES, max_size=6), st.integers(1, 30), st.sampled_from([None, 1]), st.booleans(), st.integers(1, 99))
def test_elements_are_those_of_the_parser_whatever_the_chunks(values, step, indent, ascii_only, limit):
    content = json.dumps(values, indent=indent, ensure_ascii=ascii_only).encode()
    chunks = [content[i : i + step] for i in range(0, len(content), step)]
    elements = list(read_elements(iter(chunks), 1 << 20))
    assert [json.loads(element.content) for element in elements] == values
    assert all(content.startswith(element.content, element.offset) for element in elements)
    limited = list(read_elements(iter(chunks), limit))
    assert [element.offset for element in limited] == [element.offset for element in elements]
    for whole, cut in zip(elements, limited, strict=True):
        assert (cut.error is not None) == (len(whole.content) > limit)
        assert cut.content == whole.content[:limit]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.binary(max_size=9) | st.just(b"\n"), max_size=20), st.integers(0, 12), st.integers(0, 3))
def test_lines_are_those_of_split_whatever_the_chunks(chunks, limit, start):
    content = b"".join(chunks)
    expected = content.split(b"\n")
    if not expected[-1]:
        expected.pop()
    offsets = itertools.accumulate((len(line) + 1 for line in expected), initial=start)
    lines = list(read_lines(iter(chunks), limit, start))
    assert [(line.number, line.content) for line in lines] == [(i, e[:limit]) for i, e in enumerate(expected, 1)]
    assert [line.offset for line in lines] == list(offsets)[:-1]
    assert [line.error is not None for line in lines] == [len(e) > limit for e in expected]
