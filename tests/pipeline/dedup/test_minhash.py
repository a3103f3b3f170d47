from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from datasketch import MinHash
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config import DeduplicateConfig
from pipeline.dedup.minhash import EMPTY, signatures
from pipeline.dedup.shingles import Shingles, shingle_sets

SAMPLES = Path(__file__).parents[3] / "samples"


def make_shingles(sets: list[np.ndarray]) -> Shingles:
    offsets = np.cumsum([0, *(len(values) for values in sets)])
    return Shingles(np.concatenate([np.zeros(0, np.uint64), *sets]).astype(np.uint64), offsets)


def datasketch_signature(values: np.ndarray, permutations: int, seed: int) -> np.ndarray:
    sketch = MinHash(num_perm=permutations, seed=seed, scheme="affine32", hashfunc=int)
    sketch.update_batch([value & 0xFFFFFFFF for value in values.tolist()])
    return sketch.hashvalues


@pytest.mark.parametrize(("permutations", "seed"), [(120, 1), (112, 1), (1, 7), (37, 42)])
def test_equals_datasketch_on_real_text(permutations: int, seed: int) -> None:
    paths = sorted((SAMPLES / "moby-dick").glob("*.txt"))[:6]
    texts = [path.read_text(encoding="utf-8") for path in paths] + ["too short", "但丁加布里埃爾羅塞蒂是一位英國畫家"]
    shingles = shingle_sets(pa.array(texts), DeduplicateConfig())
    got = signatures(shingles, permutations, seed)
    assert got.dtype == np.uint32
    assert got.shape == (len(texts), permutations)
    for row, (start, end) in enumerate(zip(shingles.offsets[:-1], shingles.offsets[1:], strict=True)):
        assert np.array_equal(got[row], datasketch_signature(shingles.values[start:end], permutations, seed))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.integers(0, 2**64 - 1), max_size=30), max_size=5))
def test_equals_datasketch_on_any_hashes(sets: list[list[int]]) -> None:
    arrays = [np.array(sorted(set(values)), np.uint64) for values in sets]
    got = signatures(make_shingles(arrays), 16)
    for row, values in enumerate(arrays):
        assert np.array_equal(got[row], datasketch_signature(values, 16, 1))


def test_empty_sets_are_all_ones() -> None:
    assert (signatures(make_shingles([np.zeros(0, np.uint64)]), 8) == EMPTY).all()
    assert signatures(make_shingles([]), 8).shape == (0, 8)


@pytest.mark.parametrize("jaccard", [0.2, 0.5, 0.8])
def test_estimate_is_unbiased(jaccard: float) -> None:
    generator = np.random.default_rng(5)
    size, pairs, permutations = 400, 300, 120
    common = round(size * jaccard)
    sets = []
    for _ in range(pairs):
        union = generator.integers(0, 1 << 64, size, np.uint64)  # 400 draws of 2^64 are distinct
        lone = (size - common) // 2
        sets += [union[: common + lone], np.concatenate([union[:common], union[common + lone :]])]
    found = signatures(make_shingles(sets), permutations)
    estimates = (found[0::2] == found[1::2]).mean(axis=1)
    # The permutations are shared by all pairs, so their errors do not average out as fast as 1 / sqrt(pairs).
    assert abs(estimates.mean() - common / size) < 0.01
    assert estimates.std() < 1.5 * np.sqrt(jaccard * (1 - jaccard) / permutations)


def test_long_documents_do_not_look_alike() -> None:
    generator = np.random.default_rng(6)
    sets = [generator.integers(0, 1 << 64, 100_000, np.uint64) for _ in range(2)]
    found = signatures(make_shingles(sets), 256)
    assert (found[0] == found[1]).mean() < 0.01


def test_estimates_are_unbiased_over_ten_thousand_pairs() -> None:
    """Share of equal values against the true Jaccard; 112 values have a standard error of at most 0.047 a pair."""
    generator = np.random.default_rng(4)
    sets, true = [], []
    for _ in range(10_000):
        common, own = generator.integers(1, 60), generator.integers(0, 30, 2)
        values = generator.integers(0, 1 << 63, common + own.sum()).astype(np.uint64)
        sets += [np.sort(values[: common + own[0]]), np.sort(np.r_[values[:common], values[common + own[0] :]])]
        true.append(common / len(values))
    found = signatures(make_shingles(sets), 112)
    error = (found[::2] == found[1::2]).mean(axis=1) - np.array(true)
    assert abs(error.mean()) < 0.0015  # 10,000 pairs: standard error 0.0004
    assert error.std() < 0.047
    for low in (0.2, 0.4, 0.6, 0.8):
        some = (np.array(true) >= low) & (np.array(true) < low + 0.2)
        assert abs(error[some].mean()) < 0.004
