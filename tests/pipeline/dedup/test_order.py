import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.dedup.order import ranks, total_order
from pipeline.doc_id import doc_id_words

identity = st.one_of(
    st.sampled_from(["0" * 32, "f" * 32, "0" * 31 + "1"]), st.binary(min_size=16, max_size=16).map(bytes.hex)
)
row = st.tuples(st.integers(0, 3), identity, st.integers(0, 2**64 - 1))


@settings(max_examples=100, deadline=None)
@given(st.lists(row, unique_by=lambda row: row[2]))
def test_equals_sorting_the_tuples(rows: list[tuple[int, str, int]]) -> None:
    priority = np.array([row[0] for row in rows], np.uint16)
    doc_id = pa.array([row[1] for row in rows], pa.string())
    ref = np.array([row[2] for row in rows], np.uint64)
    order = total_order(priority, doc_id, ref)
    assert [rows[i] for i in order] == sorted(rows)
    rank = ranks(priority, doc_id, ref)
    assert rank.dtype == np.int64
    assert np.array_equal(rank[order], np.arange(len(rows)))


def test_words_of_a_slice() -> None:
    ids = pa.array(["f" * 32, "0123456789abcdef" + "0" * 15 + "2"])
    high, low = doc_id_words(ids.slice(1))
    assert (int(high[0]), int(low[0])) == (0x0123456789ABCDEF, 2)


@pytest.mark.parametrize("wrong", ["", "abc", "F" * 32, "g" * 32, "0" * 33, "é" * 16])
def test_a_bad_id_is_named(wrong: str) -> None:
    with pytest.raises(ValueError, match=r"row 1.*not 32 lower-case hex digits"):
        doc_id_words(pa.array(["0" * 32, wrong]))
