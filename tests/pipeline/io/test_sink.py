"""The sink: same bytes however rows arrive, nothing half-written."""

import hashlib

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.io import filesystem
from pipeline.io.sink import ArrowSink
from schemas.arrow import BATCH_ROWS

SCHEMA = pa.schema([pa.field("text", pa.string()), pa.field("n", pa.int64())])


def table(rows: int) -> pa.Table:
    return pa.table([[f"row {i} " + "x" * (i % 97) for i in range(rows)], list(range(rows))], schema=SCHEMA)


def write(path, rows: pa.Table, cuts, **options) -> str:
    sink = ArrowSink(str(path), SCHEMA, **options)
    start = 0
    for cut in [*sorted(cuts), rows.num_rows]:
        sink.write(rows.slice(start, cut - start))
        start = cut
    sink.close()
    assert sink.entry("x").sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert sink.entry("x").bytes == path.stat().st_size
    assert sink.entry("x").rows == rows.num_rows
    return sink.entry("x").sha256


@pytest.mark.parametrize("batch_bytes", [None, 5_000])
@pytest.mark.parametrize("compressed", [True, False])
def test_bytes_do_not_depend_on_how_rows_arrive(tmp_path, batch_bytes, compressed):
    rows = table(2 * BATCH_ROWS + 77)

    @settings(max_examples=15, deadline=None)
    @given(st.lists(st.integers(0, rows.num_rows), max_size=6))
    def check(cuts):
        options = {"batch_bytes": batch_bytes, "compressed": compressed}
        assert write(tmp_path / "a", rows, [], **options) == write(tmp_path / "b", rows, cuts, **options)

    check()


def test_batches_are_of_fixed_size(tmp_path):
    write(tmp_path / "a", table(2 * BATCH_ROWS + 1), [3, 5])
    reader = pa.ipc.open_file(tmp_path / "a")
    assert [reader.get_batch(i).num_rows for i in range(reader.num_record_batches)] == [BATCH_ROWS, BATCH_ROWS, 1]


def test_bytes_close_a_batch_early(tmp_path):
    write(tmp_path / "a", table(300), [], batch_bytes=1_000)
    reader = pa.ipc.open_file(tmp_path / "a")
    batches = [reader.get_batch(i) for i in range(reader.num_record_batches)]
    assert all(sum(map(len, b["text"].to_pylist())) < 1_200 for b in batches)
    assert pa.Table.from_batches(batches).equals(table(300))


def test_an_abandoned_file_leaves_nothing(tmp_path):
    sink = ArrowSink(str(tmp_path / "a"), SCHEMA)
    sink.write(table(10))
    sink.abandon()
    assert list(tmp_path.iterdir()) == []


def test_atomic_write_keeps_the_old_bytes_on_failure(tmp_path):
    path = str(tmp_path / "f")
    filesystem.write_atomic(path, b"old")
    with pytest.raises(RuntimeError, match="stop"):
        with filesystem.AtomicFile(path) as handle:
            handle.write(b"half")
            raise RuntimeError("stop")
    assert filesystem.read_bytes(path) == b"old"
    assert filesystem.listing(str(tmp_path)) == ["f"]


@pytest.mark.parametrize("scheme", ["", "memory://siliang-sweep"])
def test_a_sweep_takes_the_temporaries_alone(tmp_path, scheme):
    base = scheme or str(tmp_path)
    kept = [f"{base}/a", f"{base}/deep/er/b.tmp", f"{base}/deep/.hidden"]
    for path in [*kept, f"{base}/.a.1f.tmp", f"{base}/deep/er/.b.2e.tmp"]:
        filesystem.write_atomic(path, b"x")
    filesystem.sweep_temporaries(base)
    assert all(filesystem.exists(path) for path in kept)
    assert not filesystem.exists(f"{base}/.a.1f.tmp")
    assert not filesystem.exists(f"{base}/deep/er/.b.2e.tmp")
    filesystem.sweep_temporaries(f"{base}/nowhere")


def test_remote_file_systems_serve_the_same_verbs():
    base = "memory://siliang-test/sub"
    sink = ArrowSink(f"{base}/a.arrow", SCHEMA)
    sink.write(table(5))
    sink.close()
    assert filesystem.listing(base) == ["a.arrow"]
    assert filesystem.size(f"{base}/a.arrow") == sink.entry("a").bytes
    assert filesystem.digest(f"{base}/a.arrow") == sink.entry("a").sha256
    assert filesystem.open_arrow(f"{base}/a.arrow").read_all().equals(table(5))
    filesystem.remove(f"{base}/a.arrow")
    assert filesystem.size(f"{base}/a.arrow") == -1
