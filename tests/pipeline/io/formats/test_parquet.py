import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest


@pytest.fixture
def write(tmp_path):
    def to_bytes(columns, **options):
        pq.write_table(pa.table(columns), tmp_path / "a.parquet", **options)
        return (tmp_path / "a.parquet").read_bytes()

    return to_bytes


def outcome(rows):
    return [row["text"] if row["quarantine"] is None else row["quarantine"] for row in rows]


TEXTS = [f"row {i} " + "wörter " * (i % 5) for i in range(2500)]


def test_rows_over_row_groups(read_file, write):
    rows = read_file("a.parquet", write({"id": list(range(2500)), "content": TEXTS}, row_group_size=700))
    assert outcome(rows) == TEXTS
    assert rows[-1]["record"] == "a.parquet#2500"


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string()), pa.binary()]
)
def test_text_types(read_file, write, kind):
    column = pa.array(["a", None, "é", ""]).cast(kind)
    assert outcome(read_file("a.parquet", write({"text": column}))) == ["a", "not_text", "é", "empty"]


def test_lists_are_joined(read_file, write):
    column = pa.array([["a", "b"], ["c", None], []], pa.list_(pa.string()))
    assert outcome(read_file("a.parquet", write({"text": column}))) == ["a\nb", "not_text", "empty"]


def test_other_types_and_missing_columns(read_file, write):
    rows = read_file("a.parquet", write({"text": [1, 2]}))
    assert outcome(rows) == ["not_text", "not_text"]
    rows = read_file("a.parquet", write({"title": ["x", "y"], "url": ["u", "v"]}))
    assert outcome(rows) == ["missing_text", "missing_text"]
    assert "looked for text, content; found title, url" in rows[0]["detail"]
    assert len({row["doc_id"] for row in rows}) == 2
    assert outcome(read_file("a.parquet", write({"text": pa.array([], pa.string())}))) == ["empty"]


def test_bad_rows_cost_only_themselves(read_file, write):
    raw = pa.array([b"good", b"caf\xe9", b"n\0l", b"x" * 2000, b"last"])
    strings = pa.StringArray.from_buffers(5, raw.buffers()[1], raw.buffers()[2])
    rows = read_file("a.parquet", write({"text": strings}), max_record_bytes=1000)
    assert outcome(rows) == ["good", "invalid_utf8", "nul_bytes", "record_too_long", "last"]


@pytest.mark.parametrize("cut", [10, 1000, -1, -8])
def test_truncated_and_not_parquet(read_file, write, cut):
    rows = read_file("a.parquet", write({"text": TEXTS})[:cut])
    assert outcome(rows) == ["corrupt_parquet"]
    assert outcome(read_file("a.parquet", b"")) == ["empty"]


def test_a_damaged_row_group_costs_only_itself(read_file, write, tmp_path):
    texts = [np.random.default_rng(i).bytes(20).hex() for i in range(900)]
    # Without page checksums damage shows only where it breaks the compression or the encoding.
    options = {"row_group_size": 300, "use_dictionary": False, "write_page_checksum": True}
    content = bytearray(write({"text": texts}, **options))
    chunk = pq.ParquetFile(tmp_path / "a.parquet").metadata.row_group(1).column(0)
    middle = chunk.data_page_offset + chunk.total_compressed_size // 2
    content[middle : middle + 40] = bytes(40)
    rows = read_file("a.parquet", bytes(content))
    assert outcome(rows) == [*texts[:300], "corrupt_parquet", *texts[600:]]
    assert "row group 2, rows 301 to 600" in rows[300]["detail"]
    assert [row["record"] for row in rows[299:302]] == ["a.parquet#300", "a.parquet#301", "a.parquet#601"]
