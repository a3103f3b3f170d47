import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.dedup.exact import digest_words, exact_copies

digest = st.one_of(
    st.sampled_from([b"\0" * 16, b"\0" * 15 + b"\1", b"\1" + b"\0" * 15]), st.binary(min_size=16, max_size=16)
)


@settings(max_examples=100, deadline=None)
@given(st.lists(digest, max_size=30), st.randoms(use_true_random=False))
def test_survivor_is_the_first_of_equals(digests: list[bytes], random) -> None:
    rank = list(range(len(digests)))
    random.shuffle(rank)
    expected = [
        min((row for row in range(len(digests)) if digests[row] == mine), key=rank.__getitem__) for mine in digests
    ]
    array = pa.array(digests, pa.binary(16))
    ranks = np.array(rank, np.int64)
    assert exact_copies(array, ranks).tolist() == expected
    assert exact_copies(digest_words(array), ranks).tolist() == expected


def test_words_are_big_endian_and_respect_slices() -> None:
    array = pa.array([b"\xff" * 16, bytes(range(16))], pa.binary(16)).slice(1)
    high, low = digest_words(array)
    assert (int(high[0]), int(low[0])) == (0x0001020304050607, 0x08090A0B0C0D0E0F)


def test_wrong_columns() -> None:
    with pytest.raises(TypeError, match="found binary"):
        digest_words(pa.array([b"x"]))
    with pytest.raises(ValueError, match="1 of 1"):
        digest_words(pa.array([None], pa.binary(16)))
