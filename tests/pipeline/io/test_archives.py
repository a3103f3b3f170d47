"""Archives: members are read as files, and nothing in them leads anywhere else or vanishes."""

import gzip
import io
import json
import lzma
import random
import resource
import stat
import tarfile
import zipfile

import fsspec
import pyarrow as pa
import pytest
import zstandard

from pipeline.io.inputs import InputError, list_inputs


def tar(members, format=tarfile.PAX_FORMAT):
    """members: name -> content, or a TarInfo without content."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=format) as archive:
        for name, content in members:
            entry = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
            entry.size = len(content or b"")
            archive.addfile(entry, io.BytesIO(content or b""))
    return file.getvalue()


def zip_(members, method=zipfile.ZIP_DEFLATED):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return file.getvalue()


MAKE = {"tar": tar, "zip": zip_}
each = pytest.mark.parametrize("kind", MAKE)


def special(name, kind, target=""):
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = kind, target
    return entry, None


def outcome(rows):
    return {row["record"]: row["text"] if row["quarantine"] is None else row["quarantine"] for row in rows}


@each
def test_members_are_read_by_their_formats(read_file, kind):
    members = [
        ("z/b.txt", b"a text"),
        ("a.jsonl", b'{"text": "one"}\nbad\n{"text": "three"}\n'),
        ("t.csv.gz", gzip.compress(b"text\nrow\n", mtime=0)),
        ("page.html", b"<p>page"),
        ("wiki_00", b'<doc id="1">\nwiki\n</doc>\n'),
        ("AA/wiki", b'<doc id="1">\nby content\n</doc>\n'),
    ]
    rows = read_file(f"a.{kind}", MAKE[kind](members))
    assert list(outcome(rows).items()) == [
        (f"a.{kind}/z/b.txt#1", "a text"),
        (f"a.{kind}/a.jsonl#1", "one"),
        (f"a.{kind}/a.jsonl#2", "invalid_json"),
        (f"a.{kind}/a.jsonl#3", "three"),
        (f"a.{kind}/t.csv.gz#1", "row"),
        (f"a.{kind}/page.html#1", "<p>page"),
        (f"a.{kind}/wiki_00#1", "wiki\n"),
        (f"a.{kind}/AA/wiki#1", "by content\n"),
    ]
    assert [row["media"] for row in rows] == ["text"] * 5 + ["html"] + ["text"] * 2


@each
def test_what_cannot_be_read_is_a_row_and_what_is_hidden_none(read_file, kind):
    members = [
        ("picture.png", b"\x89PNG"),
        ("empty.txt", b""),
        ("bad.txt", b"caf\xe9"),
        ("bad.txt.gz", b"no gzip"),
        ("__MACOSX/._a.txt", b"x"),
        (".DS_Store", b"x"),
        ("./sound.txt", b"sound"),
    ]
    found = outcome(read_file(f"a.{kind}", MAKE[kind](members)))
    assert found == {
        f"a.{kind}/picture.png#1": "unsupported_format",
        f"a.{kind}/empty.txt#1": "empty",
        f"a.{kind}/bad.txt#1": "invalid_utf8",
        f"a.{kind}/bad.txt.gz#1": "corrupt_stream",
        f"a.{kind}/sound.txt#1": "sound",
    }
    assert outcome(read_file(f"a.{kind}", MAKE[kind]([("__MACOSX/._a.txt", b"x")]))) == {f"a.{kind}#1": "empty"}


@each
def test_names_never_lead_out(read_file, kind, tmp_path):
    names = ["/etc/passwd.txt", "../../up.txt", "a/../b/./c.txt", "C:\\win\\d.txt", "..", "e.txt"]
    rows = read_file(f"a.{kind}", MAKE[kind]([(name, name.encode()) for name in names]))
    assert outcome(rows) == {
        f"a.{kind}/etc/passwd.txt#1": "/etc/passwd.txt",
        f"a.{kind}/up.txt#1": "../../up.txt",
        f"a.{kind}/a/b/c.txt#1": "a/../b/./c.txt",
        f"a.{kind}/win/d.txt#1": "C:\\win\\d.txt",
        f"a.{kind}#5": "corrupt_archive",
        f"a.{kind}/e.txt#1": "e.txt",
    }
    assert [row["repairs"] for row in rows] == [["member_path"]] * 4 + [[], []]


@each
def test_one_name_twice(read_file, kind):
    with pytest.warns(UserWarning, match="Duplicate name") if kind == "zip" else pytest.MonkeyPatch.context():
        content = MAKE[kind]([("a.txt", b"first"), ("b.txt", b"b"), ("./a.txt", b"same"), ("a.txt", b"again")])
    assert outcome(read_file(f"a.{kind}", content)) == {
        f"a.{kind}/a.txt#1": "first",
        f"a.{kind}/b.txt#1": "b",
        f"a.{kind}#3": "duplicate_member",
        f"a.{kind}#4": "duplicate_member",
    }


def test_links_and_devices(read_file):
    members = [
        special("soft.txt", tarfile.SYMTYPE, "/etc/passwd"),
        special("hard.txt", tarfile.LNKTYPE, "sound.txt"),
        special("pipe.txt", tarfile.FIFOTYPE),
        special("disk.txt", tarfile.BLKTYPE),
        special("folder", tarfile.DIRTYPE),
        ("sound.txt", b"sound"),
    ]
    rows = read_file("a.tar", tar(members))
    assert list(outcome(rows).values()) == ["special_member"] * 4 + ["sound"]
    assert "a link to 'etc/passwd'" in rows[0]["detail"]
    link = zipfile.ZipInfo("l.txt")
    link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    found = outcome(read_file("a.zip", zip_([(link, b"/etc/passwd"), ("folder/", b""), ("s.txt", b"s")])))
    assert found == {"a.zip/l.txt#1": "special_member", "a.zip/s.txt#1": "s"}


def test_encrypted_members(read_file):
    whole = bytearray(zip_([("a.txt", b"secret"), ("b.txt", b"open")]))
    whole[whole.index(b"PK\x01\x02") + 8] |= 1
    assert outcome(read_file("a.zip", bytes(whole))) == {"a.zip/a.txt#1": "encrypted", "a.zip/b.txt#1": "open"}


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_methods_of_zip(read_file, method):
    text = "".join(random.Random(1).choices("abc \n", k=3 << 20))
    [row] = read_file("a.zip", zip_([("a.txt", text.encode())], method))
    assert (row["quarantine"] or row["text"]) == ("unsupported_format" if method == zipfile.ZIP_LZMA else text)


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_and_odd_names_of_tar(read_file, format):
    long = "/".join(["folder"] * 12) + "/wörter.txt"
    names = [long, "größe.txt"] + ([] if format == tarfile.USTAR_FORMAT else ["x" * 300 + ".txt"])
    found = outcome(read_file("a.tar", tar([(name, b"x") for name in names], format)))
    assert list(found) == [f"a.tar/{name}#1" for name in names]


def test_a_name_that_is_not_utf8(read_file):
    whole = tar([(b"caf\xe9.txt".decode("utf-8", "surrogateescape"), b"x")], tarfile.GNU_FORMAT)
    assert list(outcome(read_file("a.tar", whole))) == ["a.tar/caf\\xe9.txt#1"]


@each
def test_archives_in_archives(read_file, kind):
    other = "zip" if kind == "tar" else "tar"
    inner = MAKE[other]([("deep.txt", b"deep"), ("n.tgz", gzip.compress(tar([("deepest.txt", b"deepest")])))])
    content = MAKE[kind]([(f"in.{other}", inner), ("top.txt", b"top")])
    prefix = f"a.{kind}/in.{other}"
    shallow = {f"{prefix}#1": "nested_archive", f"a.{kind}/top.txt#1": "top"}
    deep = {f"{prefix}/deep.txt#1": "deep", f"a.{kind}/top.txt#1": "top"}
    assert outcome(read_file(f"a.{kind}", content, max_archive_depth=1)) == shallow
    assert outcome(read_file(f"a.{kind}", content)) == deep | {f"{prefix}/n.tgz#1": "nested_archive"}
    found = outcome(read_file(f"a.{kind}", content, max_archive_depth=3))
    assert found == deep | {f"{prefix}/n.tgz/deepest.txt#1": "deepest"}


@each
def test_member_count(read_file, kind):
    content = MAKE[kind]([(f"{i}.txt", b"x") for i in range(9)])
    found = outcome(read_file(f"a.{kind}", content, max_members=4))
    assert found == {f"a.{kind}/{i}.txt#1": "x" for i in range(4)} | {f"a.{kind}#5": "too_many_members"}


@each
def test_total_size(read_file, kind):
    noise = random.Random(2).randbytes(400_000).hex().encode()
    content = MAKE[kind]([(f"{i}.txt", noise) for i in range(5)])
    rows = read_file(f"a.{kind}", content, max_file_bytes=1_700_000)
    assert [row["quarantine"] for row in rows] == [None, None, "decompression_bomb", "decompression_bomb"]
    assert "nor are those behind it" in rows[-1]["detail"]


def test_bombs_with_bounded_memory(read_file):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    sound = ("a.txt", b"sound")
    bomb = tar([sound, ("b.jsonl", bytes(1 << 28)), ("c.txt", b"x")])
    for name, content in (
        ("a.zip", zip_([sound, ("b.jsonl", bytes(1 << 28)), ("c.txt", b"x")])),
        ("a.tar.zst", zstandard.compress(bomb[:2048]) + zstandard.compress(bomb[2048:])),
        ("a.tar", tar([sound, ("b.jsonl.zst", zstandard.compress(bytes(1 << 28))), ("c.txt", b"x")])),
    ):
        rows = read_file(name, content)
        assert rows[0]["text"] == "sound"
        assert {row["quarantine"] for row in rows[1:]} <= {"record_too_long", "decompression_bomb", None}
        assert "decompression_bomb" in {row["quarantine"] for row in rows}
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 700_000  # making the archives takes most


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_truncated_tar(read_file, suffix, share):
    generator = random.Random(3)
    texts = [generator.randbytes(300 + i * 7).hex() for i in range(200)]
    whole = tar([(f"{i}.txt", text.encode()) for i, text in enumerate(texts)])
    whole = whole.rstrip(b"\0") + bytes(1024)  # tarfile pads to 10 KiB
    content = gzip.compress(whole) if suffix else whole
    rows = read_file(f"a.tar{suffix}", content[: int(len(content) * share)])
    sound = [row["text"] for row in rows if row["quarantine"] is None]
    assert sound == texts[: len(sound)]
    assert abs(len(sound) - 200 * share) < 100
    assert [row["quarantine"] for row in rows[len(sound) :]] == ["truncated_stream"]


def test_tar_without_end_mark(read_file):
    whole = tar([("a.txt", b"x" * 512)])[: 3 * 512]
    rows = read_file("a.tar", whole.rstrip(b"\0"))
    assert [row["quarantine"] for row in rows] == [None, "truncated_stream"]


def test_a_damaged_header_costs_one_member(read_file):
    whole = bytearray(tar([(f"{i}.txt", f"text {i}".encode()) for i in range(5)]))
    whole[2 * 1024 + 3] ^= 0xFF
    found = outcome(read_file("a.tar", bytes(whole)))
    assert found.pop("a.tar#3") == "corrupt_archive"
    assert list(found.values()) == ["text 0", "text 1", "text 3", "text 4"]


def test_tars_one_behind_the_other(read_file):
    found = outcome(read_file("a.tar", tar([("a.txt", b"a")]) + tar([("b.txt", b"b")])))
    assert found == {"a.tar/a.txt#1": "a", "a.tar/b.txt#1": "b"}


def test_hostile_tar_headers(read_file):
    def block(**fields):
        entry = tarfile.TarInfo("a.txt")
        for name, value in fields.items():
            setattr(entry, name, value)
        return entry.tobuf(tarfile.GNU_FORMAT)

    for header in (
        block(size=-512),  # an endless loop in Python's tarfile before 3.11.14
        block(size=1 << 40),
        block(type=tarfile.XHDTYPE, size=1 << 33),
        block(type=tarfile.XHDTYPE, size=512) + b"1" * 512,
        block(type=tarfile.XHDTYPE, size=512) + b"20 size=-99999999\n".ljust(512, b"\0"),
        block(type=tarfile.XHDTYPE, size=512) + b"0 size=1\n".ljust(512, b"\0"),
        block(type=tarfile.GNUTYPE_LONGNAME, size=1 << 20) + b"a" * (1 << 20),
    ):
        rows = read_file("a.tar", header + bytes(1024))
        assert {row["quarantine"] for row in rows} <= {"corrupt_archive", "truncated_stream"}


@each
@pytest.mark.parametrize("content", [b"no archive at all", b"x" * 5000, b"PK\x05\x06" + b"\xff" * 18])
def test_not_an_archive(read_file, kind, content):
    [row] = read_file(f"a.{kind}", content)
    assert row["quarantine"] in ("corrupt_archive", "truncated_stream", "too_many_members")
    [row] = read_file(f"a.{kind}", b"")
    assert row["quarantine"] == "empty"


def test_damage_in_a_zip_costs_its_member(read_file):
    generator = random.Random(4)
    texts = [generator.randbytes(2000).hex() for _ in range(4)]
    whole = bytearray(zip_([(f"{i}.txt", text.encode()) for i, text in enumerate(texts)]))
    whole[3000] ^= 0xFF  # within the second
    rows = read_file("a.zip", bytes(whole))
    assert [row["quarantine"] for row in rows] == [None, "corrupt_stream", None, None]
    assert [row["text"] for row in rows if row["text"]] == [texts[0], *texts[2:]]


def test_long_lists_in_members_stream(read_file):
    lines = b"".join(json.dumps({"text": f"line {i} " + "x" * 50}).encode() + b"\n" for i in range(20_000))
    rows = read_file("a.tar.zst", zstandard.compress(tar([("a.jsonl", lines), ("b.jsonl", lines)])))
    assert len(rows) == 40_000
    assert rows[-1]["record"] == "a.tar.zst/b.jsonl#20000"


def test_archives_and_arrow_on_an_object_store(read_input):
    table = pa.table({"text": ["row"]})
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    members = [("b.txt", b"b"), ("c.arrow", sink.getvalue())]
    fs = fsspec.filesystem("memory")
    try:
        for kind, make in MAKE.items():
            fs.pipe(f"/store/a.{kind}", make(members))
            fs.pipe(f"/store/a.{kind}.xz", lzma.compress(make(members)))
        fs.pipe("/store/c.arrow", sink.getvalue())
        found = [outcome(read_input(file)) for file in list_inputs(["memory://store"])]
        names = ["a.tar", "a.tar.xz", "a.zip", "a.zip.xz"]
        assert found == [
            *({f"{name}/b.txt#1": "b", f"{name}/c.arrow#1": "row"} for name in names),
            {"c.arrow#1": "row"},
        ]
        fs.pipe("/store/b.tar/b.txt", b"a file where a member could be")
        fs.store["/store/b.tar"] = fs.store["/store/a.tar"]  # its open() forbids what object stores allow
        with pytest.raises(InputError, match=r"could be a member of the archive 'b\.tar'"):
            list_inputs(["memory://store"])
    finally:
        fs.rm("/store", recursive=True)
