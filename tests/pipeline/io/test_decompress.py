"""Real broken files: what stands before the damage is used, the rest is one quarantined record."""

import bz2
import gzip
import lzma
import random
import resource
import time
import zlib

import orjson
import pytest
import zstandard

LINES = [orjson.dumps({"text": f"record {i} " + "lorem ipsum " * (i % 9)}) + b"\n" for i in range(3000)]
TEXTS = [orjson.loads(line)["text"] for line in LINES]
CONTENT = b"".join(LINES)

COMPRESS = {
    ".gz": gzip.compress,
    ".zst": zstandard.ZstdCompressor(write_checksum=True).compress,
    ".bz2": lambda content: bz2.compress(content, 1),  # blocks of 100 KB
    ".xz": lambda content: lzma.compress(content, preset=1),
}
every = pytest.mark.parametrize("suffix", COMPRESS)


def split(rows):
    sound = [row["text"] for row in rows if row["quarantine"] is None]
    return sound, [row for row in rows if row["quarantine"] is not None]


@every
def test_whole(read_file, suffix):
    assert split(read_file("a.jsonl" + suffix, COMPRESS[suffix](CONTENT))) == (TEXTS, [])


@every
@pytest.mark.parametrize("share", [0.1, 0.5, 0.98, 0.9999])
def test_truncated(read_file, suffix, share):
    whole = COMPRESS[suffix](random.Random(0).randbytes(200_000).hex().encode() + b"\n" + CONTENT)
    sound, bad = split(read_file("a.jsonl" + suffix, whole[: int(len(whole) * share)], max_record_bytes=1000))
    assert bad[-1]["quarantine"] == "truncated_stream"
    assert "cut off" in bad[-1]["detail"]
    assert sound == TEXTS[: len(sound)]
    assert [row["quarantine"] for row in bad[:-1]] in ([], ["record_too_long"])
    # The records lie at the end of the stream: the longer the file, the more of them.
    assert (len(sound) > 0) == (share > (0.99 if suffix in (".bz2", ".xz") else 0.9))


@every
def test_truncated_document(read_file, suffix):
    [row] = read_file("a.txt" + suffix, COMPRESS[suffix](CONTENT)[:-9])
    assert row["quarantine"] == "truncated_stream"


@every
def test_truncated_split_text_keeps_the_pieces_before(read_file, suffix):
    text = "".join(f"Paragraph {i} of a longer text.\n\n" for i in range(30_000))
    sound, [bad] = split(read_file("a.txt" + suffix, COMPRESS[suffix](text.encode())[:-9], split_characters=1000))
    assert text.startswith("".join(sound))
    assert len(sound) > 50
    assert bad["quarantine"] == "truncated_stream"
    assert bad["record"] == f"a.txt{suffix}#{len(sound) + 1}"


@every
def test_corrupt(read_file, suffix):
    whole = bytearray(COMPRESS[suffix](random.Random(0).randbytes(300_000).hex().encode() + b"\n" + CONTENT))
    whole[len(whole) // 2] ^= 0xFF
    _, bad = split(read_file("a.jsonl" + suffix, bytes(whole)))
    assert bad[-1]["quarantine"] == "corrupt_stream"
    [row] = read_file("a.txt" + suffix, bytes(whole))
    assert row["quarantine"] == "corrupt_stream"


@every
def test_not_compressed_at_all(read_file, suffix):
    [row] = read_file("a.jsonl" + suffix, CONTENT)
    assert row["quarantine"] == "corrupt_stream"


@every
def test_many_members_in_linear_time(read_file, suffix):
    start = time.process_time()
    rows = read_file("a.jsonl" + suffix, b"".join(map(COMPRESS[suffix], LINES * 4)))
    assert split(rows) == (TEXTS * 4, [])
    assert time.process_time() - start < 5  # 12,000 members: 0.3 s; a quadratic reader takes minutes


@every
def test_damage_between_members_keeps_the_members_before(read_file, suffix):
    compress = COMPRESS[suffix]
    sound, [bad] = split(read_file("a.jsonl" + suffix, compress(CONTENT) + b"trailing garbage"))
    assert (sound, bad["quarantine"]) == (TEXTS, "corrupt_stream")


@every
def test_empty(read_file, suffix):
    for content in (b"", COMPRESS[suffix](b"")):
        [row] = read_file("a.jsonl" + suffix, content)
        assert row["quarantine"] == "empty"


@every
def test_bomb_by_ratio_with_bounded_memory(read_file, suffix):
    """1 GB of zeros behind some records: the records are used, the zeros never come into memory."""
    if suffix in (".gz", ".xz"):
        bomb = COMPRESS[suffix](CONTENT) + COMPRESS[suffix](bytes(1 << 20)) * 1000
    elif suffix == ".bz2":
        bomb = COMPRESS[suffix](CONTENT) + COMPRESS[suffix](bytes(1 << 27)) * 8
    else:
        bomb = COMPRESS[suffix](CONTENT) + COMPRESS[suffix](bytes(1 << 30))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    sound, [bad] = split(read_file("a.jsonl" + suffix, bomb))
    assert sound == TEXTS
    assert bad["quarantine"] == "decompression_bomb"
    assert "max_expansion" in bad["detail"]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000


@every
def test_bomb_by_size(read_file, suffix):
    sound, [bad] = split(read_file("a.jsonl" + suffix, COMPRESS[suffix](CONTENT), max_file_bytes=100_000))
    assert bad["quarantine"] == "decompression_bomb"
    assert "max_file_bytes" in bad["detail"]
    assert sound == TEXTS[: len(sound)]


@every
def test_small_files_may_grow_much(read_file, suffix):
    [row] = read_file("a.txt" + suffix, COMPRESS[suffix](b"x" * 500_000))
    assert len(row["text"]) == 500_000


def test_xz_streams_may_be_padded(read_file):
    half = lzma.compress(CONTENT)
    assert split(read_file("a.jsonl.xz", half + bytes(8) + half + bytes(4))) == (TEXTS * 2, [])


def test_xz_that_wants_too_much_memory(read_file):
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 1 << 20}]
    whole = bytearray(lzma.compress(CONTENT, filters=filters))
    at = whole.index(b"\x21\x01", 12) + 2  # the filter's one byte of properties: 40 is a dictionary of 4 GiB
    whole[at] = 40
    whole[20:24] = zlib.crc32(whole[12:20]).to_bytes(4, "little")
    [row] = read_file("a.jsonl.xz", bytes(whole))
    assert row["quarantine"] == "corrupt_stream"
    assert "emory" in row["detail"]
