import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config import ConfigError, DeduplicateConfig, make_config
from pipeline.dedup.banding import choose_banding, collision_probability, s_curve


def test_collision_probability_against_simulation() -> None:
    generator = np.random.default_rng(3)
    agree = generator.random((20_000, 20, 6)) < 0.6
    assert abs(float(np.any(agree.all(axis=2), axis=1).mean()) - collision_probability(0.6, 20, 6)) < 0.01


def test_known_values() -> None:
    # reference table: 14 x 8 and 20 x 13, as used by FineWeb and NeMo
    assert round(collision_probability(0.8, 14, 8), 3) == 0.924
    assert round(collision_probability(0.7, 20, 13), 3) == 0.177
    config = DeduplicateConfig()
    assert config.banding == (20, 6)
    assert config.signature_width == 120
    assert round(collision_probability(config.threshold, *config.banding), 3) == 0.998


@settings(max_examples=100, deadline=None)
@given(st.floats(0.3, 0.95), st.floats(0.5, 0.999), st.integers(40, 300))
def test_the_most_rows_that_reach_the_recall(threshold: float, recall: float, permutations: int) -> None:
    bands, rows = choose_banding(threshold, recall, permutations)
    assert bands * rows <= permutations
    assert collision_probability(threshold, bands, rows) >= recall
    more = [collision_probability(threshold, permutations // r, r) for r in range(rows + 1, permutations + 1)]
    assert all(probability < recall for probability in more)


def test_a_recall_out_of_reach_is_told() -> None:
    with pytest.raises(ValueError, match=r"2 permutations find pairs at threshold 0\.5 with probability 0\.75 at best"):
        choose_banding(0.5, 0.9, 2)
    with pytest.raises(ConfigError, match="raise permutations or lower recall"):
        make_config({"deduplicate": {"threshold": 0.5, "recall": 0.9, "permutations": 2}})


def test_bands_and_rows_by_hand() -> None:
    config = DeduplicateConfig(bands=14, rows=8)
    assert (config.banding, config.signature_width) == ((14, 8), 112)
    assert DeduplicateConfig(near=False).signature_width == 0
    with pytest.raises(ConfigError, match="give both, or neither"):
        make_config({"deduplicate": {"bands": 14}})


def test_s_curve() -> None:
    curve = s_curve(20, 6)
    assert len(curve) == 21
    assert curve[0] == (0.0, 0.0)
    assert curve[-1] == (1.0, 1.0)
    assert [jaccard for jaccard, _ in curve] == sorted(jaccard for jaccard, _ in curve)
    assert [probability for _, probability in curve] == sorted(probability for _, probability in curve)
    assert curve[16] == (0.8, collision_probability(0.8, 20, 6))
