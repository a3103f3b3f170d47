import bz2
import gzip
import json
import lzma
import os
import random
import tarfile
import zipfile

import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config import InputConfig
from pipeline.doc_id import doc_id
from pipeline.io.inputs import InputFile, list_inputs
from pipeline.io.read import BATCH_BYTES, BATCH_ROWS, read_batches


def test_batches_are_bounded_by_rows_and_bytes(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps({"text": "x" * (1 + i * 7)}) + "\n" for i in range(3000)))
    [file] = list_inputs([str(path)])
    batches = list(read_batches(file, InputConfig()))
    assert [batch.num_rows for batch in batches[:2]] == [BATCH_ROWS, 475]  # 3.7 MB, then 4 MiB of longer rows
    assert sum(batch.num_rows for batch in batches) == 3000
    texts = [sum(map(len, batch.column("text").to_pylist())) for batch in batches]
    assert max(texts) <= BATCH_BYTES


def test_a_record_larger_than_a_batch_goes_alone(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps({"text": "x" * size}) + "\n" for size in (10, BATCH_BYTES + 1, 10)))
    [file] = list_inputs([str(path)])
    assert [batch.num_rows for batch in read_batches(file, InputConfig())] == [1, 1, 1]


def test_doc_id_is_the_hash_of_the_content_wherever_it_stands(read_file):
    text = "the same words\n"
    rows = read_file("a.txt", text.encode()) + read_file("b.jsonl", json.dumps({"text": text}).encode())
    rows += read_file("c.txt", text.encode("utf-16"))
    assert {row["doc_id"] for row in rows} == {doc_id(text.encode())}
    [bad] = read_file("d.txt", b"\xff\xfe\xfd"[1:])
    assert bad["doc_id"] == doc_id(b"\xfe\xfd")


@pytest.mark.parametrize("problem", ["unreadable", "unsupported_format", "link_loop"])
def test_listed_problems_are_one_row(problem, read_input):
    [row] = read_input(InputFile("/nowhere", "a/b.txt", "a", 0, problem))
    assert (row["record"], row["source"], row["quarantine"]) == ("a/b.txt#1", "a", problem)
    assert row["doc_id"] == doc_id(b"a/b.txt#1")


@pytest.mark.parametrize(
    "name",
    [
        "x.txt",
        "x.jsonl",
        "x.csv",
        "x.html",
        "x.json",
        "x.parquet",
        "x.txt.gz",
        "wiki_00",
        "x.tsv",
        "x.arrow",
        "x.tar",
        "x.tgz",
        "x.zip",
        "x.zip.xz",
    ],
)
def test_files_that_vanish_or_cannot_be_opened(tmp_path, name, read_input):
    [row] = read_input(InputFile(str(tmp_path / name), name, "s", 9))
    assert row["quarantine"] == "unreadable"
    (tmp_path / name).mkdir()  # opening a directory fails for root too
    [row] = read_input(InputFile(str(tmp_path / name), name, "s", 9))
    assert row["quarantine"] == "unreadable"


@pytest.mark.skipif(not os.path.exists("/proc/self/mem"), reason="Linux")
def test_an_error_of_the_disk_while_reading(read_input):
    [row] = read_input(InputFile("/proc/self/mem", "mem.txt", "s", 9))  # opens, and gives EIO at address 0
    assert row["quarantine"] == "unreadable"


