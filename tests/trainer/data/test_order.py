from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.data.order import LARGEST, make_order, order
from trainer.data.quality import order_quality, permutation_quality

SEEDS = st.integers(-(1 << 63), (1 << 64) - 1)


def test_bijection_for_every_small_n():
    for n in range(1, 300):
        assert sorted(order(7, 0, np.arange(n), n)) == list(range(n))


@settings(max_examples=60, deadline=None)
@given(seed=SEEDS, epoch=st.integers(0, 1 << 40), n=st.integers(1, 200_000))
def test_bijection(seed, epoch, n):
    assert np.array_equal(np.bincount(order(seed, epoch, np.arange(n), n), minlength=n), np.ones(n))


@settings(max_examples=60, deadline=None)
@given(seed=SEEDS, n=st.integers(2, LARGEST), data=st.data())
def test_stays_inside_and_tells_positions_apart_whatever_n(seed, n, data):
    i = data.draw(st.lists(st.integers(0, n - 1), min_size=2, max_size=50, unique=True))
    images = order(seed, 0, i, n)
    assert images.min() >= 0
    assert images.max() < n
    assert len(set(images.tolist())) == len(i)


def test_one_position_and_any_shape_agree():
    i = np.arange(60).reshape(3, 4, 5)
    images = order(3, 1, i, 60)
    assert images.shape == (3, 4, 5)
    assert images[1, 2, 3] == order(3, 1, int(i[1, 2, 3]), 60)
    assert isinstance(order(3, 1, 5, 60), int)


def test_values_are_fixed_for_ever():
    """A change of these values silently reorders every resumed run."""
    assert order(1, 2, np.arange(8), 8).tolist() == [4, 5, 3, 7, 1, 6, 2, 0]
    assert order(1, 2, [0, 1, 10**12], 10**12 + 39).tolist() == [7389668732, 444599888733, 959234192455]


def test_epochs_and_seeds_differ():
    n = 10_000
    orders = [order(s, e, np.arange(n), n) for s, e in ((0, 0), (0, 1), (1, 0), (1, 1), (-1, 0))]
    for k, a in enumerate(orders):
        for b in orders[:k]:
            # Two independent permutations agree in about one position.
            assert (a == b).sum() < 10


@pytest.mark.parametrize("n", [1_000, 65_536, 100_003])
def test_shuffles_like_a_true_permutation(n):
    spread = 4 / np.sqrt(n)  # four standard deviations
    for seed in range(3):
        images = order(seed, 0, np.arange(n), n)
        assert abs(np.corrcoef(images, np.arange(n))[0, 1]) < spread
        assert abs(np.corrcoef(images[1:], images[:-1])[0, 1]) < spread
        # In a random permutation neighbours are (n + 1) / 3 apart on average, give or take about n / sqrt(10 n).
        assert abs(np.abs(np.diff(images)).mean() - (n + 1) / 3) < 4 * n / np.sqrt(10 * n)
        # Neighbours that stay neighbours, in either direction: about 2.
        assert (np.abs(np.diff(images)) == 1).sum() < 12


def test_all_orders_of_four_come_equally_often():
    counts = Counter(tuple(order(seed, 0, np.arange(4), 4).tolist()) for seed in range(4800))
    assert len(counts) == 24
    chi_square = sum((c - 200) ** 2 / 200 for c in counts.values())
    assert chi_square < 50  # 23 degrees of freedom: exceeded with probability 0.0009


@pytest.mark.parametrize(("i", "n"), [(5, 5), (-1, 5), (0, 0), ([0, 9], 9)])
def test_positions_outside_are_refused(i, n):
    with pytest.raises(ValueError, match="positions"):
        order(0, 0, i, n)


def test_nothing_to_order():
    assert order(0, 0, [], 0).shape == (0,)


@settings(max_examples=60, deadline=None)
@given(seed=SEEDS, epoch=st.integers(0, 1000), n=st.integers(1, 3000), block=st.integers(1, 200), data=st.data())
def test_every_order_is_a_bijection_and_any_part_of_it_agrees(seed, epoch, n, block, data):
    lengths = np.random.default_rng(0).integers(0, 50, n)
    kind = data.draw(st.sampled_from(["full", "blocks"]))
    one = make_order(seed, lengths, kind, block, data.draw(st.integers(0, 2)) * 600)
    whole = one(epoch, np.arange(n))
    assert sorted(whole.tolist()) == list(range(n))
    part = data.draw(st.lists(st.integers(0, n - 1), max_size=30))
    assert one(epoch, np.array(part, dtype=np.int64)).tolist() == whole[part].tolist()


SHARDS = np.repeat(np.arange(200), 500)  # 100,000 documents


def test_a_full_order_has_the_quality_of_a_true_permutation():
    n = len(SHARDS)
    ours = order_quality(make_order(3, SHARDS), 0, SHARDS)
    true = permutation_quality(3, SHARDS)
    for quality in (ours, true):
        assert abs(quality.rank_correlation) < 4 / np.sqrt(n)
        assert abs(quality.lag_correlation) < 4 / np.sqrt(n)
        assert abs(quality.neighbour_distance - 1) < 0.01
        assert quality.neighbours_kept < 12 / n
        assert abs(quality.same_shard - 1) < 0.2
    assert abs(ours.shards_read - true.shards_read) < 0.005


def test_block_order_keeps_reads_local_and_still_mixes():
    ours = order_quality(make_order(3, SHARDS, "blocks", 256), 0, SHARDS)
    # 16 blocks of half a shard: 1 in 8 to 16 neighbours shares a shard; by chance it were 1 in 200.
    assert 5 < ours.same_shard < 30
    assert ours.shards_read < 0.15
    assert abs(ours.rank_correlation) < 0.1
    assert ours.neighbours_kept < 0.002


def test_blocks_begin_elsewhere_in_other_epochs():
    one = make_order(3, SHARDS, "blocks", 256)
    pools = [set(one(epoch, np.arange(16 * 256)).tolist()) for epoch in range(2)]
    assert len(pools[0] & pools[1]) < 0.3 * len(pools[0])


def test_a_curriculum_begins_with_short_documents():
    lengths = np.random.default_rng(0).integers(1, 1000, 5000)
    one = make_order(1, lengths, "full", 100, curriculum_epochs=1)
    first, second = (lengths[one(epoch, np.arange(5000))] for epoch in range(2))
    assert np.corrcoef(first, np.arange(5000))[0, 1] > 0.98
    assert abs(np.corrcoef(second, np.arange(5000))[0, 1]) < 0.06
    assert (np.diff(first) < 0).any()


def test_a_block_of_nothing_is_refused():
    with pytest.raises(ValueError, match="block_documents 0"):
        make_order(1, SHARDS, "blocks", 0)
