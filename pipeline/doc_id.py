"""The document id: 128 bits of content, as 32 hex digits, and as numbers to sort and hash by."""

import hashlib

import numpy as np
import numpy.typing as npt
import pyarrow as pa

_HEX_DIGITS = 32
_NIBBLES = np.full(256, 255, dtype=np.uint8)
_NIBBLES[np.frombuffer(b"0123456789abcdef", dtype=np.uint8)] = np.arange(16, dtype=np.uint8)


def doc_id(content: bytes) -> str:
    """128-bit BLAKE2b of the raw content: decoded text as UTF-8, or the raw bytes where it cannot be decoded."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def doc_id_words(doc_ids: pa.Array | pa.ChunkedArray) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    """High and low 64 bits [n] of doc_ids; they sort as the strings do. Raises ValueError naming a bad one."""
    if isinstance(doc_ids, pa.ChunkedArray):
        doc_ids = doc_ids.combine_chunks()
    if doc_ids.null_count:
        raise ValueError("doc_ids holds nulls; every document needs a doc_id")
    array = doc_ids.cast(pa.string())
    n = len(array)
    if n == 0:
        return np.empty(0, dtype=np.uint64), np.empty(0, dtype=np.uint64)
    offsets = np.frombuffer(array.buffers()[1], dtype=np.int32)[array.offset : array.offset + n + 1]
    bad = np.flatnonzero(np.diff(offsets) != _HEX_DIGITS)
    if not bad.size:
        text = np.frombuffer(array.buffers()[2], dtype=np.uint8)[offsets[0] : offsets[-1]]
        nibbles = _NIBBLES[text].reshape(n, _HEX_DIGITS)
        bad = np.flatnonzero((nibbles > 15).any(axis=1))
    if bad.size:
        raise ValueError(f"doc_id {doc_ids[int(bad[0])].as_py()!r} (row {bad[0]}) is not 32 lower-case hex digits")
    octets = (nibbles[:, 0::2] << 4) | nibbles[:, 1::2]
    halves = np.ascontiguousarray(octets).view(">u8").astype(np.uint64)
    return halves[:, 0], halves[:, 1]
