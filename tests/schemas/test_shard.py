"""Shards open memory-mapped and are checked; an error names the file, the field and what was found."""

import pyarrow as pa
import pytest

from schemas import arrow, vocabulary
from schemas.shard import SchemaError, check_schema, open_shard


def write(path, table: pa.Table) -> None:
    with pa.ipc.new_file(path, table.schema) as writer:
        writer.write_table(table)


def examples(size: int) -> pa.Table:
    return pa.table([["a" * 32], [[7, 8]], [[{"start": 0, "end": 1, "word": 3}]]], schema=arrow.example(size))


@pytest.mark.parametrize(("size", "kind"), [(65_536, pa.uint16()), (65_537, pa.uint32())])
def test_examples_round_trip_without_a_copy(tmp_path, size, kind):
    write(tmp_path / "s.arrow", examples(size))
    reader = open_shard(tmp_path / "s.arrow", arrow.example(size))
    tokens = reader.get_batch(0)["tokens"]
    assert tokens.type.value_type == kind
    assert tokens.values.to_numpy(zero_copy_only=True).tolist() == [7, 8]


def test_a_missing_field_is_named(tmp_path):
    write(tmp_path / "s.arrow", examples(100).drop_columns(["rare"]))
    with pytest.raises(SchemaError, match=r"s\.arrow: field 'rare' is missing; found doc_id, tokens"):
        open_shard(tmp_path / "s.arrow", arrow.example(100))


def test_a_wrong_type_is_named(tmp_path):
    write(tmp_path / "s.arrow", examples(100_000))
    with pytest.raises(SchemaError, match=r"field 'tokens' is list<.*uint32.*>, expected list<.*uint16"):
        open_shard(tmp_path / "s.arrow", arrow.example(100))


def test_an_extra_field_is_named():
    schema = arrow.WORD_FREQUENCY.append(pa.field("mood", pa.string()))
    with pytest.raises(SchemaError, match=r"extra .'mood'."):
        check_schema(schema, arrow.WORD_FREQUENCY, "w.arrow")


def test_absent_and_cut_files(tmp_path):
    with pytest.raises(SchemaError, match=r"nowhere\.arrow: no such shard"):
        open_shard(tmp_path / "nowhere.arrow")
    write(tmp_path / "s.arrow", examples(100))
    data = (tmp_path / "s.arrow").read_bytes()
    (tmp_path / "s.arrow").write_bytes(data[:-20])
    with pytest.raises(SchemaError, match="not a complete Arrow file"):
        open_shard(tmp_path / "s.arrow")
    (tmp_path / "empty.arrow").write_bytes(b"")
    with pytest.raises(SchemaError, match="not a complete Arrow file"):
        open_shard(tmp_path / "empty.arrow")


def test_nullability_and_item_names_do_not_matter():
    """Other Arrow writers name list items in their own way."""
    item = pa.field("element", pa.uint16(), nullable=True)
    fields = [pa.field("doc_id", pa.string()), pa.field("tokens", pa.list_(item)), arrow.example(100).field("rare")]
    check_schema(pa.schema(fields), arrow.example(100), "x")


@pytest.mark.parametrize(
    "schema",
    [
        arrow.DOCUMENTS,
        arrow.AUDIT,
        arrow.TOKEN_FREQUENCY,
        arrow.WORD_FREQUENCY,
        arrow.example(9),
        arrow.note(9),
    ],
)
def test_every_field_says_what_it_means(schema):
    for field in schema:
        assert len(field.metadata[b"meaning"]) > 10, field.name


def test_special_pieces_have_fixed_ids():
    assert vocabulary.SPECIAL_PIECES[vocabulary.PAD] == "[PAD]"
    assert vocabulary.SPECIAL_PIECES[vocabulary.MASK] == "[MASK]"
    assert vocabulary.SPECIAL_PIECES[vocabulary.NEITHER] == "[NEITHER]"
    assert (vocabulary.UNKNOWN, vocabulary.CLS, vocabulary.SEP, vocabulary.FIRST_ORDINARY) == (1, 2, 3, 6)