def test_too_many_open_files_is_raised(monkeypatch, tmp_path):
    """An error of the machine must not pass for a bad file, or the output would depend on luck."""
    import resource

    path = tmp_path / "a.txt"
    path.write_text("x")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            list(read_batches(InputFile(str(path), "a.txt", "s", 1), InputConfig()))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize(
    "name",
    [
        "a.txt",
        "a.md",
        "a.html",
        "a.htm",
        "a.json",
        "a.jsonl",
        "a.ndjson",
        "a.csv",
        "a.tsv",
        "wiki_07",
        "a.parquet",
        "a.arrow",
        "a.feather",
        "a.ipc",
        "a.tar",
        "a.zip",
    ],
)
@pytest.mark.parametrize("suffix", ["", ".gz", ".zst", ".bz2", ".xz"])
def test_every_format_plain_and_compressed(read_file, name, suffix, tmp_path):
    table = pa.table({"text": ["hello world"]})
    pq.write_table(table, tmp_path / "a.parquet")
    for form, writer in (("arrow", pa.ipc.new_file), ("ipc", pa.ipc.new_stream)):
        with writer(tmp_path / f"a.{form}", table.schema) as sink:
            sink.write_table(table)
    pyarrow.feather.write_feather(table, str(tmp_path / "a.feather"))
    (tmp_path / "a.txt").write_text("hello world")
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        tar.add(tmp_path / "a.txt", "a.txt")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as zipped:
        zipped.write(tmp_path / "a.txt", "a.txt")
    content = {
        "json": b'[{"text": "hello world"}]',
        "jsonl": b'{"text": "hello world"}\n',
        "ndjson": b'{"text": "hello world"}\n',
        "csv": b"id,text\n1,hello world\n",
        "wiki_07": b'<doc id="1" url="u" title="t">\nhello world\n</doc>\n',
        "tsv": b"id\ttext\n1\thello world\n",
    }.get(name.split(".")[-1], b"hello world")
    if name.split(".")[-1] in ("parquet", "arrow", "ipc", "feather", "tar", "zip"):
        content = (tmp_path / name).read_bytes()
    compress = {
        "": bytes,
        ".gz": gzip.compress,
        ".zst": zstandard.compress,
        ".bz2": bz2.compress,
        ".xz": lzma.compress,
    }[suffix]
    [row] = read_file(name + suffix, compress(content))
    assert row["text"].strip() == "hello world"
    assert row["media"] == ("html" if "htm" in name else "text")
    inner = "/a.txt" if name in ("a.tar", "a.zip") else ""
    assert row["record"].startswith(f"{name}{suffix}{inner}#")


NAMES = (
    *("a.txt", "a.jsonl", "a.json", "a.csv", "a.html", "wiki_00", "a.parquet", "a.txt.gz", "a.jsonl.zst"),
    *("a.tsv", "a.arrow", "a.tar", "a.zip", "a.eml", "a.mbox", "a.warc", "a.warc.gz"),
)
FRAGMENTS = st.sampled_from(
    [
        b'{"text": "',
        b'"}',
        b"\n",
        b"[",
        b"]",
        b"{",
        b'"',
        b"\\",
        b"\\ud800",
        b",",
        b"text,id\n",
        b"\0",
        b"\xff\xfe",
        b"\r",
        b"\xef\xbb\xbf",
        b"\xe4\xb8",
        b'<doc id="1">\n',
        b"</doc>\n",
        b"<meta charset=koi8-r>",
        b"\n\n",
        b"null",
        b" ",
        b"PAR1",
        b"ARROW1\0\0",
        b"PK\x05\x06",
        b"WARC/1.0\r\n",
    ]
)


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(NAMES),
    st.one_of(st.binary(max_size=200), st.lists(FRAGMENTS | st.binary(max_size=3), max_size=30).map(b"".join)),
    st.booleans(),
    st.sampled_from([0, 1, 7]),
    st.sampled_from([5, 40, 1000]),
)
def test_arbitrary_bytes_never_raise_and_never_vanish(read_file, name, content, compress, split, limit):
    if compress and name.endswith(".gz"):
        content = gzip.compress(content, mtime=0)
    if compress and name.endswith(".zst"):
        content = zstandard.compress(content)
    read_file(name, content, split_characters=split, max_record_bytes=limit)  # the fixture checks every row


def test_damaged_parquet_never_raises(read_file, tmp_path):
    pq.write_table(pa.table({"text": [f"row {i}" for i in range(300)]}), tmp_path / "a", row_group_size=100)
    whole = (tmp_path / "a").read_bytes()
    generator = random.Random(5)
    sound = 0
    for _ in range(200):
        damaged = bytearray(whole)
        for _ in range(generator.choice([1, 1, 4])):
            damaged[generator.randrange(len(damaged))] ^= 1 << generator.randrange(8)
        rows = read_file("a.parquet", bytes(damaged))
        sound += sum(row["quarantine"] is None for row in rows)
    assert sound > 200 * 100
