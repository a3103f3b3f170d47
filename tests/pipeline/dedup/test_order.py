import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.dedup.order import order_keys, ranks

row = st.tuples(st.integers(0, 65534), st.integers(0, 65535), st.integers(0, 2**128 - 1))


def keys(rows: list[tuple[int, int, int]]) -> np.ndarray:
    priority, quality, doc_id = zip(*rows, strict=True)
    ids = pa.array([f"{value:032x}" for value in doc_id])
    return order_keys(np.array(priority, np.uint16), np.array(quality, np.uint16), ids)


@settings(max_examples=100, deadline=None)
@given(st.lists(row, min_size=1, max_size=30), st.randoms(use_true_random=False))
def test_priority_then_quality_then_id_then_ref(rows, random) -> None:
    refs = random.sample(range(1000), len(rows))
    expected = sorted(range(len(rows)), key=lambda i: (rows[i][0], min(rows[i][1], 255), rows[i][2] >> 88, refs[i]))
    rank = ranks(keys(rows), np.array(refs, np.uint64))
    assert np.argsort(rank).tolist() == expected


def test_earlier_runs_have_room_before_all() -> None:
    assert int(keys([(0, 0, 0)])[0]) == 1 << 48


def test_too_many_priorities() -> None:
    with pytest.raises(ValueError, match="65535 is above 65534"):
        keys([(65535, 0, 0)])
