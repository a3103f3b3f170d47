"""Broken files from seeds: what they hold, in which form, and how they are damaged.

`case(seed)` makes the same file in every run, so a seed is all that a failure needs to be seen again.
"""

import bz2
import gzip
import io
import json
import lzma
import random
import sqlite3
import tarfile
import zipfile
from collections.abc import Callable
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from pipeline.io.formats.names import FORMATS

CONFIG: dict[str, Any] = {"max_record_bytes": 200_000, "max_file_bytes": 20_000_000, "max_members": 40}


class Case(NamedTuple):
    name: str
    content: bytes
    config: dict[str, Any]
    texts: list[str] | None
    """Of a file that was not damaged: what must come out."""


def prose(r: random.Random) -> str:
    words = [
        "the",
        "wörter",
        "слова",
        "单词",
        "كلمات",
        "and",
        "7.5",
        "line\nbreak",
        "\u202eover\u202c",
        "z\u0301\u0338\u0353\u0345",
    ]
    return "x" + " ".join(r.choice(words) for _ in range(r.randrange(1, 60)))


def ugly(r: random.Random) -> str:
    return r.choice(
        [
            prose,
            lambda r: "x" * r.choice([1, 1000, 250_000]),  # one long word
            lambda r: "".join(
                chr(r.choice([r.randrange(1, 0xD800), r.randrange(0xE000, 0x110000)])) for _ in range(50)
            ),
            lambda r: "e" + "".join(chr(r.randrange(0x300, 0x36F)) for _ in range(500)),
            lambda r: r.choice(["", " ", "\n" * 50, "\0", "a\0b", "\ufeff", "mid\ufeffdle", "\r\r\n", "\u2028"]),
        ]
    )(r)


def escapes(r: random.Random) -> bytes:
    """One line of JSON as no sound writer makes it."""
    depth = r.choice([10, 2000, 60_000])
    return r.choice(
        [
            b'{"text": "\\ud800 alone \\udc00"}',
            b"[" * depth,
            b'{"text": ' * depth + b'"x"' + b"}" * depth,
            b'{"text": ' + b"9" * 5000 + b"}",
            b'{"text": NaN, "content": "x"}',
            b'{"text": "a", "text": "b"}',
            b'{"body": {"text": ["a", "b", null]}}',
            b'{"text": "open',
            b'"\xc0\x80\xe0\x80\xaf\xf0\x80\x80\x80\xed\xa0\x80"',  # overlong and a surrogate as UTF-8
        ]
    )


def as_text(r: random.Random, texts: list[str]) -> bytes:
    return "\n\n".join(texts).encode(r.choice(["utf-8", "utf-8-sig", "utf-16", "utf-32", "utf-16-le"]), "replace")


def as_html(r: random.Random, texts: list[str]) -> bytes:
    charset = r.choice(["utf-8", "koi8-r", "shift_jis", "windows-1252", "no-such", "utf-16"])
    return f"<html><meta charset={charset}><p>{'<p>'.join(texts)}".encode()


def as_mail(r: random.Random, texts: list[str]) -> bytes:
    head = "From a@b.c Sat Jan  3 01:05:34 1996\nFrom: a@b.c\nTo: d\nSubject: =?koi8-r?B?8NLJ18XU?=\nDate: now\n"
    kind = r.choice(["text/plain; charset=nonsense", "multipart/mixed; boundary=b", "text/html", 'text/plain; "'])
    return "".join(f"{head}Content-Type: {kind}\n\n--b\n\n{text}\n--b--\n\n" for text in texts).encode()


def as_warc(r: random.Random, texts: list[str]) -> bytes:
    kinds = ["response", "conversion", "resource", "request", "nonsense"]
    records = []
    for text in texts:
        kind, body = r.choice(kinds), text.encode()
        if kind == "response":
            transfer = r.choice(["Content-Encoding: gzip", "Transfer-Encoding: chunked", "X: y"])
            body = f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n{transfer}\r\n\r\n".encode() + body
        head = f"WARC/1.0\r\nWARC-Type: {kind}\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\n\r\n"
        records.append(head.encode() + body + b"\r\n\r\n")
    return b"".join(map(r.choice([bytes, PACK[".gz"]]), records))


def as_jsonl(r: random.Random, texts: list[str]) -> bytes:
    return b"".join(json.dumps({"text": text}, ensure_ascii=r.random() < 0.5).encode() + b"\n" for text in texts)


def as_json(r: random.Random, texts: list[str]) -> bytes:
    return json.dumps([{"text": text} for text in texts], indent=r.choice([None, 2])).encode()


def as_csv(r: random.Random, texts: list[str]) -> bytes:
    return b"id,text\n" + b"".join(b'%d,"%s"\n' % (i, t.replace('"', '""').encode()) for i, t in enumerate(texts))


def as_tsv(r: random.Random, texts: list[str]) -> bytes:
    return b"id\ttext\n" + b"".join(b"%d\t%s\n" % (i, " ".join(t.split()).encode()) for i, t in enumerate(texts))


