import numpy as np
import pytest

from pipeline.dedup.split import FULL, further_pairs, least_matches

NONE = np.empty(0, np.uint64)


def members(count: int, share: float, seed: int = 1) -> np.ndarray:
    """Signatures that all agree in band 0 of 6 rows, and elsewhere in each value with the template's by chance."""
    generator = np.random.default_rng(seed)
    template = generator.integers(0, 1 << 32, 120, np.uint32)
    own = generator.integers(0, 1 << 32, (count, 120), np.uint32)
    return np.where((generator.random((count, 120)) < share) | (np.arange(120) < 6), template, own)


def found(signatures: np.ndarray, cap: int = 2, known: np.ndarray = NONE, room: int = 64, band: int = 0):
    place = np.arange(len(signatures))
    return further_pairs(signatures, place, band, (20, 6), cap, 0.8, known, room)


def test_pairs_alike_enough_that_share_a_sub_band_and_were_not_formed() -> None:
    signatures = members(60, 0.88)
    left, right, left_over = found(signatures)
    pairs = set(zip(left.tolist(), right.tolist(), strict=True))
    equal = (signatures[:, None] == signatures[None]).sum(axis=2)
    rest = signatures[:, 6:].reshape(60, -1)[:, :110].reshape(60, 22, 5)
    meet = (rest[:, None] == rest[None]).all(axis=3).any(axis=2)
    least = least_matches(0.8, 120)
    assert least == 75
    assert pairs == {(i, j) for j in range(60) for i in range(1, j - 1) if meet[i, j] and equal[i, j] >= least}
    assert left_over == 0
    assert len(pairs) > 100


def test_a_bucket_leaves_pairs_to_an_earlier_band() -> None:
    signatures = members(40, 0.9)
    signatures[:, 12:18] = signatures[0, 12:18]
    by_first = {*zip(*(side.tolist() for side in found(signatures, band=0)[:2]), strict=True)}
    by_third = {*zip(*(side.tolist() for side in found(signatures, band=2)[:2]), strict=True)}
    assert by_first
    assert not by_third


def test_known_pairs_are_not_formed_again_and_the_best_come_first() -> None:
    signatures = members(50, 0.9)
    left, right, _ = found(signatures)
    equal = (signatures[:, None] == signatures[None]).sum(axis=2)
    first_left, first_right, left_over = found(signatures, room=3)
    assert left_over > 0
    assert np.bincount(first_right).max() == 3
    for member in range(50):
        mine = left[right == member]
        best = sorted(mine.tolist(), key=lambda other: (-equal[other, member], other))[:3]
        assert sorted(first_left[first_right == member].tolist()) == sorted(best)
    known = np.sort((first_left.astype(np.uint64) << np.uint64(32)) | first_right.astype(np.uint64))
    again_left, again_right, _ = found(signatures, known=known)
    together = set(zip(first_left.tolist(), first_right.tolist(), strict=True))
    others = set(zip(again_left.tolist(), again_right.tolist(), strict=True))
    assert not together & others
    assert together | others == set(zip(left.tolist(), right.tolist(), strict=True))


def test_crowds_are_passed_over_in_part_and_counted() -> None:
    signatures = members(4 * FULL, 0.75)
    left, right, left_over = found(signatures, room=8)
    assert left_over > 0
    assert (left < right).all()
    assert np.bincount(right).max() <= 8


@pytest.mark.parametrize("count", [0, 1, 2])
def test_few_members(count: int) -> None:
    assert len(found(members(count, 0.9))[0]) == 0
