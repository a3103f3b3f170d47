"""One corpus with every kind of damage beside good documents, and the command line before hostile input."""

import gzip
import json
import os
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from pipeline.config import make_config
from pipeline.run import Request, prepare
from schemas.manifest import read_manifest

pytestmark = pytest.mark.xdist_group("bad_input")

ROOT = Path(__file__).parent.parent.parent
LIMIT = 60_000
TOML = f"""
[input]
max_record_bytes = {LIMIT}
max_file_bytes = 4_000_000
max_quarantined = 0.5
unit_bytes = 400_000
[vocabulary]
size = 1000
sample_bytes = 200_000
[shards]
shard_tokens = 20_000
"""
ESC, CSI, OVERRIDE = "\x1b[31m", "\x9b31m", "\u202e"


def passages() -> list[str]:
    """Different pieces of the speeches and of Areopagitica, each good enough to be kept."""
    found = []
    for path in sorted((ROOT / "samples/sotu").glob("*.txt")) + sorted((ROOT / "samples/milton").glob("areo*.txt")):
        words = path.read_text(encoding="utf-8").split()
        found += [" ".join(words[at : at + 150]) + "." for at in range(0, len(words) - 150, 150)]
    return found


def lines(texts: list[str]) -> bytes:
    return b"".join(json.dumps({"text": text}).encode() + b"\n" for text in texts)


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]


