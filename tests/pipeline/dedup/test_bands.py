import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.dedup.bands import band_keys


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 6), st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_keys_agree_exactly_where_the_rows_do(bands: int, rows: int, seed: int) -> None:
    signatures = np.random.default_rng(seed).integers(0, 2, (12, bands * rows + 1), np.uint32)
    keys = band_keys(signatures, bands, rows)
    assert keys.shape == (12, bands)
    assert keys.dtype == np.uint64
    for band in range(bands):
        part = signatures[:, band * rows : (band + 1) * rows]
        same = (part[:, None] == part[None]).all(axis=2)
        assert np.array_equal(keys[:, band][:, None] == keys[:, band][None], same)


def test_equal_rows_in_other_bands_have_other_keys() -> None:
    keys = band_keys(np.zeros((1, 12), np.uint32), 4, 3)
    assert len(set(keys[0].tolist())) == 4


def test_row_order_matters() -> None:
    keys = band_keys(np.array([[1, 2], [2, 1]], np.uint32), 1, 2)
    assert keys[0, 0] != keys[1, 0]


def test_too_narrow_signatures() -> None:
    with pytest.raises(ValueError, match="need 120 permutations; the signatures have 112"):
        band_keys(np.zeros((1, 112), np.uint32), 20, 6)
