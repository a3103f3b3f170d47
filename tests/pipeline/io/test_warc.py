import gzip
import io
import random
import time
import zlib

import pytest
from fastwarc.warc import ArchiveIterator, WarcRecordType
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config import InputConfig
from pipeline.io.formats.warc import Buffer, read_warc

CONFIG = InputConfig()
PAGE = "<!DOCTYPE html><html><body><p>Page {}: grüße</p></body></html>"


def record(kind: str, block: bytes, *fields: str, uri: str = "http://example.com/", length: int | None = None) -> bytes:
    size = len(block) if length is None else length
    lines = ["WARC/1.0", f"WARC-Type: {kind}", f"WARC-Target-URI: {uri}", *fields, f"Content-Length: {size}"]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + block + b"\r\n\r\n"


def http(body: bytes, *fields: str, status: str = "200 OK") -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", *fields]).encode() + b"\r\n\r\n" + body


def page(number: int, **options) -> bytes:
    block = http(PAGE.format(number).encode(), "Content-Type: text/html; charset=utf-8")
    kind = "Content-Type: application/http; msgtype=response"
    return record("response", block, kind, uri=f"http://example.com/{number}", **options)


def wet(number: int) -> bytes:
    return record("conversion", f"Text {number}\nmore".encode(), "Content-Type: text/plain")