def as_wiki(r: random.Random, texts: list[str]) -> bytes:
    return "".join(f'<doc id="{i}">\n{text}\n</doc>\n' for i, text in enumerate(texts)).encode()


def as_parquet(r: random.Random, texts: list[str]) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table({"text": texts, "id": range(len(texts))}), sink, row_group_size=3, compression="zstd")
    return sink.getvalue()


def as_arrow(r: random.Random, texts: list[str]) -> bytes:
    sink = io.BytesIO()
    table = pa.table({"id": range(len(texts)), "text": texts})
    writer, compression = r.choice([pa.ipc.new_file, pa.ipc.new_stream]), r.choice([None, "lz4", "zstd"])
    with writer(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression=compression)) as out:
        out.write_table(table, max_chunksize=3)
    return sink.getvalue()


def as_sqlite(r: random.Random, texts: list[str]) -> bytes:
    """Its bytes come from `serialize`: no file is made."""
    connection = sqlite3.connect(":memory:")
    connection.execute(f"PRAGMA page_size = {r.choice([512, 1024, 4096])}")
    connection.execute(f"PRAGMA encoding = '{r.choice(['UTF-8', 'UTF-16le', 'UTF-16be'])}'")
    extra = r.choice(["", "", ", UNIQUE (text)", ", n AS (length(text))"])
    connection.execute(f"CREATE TABLE t (id INTEGER PRIMARY KEY, text TEXT{extra})")
    if r.random() < 0.3:
        connection.execute("CREATE VIEW v AS SELECT * FROM t")
        connection.execute("CREATE VIRTUAL TABLE f USING fts5(text)")
    for text in texts:
        connection.execute("INSERT OR IGNORE INTO t (text) VALUES (?)", [text])
    connection.commit()
    content = connection.serialize()
    connection.close()
    return content


def as_epub(r: random.Random, texts: list[str]) -> bytes:
    manifest = "".join(
        f'<item id="i{i}" href="p{i}.xhtml" media-type="application/xhtml+xml"/>' for i in range(len(texts))
    )
    order = r.sample(range(len(texts)), len(texts))
    spine = "".join(f'<itemref idref="i{i}"/>' for i in order)
    entity = r.choice(["", "", "<!DOCTYPE package [<!ENTITY a 'aaaa'><!ENTITY b '&a;&a;&a;&a;'>]>"])
    members = {
        "META-INF/container.xml": '<container><rootfiles><rootfile full-path="O/c.opf"/></rootfiles></container>',
        "O/c.opf": f"{entity}<package><manifest>{manifest}</manifest><spine>{spine}</spine></package>",
        **{f"O/p{i}.xhtml": f"<html><head><title/></head><p>{text}</p></html>" for i, text in enumerate(texts)},
    }
    if r.random() < 0.1:
        members["META-INF/encryption.xml"] = '<e><EncryptedData><CipherReference URI="O/p0.xhtml"/></EncryptedData></e>'
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", r.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])) as z:
        for name, content in members.items():
            z.writestr(zipfile.ZipInfo(name), content)
    return sink.getvalue()


FORMS: dict[str, Callable[[random.Random, list[str]], bytes]] = {
    ".txt": as_text,
    ".html": as_html,
    ".eml": as_mail,
    ".mbox": as_mail,
    ".warc": as_warc,
    ".warc.gz": as_warc,
    ".jsonl": as_jsonl,
    ".json": as_json,
    ".csv": as_csv,
    ".tsv": as_tsv,
    "_00": as_wiki,
    ".parquet": as_parquet,
    ".arrow": as_arrow,
    ".db": as_sqlite,
    ".epub": as_epub,
}
EXACT = (".jsonl", ".json", ".csv", ".parquet", ".arrow")
"""Formats that give each text back as it is."""
PACK = {
    "": bytes,
    ".gz": lambda data: gzip.compress(data, 1, mtime=0),
    ".zst": zstandard.compress,
    ".bz2": lambda data: bz2.compress(data, 1),
    ".xz": lambda data: lzma.compress(data, preset=0),
}
NAMES = (
    "/etc/{}",
    "../../{}",
    "a/../{}",
    "./{}",
    "C:\\{}",
    "{}/",
    "caf\udce9/{}",
    "x" * 300 + "/{}",
    "\n\t\x1b[31m{}",
    "#{}#1",
)


def plain(r: random.Random, sound: bool) -> tuple[str, bytes, list[str]]:
    suffix = r.choice(sorted(FORMS))
    texts = [prose(r) if sound else ugly(r) for _ in range(r.randrange(1, 9))]
    content = FORMS[suffix](r, texts)
    if not sound and suffix in (".jsonl", ".json") and r.random() < 0.7:
        content = b"\n".join([escapes(r), *content.splitlines(), escapes(r)])
    pack = r.choice(["", "", "", "", *PACK])
    name = f"wiki{suffix}" if suffix == "_00" else f"n{r.randrange(100)}{suffix}"
    return name + pack, PACK[pack](content), texts


