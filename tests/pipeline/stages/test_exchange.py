import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.stages.exchange import read_columns, read_cut, spread, write_cut
from pipeline.stages.parts import PartWriter

SCHEMA = pa.schema([("ref", pa.uint64()), ("size", pa.uint32())])


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(0, 3000), min_size=1, max_size=3), st.integers(1, 5))
def test_every_row_arrives_once_at_its_place(tmp_path_factory, sizes: list[int], places: int) -> None:
    output = str(tmp_path_factory.mktemp("exchange"))
    sent = []
    for number, size in enumerate(sizes):
        ref = np.arange(size, dtype=np.uint64) + np.uint64(number << 32)
        columns = [ref, ref.astype(np.uint32)]
        write_cut(PartWriter(output, number), f"x/{number}.arrow", SCHEMA, columns, spread(ref, places), places)
        assert sorted(read_columns(output, f"x/{number}.arrow")[0].tolist()) == ref.tolist()
        sent.append(ref)
    for place in range(places):
        ref, size = read_cut(output, [f"x/{number}.arrow" for number in range(len(sizes))], place, SCHEMA)
        expected = [some[spread(some, places) == place] for some in sent]
        assert ref.tolist() == np.concatenate(expected).tolist()
        assert size.tolist() == ref.astype(np.uint32).tolist()
        assert (ref.dtype, size.dtype) == (np.uint64, np.uint32)


@pytest.mark.parametrize("places", [2, 16, 30])
def test_places_are_even_for_any_run_of_refs(places: int) -> None:
    counts = np.bincount(spread(np.arange(30_000, dtype=np.uint64) << np.uint64(32), places), minlength=places)
    assert counts.max() < 1.3 * 30_000 / places