INFO = record("warcinfo", b"software: test\r\n", "Content-Type: application/warc-fields")
REQUEST = record("request", b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n")
IMAGE = record("response", http(b"\x89PNG" * 1000, "Content-Type: image/png"))
MISSING = record("response", http(b"<html>no</html>", "Content-Type: text/html", status="404 Not Found"))


def members(*records: bytes) -> bytes:
    return b"".join(gzip.compress(content, mtime=0) for content in records)


def read(content: bytes, size: int = 1 << 20, **config):
    return list(
        read_warc(iter([content[at : at + size] for at in range(0, len(content), size)]), InputConfig(**config))
    )


@pytest.mark.parametrize("name", ["a.warc", "a.warc.gz"])
def test_documents_alone_become_rows(read_file, name):
    records = [INFO, REQUEST, page(1), IMAGE, MISSING, record("metadata", b"a: b"), page(2)]
    rows = read_file(name, members(*records) if name.endswith("gz") else b"".join(records))
    assert [row["text"] for row in rows] == [PAGE.format(1), PAGE.format(2)]
    assert [row["record"] for row in rows] == [f"{name}#3", f"{name}#7"]
    assert {row["media"] for row in rows} == {"html"}


@pytest.mark.parametrize("name", ["a.wet", "a.wet.gz"])
def test_wet(read_file, name):
    records = [INFO, wet(1), wet(2)]
    rows = read_file(name, members(*records) if name.endswith("gz") else b"".join(records))
    assert [(row["text"], row["media"]) for row in rows] == [("Text 1\nmore", "text"), ("Text 2\nmore", "text")]


def test_an_archive_without_documents(read_file):
    [row] = read_file("a.warc.gz", members(INFO, IMAGE))
    assert row["quarantine"] == "empty"


def test_same_records_as_fastwarc():
    content = members(INFO, *(page(number) if number % 3 else wet(number) for number in range(300)), IMAGE)
    kinds = WarcRecordType.response | WarcRecordType.conversion
    theirs = [found.reader.read() for found in ArchiveIterator(io.BytesIO(content), record_types=kinds)][:-1]
    for size in (1 << 20, 100, 7):
        assert [found.text.encode() for found in read(content, size)] == theirs


def deflate(body: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(body) + packer.flush()


def chunked(body: bytes) -> bytes:
    return b"".join(b"%x;ext=1\r\n%b\r\n" % (len(body[i : i + 10]), body[i : i + 10]) for i in range(0, len(body), 10))


BODY = PAGE.format(9).encode()


@pytest.mark.parametrize(
    ("body", "fields", "repairs"),
    [
        (gzip.compress(BODY, mtime=0), ["Content-Encoding: gzip"], ()),
        (zlib.compress(BODY), ["Content-Encoding: deflate"], ()),
        (deflate(BODY), ["Content-Encoding: deflate"], ()),
        (chunked(BODY) + b"0\r\n\r\n", ["Transfer-Encoding: chunked"], ()),
        (
            chunked(gzip.compress(BODY, mtime=0)) + b"0\r\n\r\n",
            ["Transfer-Encoding: chunked", "Content-Encoding: x-gzip, identity"],
            (),
        ),
        (chunked(BODY), ["Transfer-Encoding: chunked"], ("truncated_payload",)),
        (BODY, ["Transfer-Encoding: chunked", "Content-Encoding: gzip"], ()),  # undone by the crawler
        (BODY, ["Content-Encoding: deflate"], ()),
        (BODY, ["Content-Encoding: br"], ()),
    ],
)
def test_codings(body, fields, repairs):
    [found] = read(record("response", http(body, "Content-Type: text/html", *fields)))
    assert (found.text, found.repairs) == (BODY.decode(), repairs)


@pytest.mark.parametrize(
    ("text", "encoded", "kind", "repairs"),
    [
        ("<html>Привет</html>", "koi8-r", "text/html; charset=koi8-r", ("decoded:koi8-r",)),
        ("<html><meta charset=cp1251>Привет</html>", "cp1251", "text/html", ("decoded:cp1251",)),
        ("<html>四两</html>", "utf-16", "text/html", ("decoded:utf-16",)),
        ("Все люди рождаются свободными и равными в правах.", "cp1251", "text/plain", ("decoded:cp1251",)),
    ],
)
def test_charsets(text, encoded, kind, repairs):
    [found] = read(record("response", http(text.encode(encoded), f"Content-Type: {kind}")))
    assert (found.text, found.repairs) == (text, repairs)


def test_bombs_and_long_records():
    bomb = record(
        "response", http(gzip.compress(b"<p>" + b"a" * 20_000_000), "Content-Type: text/html", "Content-Encoding: gzip")
    )
    long = record("conversion", b"x" * 1001)
    found = read(members(page(1), bomb, page(2)))
    assert [row.reason for row in found] == [None, "decompression_bomb", None]
    assert [row.reason for row in read(members(wet(1), long, wet(2)), max_record_bytes=1000)] == [
        None,
        "record_too_long",
        None,
    ]
    found = read(members(page(1), record("conversion", b"a" * 30_000_000), page(2)), max_record_bytes=1 << 30)
    assert [row.reason for row in found] == [None, "decompression_bomb", None]
    assert read(members(*[wet(1)] * 50), max_file_bytes=3000)[-1].reason == "decompression_bomb"


@pytest.mark.parametrize("place", [0, 5, 9])
@pytest.mark.parametrize("damage", ["flip", "cut", "checksum", "magic", "stray", "length"])
def test_damage_costs_its_own_record(place, damage):
    noise = random.Random(4)
    pages = [
        record("conversion", f"Text {n} {noise.randbytes(3000).hex()}".encode(), uri=f"http://example.com/{n}")
        for n in range(10)
    ]
    parts = [gzip.compress(part, mtime=0) for part in pages]
    bad = bytearray(parts[place])
    if damage == "flip":
        bad[len(bad) // 2] ^= 0x55
    elif damage == "cut":
        del bad[len(bad) // 2 :]
    elif damage == "checksum":
        bad[-6] ^= 1
    elif damage == "magic":
        bad[1] = 0
    elif damage == "stray":
        bad += b"stray bytes"
    else:
        bad[:] = gzip.compress(pages[place].replace(b"Content-Length: ", b"Content-Length: 9"), mtime=0)
    offset = sum(map(len, parts[:place]))
    parts[place] = bytes(bad)
    found = read(b"".join(parts))
    sound = [row.text for row in found if row.reason is None]
    expected = [part.split(b"\r\n\r\n", 1)[1][:-4].decode() for part in pages]
    assert sound == expected if damage == "stray" else sound == expected[:place] + expected[place + 1 :]
    [lost] = [row for row in found if row.reason is not None]
    assert lost.reason in ("corrupt_stream", "truncated_stream")
    if damage == "stray":
        offset += len(bad) - len(b"stray bytes")
    assert f"byte {offset}" in lost.detail
    if damage == "length":
        assert f"(http://example.com/{place})" in lost.detail
    assert [row.position for row in found] == sorted({row.position for row in found})


def test_damage_in_a_plain_archive():
    found = read(INFO + page(1) + page(2, length=50).replace(b"Content-Length: 50", b"Content-Length: x") + page(3))
    assert [row.reason for row in found] == [None, "corrupt_stream", None]
    assert "(http://example.com/2)" in found[1].detail
    found = read(INFO + page(1) + b"garbage\r\n" + page(2) + page(3)[:-30])
    assert [row.reason for row in found] == [None, "corrupt_stream", None, "truncated_stream"]


def test_the_time_is_linear_in_members_and_in_hostile_bytes():
    begin = time.perf_counter()
    assert len(read(members(*(wet(number) for number in range(5000))))) == 5000
    hostile = members(wet(1)) + b"\x1f\x8b\x08\x00" * 50_000
    assert [row.reason for row in read(hostile)] == [None, "corrupt_stream"]
    stored = [gzip.compress(wet(number), 0)[:-8] for number in range(3000)]  # each runs into the next one
    assert {row.reason for row in read(b"".join(stored))} <= {"corrupt_stream", None}
    assert time.perf_counter() - begin < 10


def test_memory_is_bounded():
    held = 0

    def chunks():
        for number in range(200):
            yield gzip.compress(record("response", http(bytes(1 << 20), "Content-Type: image/png")), 0)
            yield gzip.compress(page(number))

    stored = Buffer(chunks(), 4 << 20)
    while stored.skip(1 << 16):
        held = max(held, len(stored._held))
    assert held < 8 << 20
    assert len(list(read_warc(chunks(), CONFIG))) == 200


PIECES = [
    *(
        page(1),
        wet(2),
        INFO,
        IMAGE,
        members(page(3)),
        members(wet(4))[:-5],
        b"WARC/1.0\r\n",
        b"\r\n\r\n",
        b"\x1f\x8b\x08",
    ),
    b"WARC/1.0\r\nWARC-Type: response\r\nContent-Length: 99999999999\r\n\r\nHTTP/1.1 200\r\n\r\n<html>",
    record("response", http(b"fff\r\n<html>", "Transfer-Encoding: chunked", "Content-Type: text/html")),
    record("response", http(b"\x1f\x8b<html>", "Content-Encoding: gzip", "Content-Type: text/html")),
    record("response", http(b"<html>", "Content-Encoding: rot13", "Content-Type: text/html")),
]


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.one_of(st.sampled_from(PIECES), st.binary(max_size=30)), max_size=10), st.sampled_from([1, 50, 1 << 20])
)
def test_any_bytes(pieces, size):
    content = b"".join(pieces)
    found = read(content, size)
    positions = [row.position for row in found]
    assert positions == sorted(set(positions))
    assert found == read(content)
    for row in found:
        row.text.encode()
        assert row.reason is None or row.detail


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 255))
def test_any_flipped_byte_loses_little(place, mask):
    content = bytearray(members(*(wet(number) for number in range(8))))
    content[place % len(content)] ^= mask
    found = read(bytes(content))
    texts = [row.text for row in found if row.reason is None]
    assert len(texts) >= 7
    assert len(found) >= 8


def test_rows_for_arbitrary_bytes(read_file):
    for content in (b"", b"\0" * 100, b"WARC/1.0", gzip.compress(b""), gzip.compress(b"x"), b"\x1f\x8b\x08", b"abc"):
        assert all(row["quarantine"] for row in read_file("a.warc.gz", content))