def entries(r: random.Random, sound: bool, depth: int) -> tuple[list[tuple[str, bytes]], list[str]]:
    found, texts = [], []
    for i in range(r.randrange(1, 6)):
        name, content, inner = archive(r, sound, depth + 1) if r.random() < 0.25 and depth < 4 else plain(r, sound)
        if not sound:
            name = r.choice([*NAMES, "{}", "{}", "{}", "__MACOSX/._{}", "same.txt", "same.txt"]).format(name)
            content = damaged(r, content) if r.random() < 0.3 else content
        found.append((f"{i}/{name}" if sound else name, content))
        texts += inner
    return found, texts


def archive(r: random.Random, sound: bool, depth: int = 1) -> tuple[str, bytes, list[str]]:
    members, texts = entries(r, sound, depth)
    sink = io.BytesIO()
    if r.random() < 0.5:
        with zipfile.ZipFile(sink, "w", r.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])) as z:
            for number, (name, content) in enumerate(members):
                if name not in z.namelist():  # zipfile warns
                    name = name.encode("utf-8", "replace").decode()
                    z.writestr(zipfile.ZipInfo(name[:60_000] or str(number)), content)
        content = bytearray(sink.getvalue())
        if not sound and r.random() < 0.2:
            content[content.index(b"PK\x01\x02") + 8] |= 1  # encrypted
        return f"n{r.randrange(100)}.zip", bytes(content), texts
    form = r.choice([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
    with tarfile.open(fileobj=sink, mode="w", format=form, errors="surrogateescape") as t:
        for name, content in members:
            entry = tarfile.TarInfo(name)
            if not sound and r.random() < 0.15:
                entry.type = r.choice([tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, b"Z"])
                entry.linkname, content = r.choice(["/etc/passwd", "../..", name, "loop"]), b""
            entry.size = len(content)
            t.addfile(entry, io.BytesIO(content))
    pack = r.choice(sorted(PACK))
    return f"n{r.randrange(100)}.tar{pack}", PACK[pack](sink.getvalue()), texts


def damaged(r: random.Random, data: bytes) -> bytes:
    for _ in range(r.choice([1, 1, 1, 3])):
        at = r.randrange(len(data) + 1)
        end = min(len(data), at + r.choice([1, 8, 600]))
        kind = r.randrange(8)
        if kind == 0:
            data = data[:at]
        elif kind <= 2 and data:
            flips = bytearray(data)
            for _ in range(r.choice([1, 2, 20])):
                flips[r.randrange(len(flips))] ^= 1 << r.randrange(8)
            data = bytes(flips)
        elif kind == 3:
            data = data[:at] + data[end:]
        elif kind == 4:
            data = data[:at] + data[at:end] + data[at:]
        elif kind == 5:
            data = data[at:] + data[:at]
        elif kind == 6:
            junk = [b"\xef\xbb\xbf", b"\xff\xfe", b"\xc0\xaf", b"\xed\xa0\x80", b"\0" * 512, b'"', b"\n", b"\x1b[2J"]
            data = data[:at] + r.choice([*junk, r.randbytes(30)]) + data[at:]
        else:
            data = data[:at] + bytes(end - at) + data[end:]
    return data


def case(seed: int) -> Case:
    r = random.Random(seed)
    sound = r.random() < 0.15
    make = archive if r.random() < 0.45 else plain
    name, content, texts = make(r, sound)
    config = CONFIG | {"split_characters": r.choice([0, 0, 30, 500]), "max_archive_depth": r.choice([1, 2, 5])}
    if sound:
        exact = make is plain and any(form in name for form in EXACT)
        return Case(name, content, config, texts if exact else None)
    if r.random() < 0.7:
        content = damaged(r, content)
    if r.random() < 0.2:
        name = name.split(".")[0] + r.choice([*FORMATS, *PACK, ".tgz", ".bin"]) + r.choice(sorted(PACK))
    if r.random() < 0.3:
        config["text_fields"] = r.choice([("body.text", "text"), ("nothing",), ("id",), ("text.text.text",)])
    if r.random() < 0.1:
        config |= r.choice(
            [{"max_record_bytes": 1}, {"max_record_bytes": 50}, {"max_members": 2}, {"max_file_bytes": 999}]
        )
    return Case(name, content, config, None)


def dataset_folder(r: random.Random, folder) -> dict[str, int]:
    """What `save_to_disk` writes, damaged; name of each data file -> its bytes."""
    (folder / "dataset_info.json").write_bytes(damaged(r, b'{"features": {"text": {"dtype": "string"}}}'))
    (folder / "state.json").write_bytes(damaged(r, b'{"_data_files": [{"filename": "data-00000-of-00002.arrow"}]}'))
    (folder / "README.md").write_bytes(damaged(r, b"---\nlicense: mit\nconfigs:\n- x\n---\n# Data\n"))
    sizes = {}
    for number in range(r.randrange(1, 3)):
        name = f"data-{number:05d}-of-00002.arrow"
        content = damaged(r, as_arrow(r, [ugly(r) for _ in range(5)]))
        (folder / name).write_bytes(content)
        sizes[name] = len(content)
    return sizes
