import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config import DeduplicateConfig
from pipeline.dedup.bands import band_keys, collision_probability, s_curve


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


def test_collision_probability_against_simulation() -> None:
    generator = np.random.default_rng(3)
    agree = generator.random((20_000, 20, 6)) < 0.6
    assert abs(float(np.any(agree.all(axis=2), axis=1).mean()) - collision_probability(0.6, 20, 6)) < 0.01


def test_known_values() -> None:
    # reference table: 14 x 8 and 20 x 13, as used by FineWeb and NeMo
    assert round(collision_probability(0.8, 14, 8), 3) == 0.924
    assert round(collision_probability(0.7, 20, 13), 3) == 0.177
    config = DeduplicateConfig()
    assert round(collision_probability(config.threshold, config.bands, config.rows), 3) == 0.998


def test_s_curve() -> None:
    curve = s_curve(20, 6)
    assert len(curve) == 21
    assert curve[0] == (0.0, 0.0)
    assert curve[-1] == (1.0, 1.0)
    assert [jaccard for jaccard, _ in curve] == sorted(jaccard for jaccard, _ in curve)
    assert [probability for _, probability in curve] == sorted(probability for _, probability in curve)
    assert curve[16] == (0.8, collision_probability(0.8, 20, 6))
