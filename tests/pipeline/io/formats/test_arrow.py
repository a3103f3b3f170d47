import io
import random
import resource
import struct

import pyarrow as pa
import pyarrow.feather
import pytest


def outcome(rows):
    return [row["text"] if row["quarantine"] is None else row["quarantine"] for row in rows]


def written(columns, stream=False, rows=None, compression=None):
    table = columns if isinstance(columns, pa.Table) else pa.table(columns)
    sink = io.BytesIO()
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with (pa.ipc.new_stream if stream else pa.ipc.new_file)(sink, table.schema, options=options) as writer:
        writer.write_table(table, max_chunksize=rows)
    return sink.getvalue()


forms = pytest.mark.parametrize("stream", [False, True])
TEXTS = [f"row {i} " + "wörter " * (i % 5) for i in range(2500)]


@forms
@pytest.mark.parametrize("compression", [None, "lz4", "zstd"])
def test_rows_over_batches(read_file, stream, compression):
    content = written({"id": list(range(2500)), "content": TEXTS}, stream, 700, compression)
    rows = read_file("a.arrow", content)
    assert outcome(rows) == TEXTS
    assert rows[-1]["record"] == "a.arrow#2500"


@pytest.mark.parametrize(
    "kind",
    [pa.string(), pa.large_string(), pa.string_view(), pa.binary(), pa.dictionary(pa.int32(), pa.string())],
)
def test_text_types(read_file, kind):
    column = pa.array(["a", None, "é", "", "a"]).cast(kind)
    assert outcome(read_file("a.arrow", written({"text": column}))) == ["a", "not_text", "é", "empty", "a"]


def test_lists_and_others(read_file):
    column = pa.array([["a", "b"], ["c", None], [], None], pa.list_(pa.string()))
    assert outcome(read_file("a.ipc", written({"text": column}))) == ["a\nb", "not_text", "empty", "not_text"]
    for column in (pa.array([1]), pa.array([{"x": 1}]), pa.array([b"1"]).cast(pa.binary(1))[:0]):
        assert set(outcome(read_file("a.ipc", written({"text": column})))) <= {"not_text", "empty"}
    rows = read_file("a.ipc", written({"title": ["x", "y"]}))
    assert outcome(rows) == ["missing_text", "missing_text"]


def test_bad_rows_cost_only_themselves(read_file):
    raw = pa.array([b"good", b"caf\xe9", b"n\0l", b"x" * 2000, b"last"])
    strings = pa.StringArray.from_buffers(5, raw.buffers()[1], raw.buffers()[2])
    for column in (strings, pa.ListArray.from_arrays(pa.array(range(6), pa.int32()), strings)):
        rows = read_file("a.arrow", written({"text": column}), max_record_bytes=1000)
        assert outcome(rows) == ["good", "invalid_utf8", "nul_bytes", "record_too_long", "last"]


@forms
@pytest.mark.parametrize("share", [0.3, 0.7, 0.999])
def test_truncated(read_file, stream, share):
    whole = written({"text": TEXTS}, stream, 100)
    rows = read_file("a.arrow", whole[: int(len(whole) * share)])
    sound = [row["text"] for row in rows if row["quarantine"] is None]
    assert sound == TEXTS[: len(sound)]
    assert abs(len(sound) - 2500 * share) < 300
    assert outcome(rows)[len(sound) :] == ["truncated_stream"]


def test_a_stream_cut_between_two_batches(read_file):
    whole = written({"text": ["a", "b"]}, stream=True)
    assert outcome(read_file("a.arrow", whole[:-8])) == ["a", "b", "truncated_stream"]


@pytest.mark.parametrize("content", [b"ARROW1", b"ARROW1\0\0", b"FEA1" + b"x" * 99, b"no arrow at all", b"\xff" * 99])
def test_not_arrow(read_file, content):
    [row] = read_file("a.feather", content)
    assert row["quarantine"] in ("corrupt_arrow", "truncated_stream")


def test_damaged_offsets_cost_their_batch(read_file):
    texts = [f"{i:04}" for i in range(300)]
    whole = bytearray(written({"text": texts}, True, 100))
    at = whole.index((4 * 50).to_bytes(4, "little") + (4 * 51).to_bytes(4, "little"))
    at = whole.index((4 * 50).to_bytes(4, "little") + (4 * 51).to_bytes(4, "little"), at + 8)  # the second batch
    whole[at + 3] = 0x7F
    assert outcome(read_file("a.arrow", bytes(whole))) == [*texts[:100], "corrupt_arrow", *texts[200:]]


def test_damage_never_raises(read_file):
    table = pa.table(
        {
            "text": TEXTS[:300],
            "id": range(300),
            "kind": pa.array(["a", "b", "c"] * 100).dictionary_encode(),
        }
    )
    generator = random.Random(5)
    for compression in (None, "zstd"):
        whole = written(table, True, 100, compression)
        for field in ("text", "kind", "id"):
            for _ in range(60):
                damaged = bytearray(whole)
                for _ in range(generator.choice([1, 1, 4])):
                    damaged[generator.randrange(len(damaged))] ^= 1 << generator.randrange(8)
                read_file("a.arrow", bytes(damaged), text_fields=(field,))


def test_bombs(read_file):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    rows = read_file("a.arrow", written({"text": ["x" * (1 << 26)] * 4}, compression="zstd"))
    assert outcome(rows) == ["decompression_bomb"]
    text = "x" * 100_000
    shown = struct.pack("<i4sii", len(text), b"xxxx", 0, 0) * 3000
    view = pa.Array.from_buffers(pa.string_view(), 3000, [None, pa.py_buffer(shown), pa.py_buffer(text.encode())])
    rows = read_file("a.arrow", written({"text": view}))
    assert outcome(rows)[-1] == "decompression_bomb"
    assert set(outcome(rows)[:-1]) <= {text}
    shared = pa.DictionaryArray.from_arrays(pa.array([0] * 30_000, pa.int32()), pa.array([text]))
    rows = read_file("a.arrow", written({"text": shared}))
    assert outcome(rows)[-1] == "decompression_bomb"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 900_000  # writing the first takes most


def test_feather(read_file, tmp_path):
    pyarrow.feather.write_feather(pa.table({"text": TEXTS}), str(tmp_path / "a"))
    assert outcome(read_file("a.feather", (tmp_path / "a").read_bytes())) == TEXTS
