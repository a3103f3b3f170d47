"""Shares of documents chosen by hash: held-out splits, vocabulary sample. Order, files and workers play no part.

Near-duplicates never stand on both sides of a split: of every group of copies deduplication keeps one document, and
documents that it keeps are pairwise below its threshold, wherever the hash puts them.
"""

import hashlib
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.doc_id import doc_id_words

SPLITS: Final = ("train", "valid", "test")


def mix(value: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """SplitMix64's finaliser (Steele et al. 2014): a bijection of 64-bit integers that spreads every bit."""
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


def doc_id_hash(doc_ids: pa.Array | pa.ChunkedArray, salt: str) -> npt.NDArray[np.uint64]:
    """64-bit hash [n] of (doc_id, salt); two salts give independent hashes."""
    high, low = doc_id_words(doc_ids)
    key = np.frombuffer(hashlib.blake2b(salt.encode(), digest_size=16).digest(), dtype="<u8").astype(np.uint64)
    return mix(mix(high ^ key[0]) ^ low ^ key[1])


def share_mask(doc_ids: pa.Array | pa.ChunkedArray, share: float, salt: str = "") -> npt.NDArray[np.bool_]:
    """True [n] for about `share` (0..1) of the documents, decided by (doc_id, salt) alone.

    A larger share contains every smaller one of the same salt.
    """
    if not 0.0 <= share <= 1.0:
        raise ValueError(f"share is {share}; it must lie in 0..1")
    hashes = doc_id_hash(doc_ids, salt)
    if share >= 1.0:
        return np.ones(len(hashes), dtype=np.bool_)
    return hashes < np.uint64(int(share * 2**64))


def split_of(doc_ids: pa.Array | pa.ChunkedArray, valid_share: float, test_share: float = 0.0) -> npt.NDArray[np.int64]:
    """Index into SPLITS [n]. What is valid does not depend on `test_share`."""
    if not 0.0 <= valid_share + test_share < 1.0:
        raise ValueError(f"valid and test take {valid_share + test_share} of the documents; it must be below 1")
    held_out = share_mask(doc_ids, valid_share + test_share, "valid")
    valid = share_mask(doc_ids, valid_share, "valid")
    return np.where(valid, 1, np.where(held_out, 2, 0)).astype(np.int64)
