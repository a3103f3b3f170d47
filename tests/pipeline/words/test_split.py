import hashlib

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.doc_id import doc_id_words
from pipeline.words.split import mix, share_mask, split_of

DOC_IDS = [hashlib.blake2b(str(i).encode(), digest_size=16).hexdigest() for i in range(20_000)]
ARRAY = pa.array(DOC_IDS)
M = 2**64 - 1


def mix_reference(value: int) -> int:
    """SplitMix64's finaliser on Python integers."""
    value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9 & M
    value = (value ^ value >> 27) * 0x94D049BB133111EB & M
    return value ^ value >> 31


def hash_reference(doc_id: str, salt: str) -> int:
    key = hashlib.blake2b(salt.encode(), digest_size=16).digest()
    high, low = int(doc_id[:16], 16), int(doc_id[16:], 16)
    first = mix_reference(high ^ int.from_bytes(key[:8], "little"))
    return mix_reference(first ^ low ^ int.from_bytes(key[8:], "little"))


def test_halves_are_the_two_hexadecimal_numbers():
    high, low = doc_id_words(ARRAY)
    assert high.tolist()[:500] == [int(doc_id[:16], 16) for doc_id in DOC_IDS[:500]]
    assert low.tolist()[:500] == [int(doc_id[16:], 16) for doc_id in DOC_IDS[:500]]


def test_splitmix_published_values():
    # first outputs of SplitMix64 seeded with 1234567: the finaliser of seed + i * golden gamma
    states = [(1234567 + i * 0x9E3779B97F4A7C15) & M for i in (1, 2, 3)]
    expected = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    assert mix(np.array(states, dtype=np.uint64)).tolist() == expected


@pytest.mark.parametrize("salt", ["", "valid", "vocabulary"])
@pytest.mark.parametrize("share", [0.001, 0.01, 0.3, 0.999])
def test_share(share, salt):
    mask = share_mask(ARRAY, share, salt)
    assert mask.dtype == np.bool_
    spread = 5 * (share * (1 - share) / len(mask)) ** 0.5
    assert abs(mask.mean() - share) <= spread
    assert mask.tolist()[:300] == [hash_reference(doc_id, salt) < int(share * 2**64) for doc_id in DOC_IDS[:300]]


def test_none_and_all():
    assert not share_mask(ARRAY, 0).any()
    assert share_mask(ARRAY, 1).all()
    assert share_mask(pa.array([], pa.string()), 0.5).shape == (0,)


@settings(max_examples=60, deadline=None)
@given(st.floats(0, 1), st.floats(0, 1), st.text(max_size=5))
def test_a_larger_share_contains_the_smaller(one, other, salt):
    small, large = sorted((one, other))
    assert (share_mask(ARRAY[:2000], small, salt) <= share_mask(ARRAY[:2000], large, salt)).all()


def test_only_the_doc_id_decides():
    mask = share_mask(ARRAY, 0.3, "valid")
    order = np.random.default_rng(1).permutation(len(mask))
    assert (share_mask(ARRAY.take(pa.array(order)), 0.3, "valid") == mask[order]).all()
    assert (share_mask(ARRAY.slice(7, 100), 0.3, "valid") == mask[7:107]).all()
    assert (share_mask(pa.chunked_array([ARRAY[:5], ARRAY[5:5], ARRAY[5:50]]), 0.3, "valid") == mask[:50]).all()


def test_salts_are_independent():
    both = share_mask(ARRAY, 0.3, "valid") & share_mask(ARRAY, 0.3, "vocabulary")
    assert abs(both.mean() - 0.09) < 0.01


def test_bad_arguments_are_told():
    with pytest.raises(ValueError, match=r"share is 1\.5"):
        share_mask(ARRAY, 1.5)
    with pytest.raises(ValueError, match=r"'abc' \(row 1\) is not 32 lower-case hex digits"):
        share_mask(pa.array([DOC_IDS[0], "abc"]), 0.5)
    with pytest.raises(ValueError, match=r"row 0\) is not 32 lower-case hex digits"):
        share_mask(pa.array([DOC_IDS[0].upper()]), 0.5)
    with pytest.raises(ValueError, match="nulls"):
        share_mask(pa.array([DOC_IDS[0], None]), 0.5)


def test_splits_are_disjoint_and_valid_does_not_depend_on_test():
    split = split_of(ARRAY, 0.1, 0.2)
    assert [abs((split == i).mean() - share) < 0.02 for i, share in enumerate((0.7, 0.1, 0.2))] == [True] * 3
    assert (split_of(ARRAY, 0.1) == np.where(split == 1, 1, 0)).all()
    assert ((split == 1) == share_mask(ARRAY, 0.1, "valid")).all()
    assert (split_of(ARRAY, 0.1, 0.3) >= split).all()
    assert not split_of(ARRAY, 0.0).any()


def test_shares_that_leave_nothing_are_told():
    with pytest.raises(ValueError, match="must be below 1"):
        split_of(ARRAY, 0.5, 0.5)