def noise(size: int) -> bytes:
    """Bytes that do not compress, the same in every run."""
    return b"".join(i.to_bytes(4, "big") for i in (pow(3, k, 4294967291) for k in range(size // 4)))


class Corpus:
    """Good passages are handed out one by one, so that no document is a copy of another."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._passages = iter(passages())
        self.kept: dict[str, int] = {}
        """File -> good records written into it."""

    def take(self, count: int) -> list[str]:
        return [next(self._passages) for _ in range(count)]

    def write(self, name: str, content: bytes, kept: int = 0) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        self.kept[name] = kept


def damage(root: Path) -> Corpus:
    corpus = Corpus(root)
    take, write = corpus.take, corpus.write
    write("good.jsonl", lines(take(60)), 60)
    zstd = zstandard.ZstdCompressor(write_checksum=True).compress  # as the command `zstd` does

    # Truncated: 8 lines are whole in what is left, for what does not compress lies behind them.
    for suffix, compress in (("gz", gzip.compress), ("zst", zstd)):
        head = compress(lines(take(8)))
        tail = compress(lines([noise(9000).hex()]))
        write(f"cut.jsonl.{suffix}", head + tail[: len(tail) // 2], 8)
        write(f"flip.jsonl.{suffix}", compress(lines(take(8))) + flipped(tail, len(tail) // 2), 8)
    write("members.jsonl.gz", b"".join(gzip.compress(lines(take(1))) for _ in range(12)), 12)

    buffer = pa.BufferOutputStream()
    table = pa.table({"text": take(16)})
    pq.write_table(
        table,
        buffer,
        row_group_size=4,
        compression="none",
        write_page_checksum=True,
        use_dictionary=False,
        write_statistics=False,
    )
    parquet = buffer.getvalue().to_pybytes()
    write("cut.parquet", parquet[: len(parquet) * 2 // 3])
    words = table["text"].to_pylist()[5].encode()  # a row of the second group
    write("flip.parquet", flipped(parquet, parquet.index(words) + 9), 12)
    same = pa.DictionaryArray.from_arrays(pa.array([0] * 2000, pa.int32()), pa.array([take(1)[0] * 9]))
    pq.write_table(pa.table({"text": same}), root / "repeated.parquet", compression="zstd")
    one_row = pa.ListArray.from_arrays(pa.array([0, 2000], pa.int32()), same)
    pq.write_table(pa.table({"text": one_row}), root / "repeated-in-a-row.parquet", compression="zstd")

    good = take(2)
    bad = b'{"text": "caf\xe9 is not UTF-8"}\n'
    write("latin.jsonl", lines(good[:1]) + bad + lines(good[1:]), 2)
    write("latin.txt", b"The caf\xe9 is closed. " + take(1)[0].encode(), 1)
    write("damaged.txt", b"The caf\xe9 is closed. " + "Das Café ist geöffnet. ".encode() * 10)
    for encoding, mark in (("utf-16-le", b"\xff\xfe"), ("utf-16-be", b"\xfe\xff")):
        write(f"{encoding}.txt", mark + take(1)[0].encode(encoding), 1)
    write("nul.txt", take(1)[0].encode().replace(b" ", b"\0", 1))
    good = take(3)
    write("nul.jsonl", lines([good[0], "a\0b", good[1]]) + b'{"text": "\0"}\n' + lines(good[2:]), 3)
    write("empty.txt", b"")
    write("empty.jsonl.gz", gzip.compress(b""))
    write("blank.txt", b" \n\n\t\n")

    good = take(6)
    parts = [
        b"{oops\n",
        b'{"title": "no text"}\n',
        b'{"text": 12}\n',
        b'{"text": "' + b"long " * LIMIT + b'"}\n',
        b"[]\n",
    ]
    write("rows.jsonl", b"".join(a + lines([b]) for a, b in zip([b"", *parts], good, strict=True)), 6)
    good = take(2)
    surrogates = json.dumps({"text": good[0]})[:-2] + ' \\ud83d and \\udc00 alone."}\n'
    write("surrogates.jsonl", surrogates.encode() + lines(good[1:]), 2)
    good = take(2)
    write("rows.csv", f'id,text\n1,"{good[0]}"\n2,a,b\n3,"{good[1]}"\n'.replace("“", "'").encode(), 2)

    for suffix, compress in (("gz", gzip.compress), ("zst", zstd)):
        head = lines(take(3))
        write(f"ratio.jsonl.{suffix}", compress(head) + compress(b"\n" * 3_500_000), 3)
    wide = b"".join(noise(40_000).hex().encode() + b"\n" for _ in range(60))
    write("size.jsonl.gz", gzip.compress(lines(take(3)) + wide), 3)

    (root / "loop").mkdir()
    write("loop/inside.txt", take(1)[0].encode(), 1)
    (root / "loop" / "again").symlink_to("..")
    (root / "self.txt").symlink_to("self.txt")
    (root / "nowhere.txt").symlink_to("nothing-here")
    (root / "disk.txt").symlink_to("/proc/self/mem")  # a file that gives an I/O error when it is read
    os.mkfifo(root / "pipe.txt")
    write("directory.txt/inside.txt", take(1)[0].encode(), 1)
    write("movie.mkv", b"\x1aE\xdf\xa3")
    write(os.fsdecode(b"caf\xe9 #1\n[x]*::y.txt"), take(1)[0].encode(), 1)
    return corpus


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Corpus:
    root = tmp_path_factory.mktemp("bad")
    return damage(root)


@pytest.fixture(scope="module")
def output(corpus, tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("out") / "data"
    started = time.monotonic()
    prepare(Request((str(corpus.root),), str(directory), make_config(tomllib.loads(TOML))))
    assert time.monotonic() - started < 120
    return directory


@pytest.fixture(scope="module")
def audit(output) -> dict[str, list[dict]]:
    """File -> its audit rows."""
    rows: dict[str, list[dict]] = {}
    for path in sorted((output / "audit").iterdir()):
        for row in pa.ipc.open_file(pa.memory_map(str(path))).read_all().to_pylist():
            rows.setdefault(row["record"].rpartition("#")[0], []).append(row)
    return rows


STREAM = "stored bytes"
EXPECTED = [
    # file, reason, records of that reason, what the detail must say
    ("cut.jsonl.gz", "truncated_stream", 1, ("line 9 at byte", STREAM, "cut off")),
    ("cut.jsonl.zst", "truncated_stream", 1, ("line 9 at byte", STREAM, "cut off")),
    ("cut.parquet", "corrupt_parquet", 1, ("cannot be opened as Parquet",)),
    # The check sum stands at the end of a stream: the damaged line itself was read by then.
    ("flip.jsonl.gz", "corrupt_stream", 1, ("line 10 at byte", STREAM, "CRC")),
    ("flip.jsonl.zst", "corrupt_stream", 1, ("line ", STREAM, "checksum")),
    ("flip.parquet", "corrupt_parquet", 1, ("row group 2, rows 5 to 8",)),
    ("repeated.parquet", "decompression_bomb", 1, ("row group 1, rows", "max_expansion")),
    ("repeated-in-a-row.parquet", "decompression_bomb", 1, ("row group 1, rows 1 to 1", "max_expansion")),
    ("latin.jsonl", "invalid_utf8", 1, ("line 2 at byte", "0xe9")),
    ("damaged.txt", "invalid_utf8", 1, ("byte 7 (0xe9)",)),
    ("nul.txt", "nul_bytes", 1, ("NUL at character",)),
    ("nul.jsonl", "nul_bytes", 2, ("line 2 at byte", "NUL at character 2")),
    ("empty.txt", "empty", 1, ("no text",)),
    ("empty.jsonl.gz", "empty", 1, ("holds no record",)),
    ("blank.txt", "empty", 1, ("no text",)),
    ("rows.jsonl", "invalid_json", 1, ("line 2 at byte", "line 1 column 2")),
    ("rows.jsonl", "missing_text", 1, ("line 4 at byte", "found title")),
    ("rows.jsonl", "not_text", 2, ("line 6 at byte", "a number (12)")),
    ("rows.jsonl", "record_too_long", 1, ("line 8 at byte", f"max_record_bytes = {LIMIT}")),
    ("rows.csv", "invalid_csv", 1, ("row 2 from line 3 at byte", "3 fields where the header has 2")),
    ("ratio.jsonl.gz", "decompression_bomb", 1, ("line ", "max_expansion = 200")),
    ("ratio.jsonl.zst", "decompression_bomb", 1, ("line ", "max_expansion = 200")),
    ("size.jsonl.gz", "decompression_bomb", 1, ("line ", "max_file_bytes = 4000000")),
    ("loop/again", "link_loop", 1, ("read already",)),
    ("self.txt", "link_loop", 1, ("read already",)),
    ("nowhere.txt", "unreadable", 1, ("a link that leads nowhere",)),
    ("disk.txt", "unreadable", 1, ("Input/output error",)),
    ("pipe.txt", "unsupported_format", 1, ("no regular file",)),
    ("movie.mkv", "unsupported_format", 1, ("known are .txt",)),
]


@pytest.mark.parametrize(("name", "reason", "count", "said"), EXPECTED, ids=[f"{e[0]}-{e[1]}" for e in EXPECTED])
def test_damage_is_kept_aside_with_reason_and_position(audit, name, reason, count, said):
    rows = [row for row in audit[name] if row["rule"] == reason]
    assert len(rows) == count, audit[name]
    assert all(row["verdict"] == "quarantined" and row["excerpt"] is None for row in rows)
    for words in said:
        assert words in rows[0]["detail"]


def test_every_damaged_file_is_expected(audit):
    quarantined = {name for name, rows in audit.items() if any(row["verdict"] == "quarantined" for row in rows)}
    size = {"size.jsonl.gz"}  # its long lines are no JSON besides
    found = {
        (n, r["rule"]) for n, rows in audit.items() if n not in size for r in rows if r["verdict"] == "quarantined"
    }
    assert found == {(name, reason) for name, reason, _, _ in EXPECTED if name not in size}
    assert quarantined == {name for name, *_ in EXPECTED}


def test_the_rest_of_every_file_is_used(corpus, audit, output):
    for name, count in corpus.kept.items():
        shown = os.fsencode(name).decode("utf-8", "backslashreplace")
        kept = [row for row in audit[shown] if row["verdict"] == "kept"]
        assert len(kept) == count, (name, audit[shown])
    documents = set()
    for path in [*(output / "train").iterdir(), *(output / "valid").iterdir()]:
        documents.update(pa.ipc.open_file(pa.memory_map(str(path))).read_all()["doc_id"].to_pylist())
    assert documents == {row["doc_id"] for rows in audit.values() for row in rows if row["verdict"] == "kept"}


def test_repairs_are_named(audit):
    for name in ("utf-16-le.txt", "utf-16-be.txt"):
        assert "decoded:utf-16" in audit[name][0]["repairs"]
    assert "decoded:cp1252" in audit["latin.txt"][0]["repairs"]
    assert "surrogates" in audit["surrogates.jsonl"][0]["repairs"]


def test_records_add_up(audit, output):
    manifest = read_manifest(output)
    rows = [row for of_file in audit.values() for row in of_file]
    assert manifest.counts.balanced()
    assert all(counts.balanced() for counts in manifest.sources.values())
    assert manifest.counts.input == len(rows) == len({row["record"] for row in rows})
    assert manifest.counts.quarantined == sum(row["verdict"] == "quarantined" for row in rows)


def test_the_limit_on_quarantine_stops_and_names_the_worst(corpus, tmp_path, siliang_pipeline):
    config = tmp_path / "c.toml"
    config.write_text(TOML.replace("max_quarantined = 0.5", "max_quarantined = 0.05"))
    done = siliang_pipeline("prepare", corpus.root, "--output", tmp_path / "o", "--config", config)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "size.jsonl.gz (" in done.stderr


def test_a_bomb_alone(tmp_path, siliang_pipeline):
    (tmp_path / "bomb.txt.gz").write_bytes(gzip.compress(b"\0" * 20_000_000))
    done = siliang_pipeline("prepare", tmp_path / "bomb.txt.gz", "--output", tmp_path / "o")
    assert done.returncode == 1
    assert "bomb.txt.gz (1)" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("alone", [True, False])
def test_a_pipe_never_hangs(tmp_path, root, alone):
    source = tmp_path / "in"
    source.mkdir()
    os.mkfifo(source / "pipe.txt")
    command = [sys.executable, "-m", "pipeline", "prepare", str(source / "pipe.txt" if alone else source)]
    done = subprocess.run([*command, "--output", str(tmp_path / "o")], cwd=root, capture_output=True, timeout=60)
    assert done.returncode == 1
    assert b"pipe.txt (1)" in done.stderr


@pytest.fixture(scope="module")
def hostile(tmp_path_factory, siliang_pipeline) -> Path:
    """Text and file names that try to be obeyed by a browser or a terminal."""
    base = tmp_path_factory.mktemp("hostile")
    source, (config, output) = base / "in", (base / "c.toml", base / "out")
    source.mkdir()
    texts = passages()[:12]
    script = "<script>alert('pwned')</script>"
    texts[0] = f"{script} {texts[0]} {script}"
    texts[1] = f"{OVERRIDE}{texts[1]} \u2066evil\u2069 {OVERRIDE}"
    texts[2] = f"{texts[2]} {'w' * 1_000_000}"
    texts[3] = f"{ESC}{CSI}\x07\x7f {texts[3]} {ESC}"
    texts[4] = "".join(c + "\u0301\u0316\u034f\u20dd" * 4 for c in texts[4])
    texts[5] = "</td></table>{{ 7*7 }}{% raw %}<img src=x onerror=alert(1)>&lt;script&gt; " + texts[5]
    (source / "texts.jsonl").write_bytes(lines([*texts, script, f"{OVERRIDE}{ESC}{CSI}", "<script>"]))
    (source / f"{script.replace('/', '_')}{OVERRIDE}{ESC}{CSI}\x7f.txt").write_text(texts[6][:40])
    (source / f"{ESC}{CSI}.jsonl").write_text("{broken")
    config.write_text("[input]\nmax_quarantined = 0.2\n[vocabulary]\nsize = 800\n")
    done = siliang_pipeline("prepare", source, "--output", output, "--config", config)
    assert done.returncode == 0, done.stderr
    return output


def raw_controls(text: str) -> set[str]:
    return {
        c for c in text if (c < " " and c != "\n") or "\x7f" <= c <= "\x9f" or c in "\u2028\u2029\u202e\u2066\u2069"
    }


def test_hostile_text_is_harmless_in_the_report(hostile, siliang_pipeline):
    assert siliang_pipeline("report", hostile).returncode == 0
    page = (hostile / "report/index.html").read_text(encoding="utf-8")
    lower = page.lower()
    assert "alert(" in lower  # it is shown
    for markup in ("<script>alert", "<script>'", "<img src=x", "</script>alert"):
        assert markup not in lower
    assert raw_controls(page) <= {"\t"}
    assert len(page) < 3_000_000


def test_hostile_text_is_harmless_on_a_terminal(hostile, tmp_path, siliang_pipeline):
    done = siliang_pipeline("inspect", hostile, "--limit", 100)
    assert done.returncode == 0
    assert raw_controls(done.stdout) == set()
    rows = [json.loads(line) for line in done.stdout.split("\n") if line]
    assert len(rows) == 17
    assert any(CSI in row["record"] and OVERRIDE in row["record"] for row in rows)  # escaped, not lost

    (tmp_path / f"{ESC}{CSI}{OVERRIDE}.jsonl").write_text("{broken")
    done = siliang_pipeline("prepare", tmp_path, "--output", tmp_path / "o")
    assert done.returncode == 1
    assert raw_controls(done.stderr) == set()
    assert "⟨U+001B⟩[31m" in done.stderr
