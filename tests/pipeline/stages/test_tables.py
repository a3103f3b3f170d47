"""Tables combined by partition: sums are exact whatever the bundles."""

import apache_beam as beam
import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.stages import tables
from pipeline.stages.parts import MakeParts, ReadTasks, Task, write_tasks

SCHEMA = pa.schema([pa.field("key", pa.int64()), pa.field("count", pa.int64())])


def merge(rows: pa.Table) -> pa.Table:
    return rows.group_by("key").aggregate([("count", "sum")]).rename_columns(SCHEMA.names).sort_by("key").cast(SCHEMA)


def place(rows: pa.Table) -> np.ndarray:
    return rows["key"].to_numpy() % 3


def part_path(part: int) -> str:
    return f"counts/{part:05d}.arrow"


def merged_path(partition: int) -> str:
    return f"merged/{partition:05d}.arrow"


def make(spec, part):
    with part.sink(part_path(part.index), SCHEMA) as sink:
        sink.write(pa.table([spec["keys"], [1] * len(spec["keys"])], schema=SCHEMA))
    return {}


def test_partitions_hold_exact_sums(tmp_path):
    keys = [[i * 7 % 11 for i in range(n)] for n in (5, 0, 40, 13)]
    path = write_tasks(str(tmp_path), "s", [Task(i, {"keys": k}, str(i)) for i, k in enumerate(keys)])
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        (
            pipeline
            | ReadTasks(path)
            | MakeParts(str(tmp_path), "s", make)
            | tables.CombineTables(str(tmp_path), SCHEMA, merge, place, part_path, merged_path)
        )
    found = tables.read_partitions(str(tmp_path), "merged", SCHEMA).to_pylist()
    flat = [key for some in keys for key in some]
    assert {row["key"]: row["count"] for row in found} == {key: flat.count(key) for key in set(flat)}
    assert len(found) == len(set(flat))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(st.integers(0, 5), max_size=20), max_size=6), st.randoms())
def test_combine_laws(parts, random):
    combine = tables._Merge(SCHEMA, merge)
    rows = [pa.table([keys, [1] * len(keys)], schema=SCHEMA) for keys in parts]
    straight = combine.create_accumulator()
    for table in rows:
        straight = combine.add_input(straight, table)
    random.shuffle(rows)
    some = [combine.add_input(combine.create_accumulator(), table) for table in rows]
    grouped = combine.merge_accumulators([combine.create_accumulator(), *some])
    assert combine.extract_output(straight).to_pylist() == combine.extract_output(grouped).to_pylist()


def test_an_accumulator_is_compacted_as_it_grows(monkeypatch):
    monkeypatch.setattr(tables, "COMPACT_ROWS", 100)
    combine = tables._Merge(SCHEMA, merge)
    accumulator = combine.create_accumulator()
    for _ in range(1000):
        accumulator = combine.add_input(accumulator, pa.table([[1, 2, 3], [1, 1, 1]], schema=SCHEMA))
        assert accumulator.num_rows <= 103
    assert combine.extract_output(accumulator)["count"].to_pylist() == [1000, 1000, 1000]
