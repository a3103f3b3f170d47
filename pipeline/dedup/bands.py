"""The buckets of signatures: documents that agree in all rows of one band share one. See `banding` for how many."""

import numpy as np
from numba import njit

from pipeline.dedup.mixing import fmix64

_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


@njit(nogil=True, cache=True)
def _band_kernel(signatures, rows, out):  # type: ignore[no-untyped-def]
    for document in range(out.shape[0]):
        for band in range(out.shape[1]):
            key = fmix64(np.uint64(band) + np.uint64(1))
            for row in range(rows):
                key = fmix64(key * _MULTIPLIER + np.uint64(signatures[document, band * rows + row]))
            out[document, band] = key


def band_keys(signatures: np.ndarray, bands: int, rows: int) -> np.ndarray:
    """uint32 [n, >= bands * rows] -> uint64 [n, bands]: one bucket key for each band.

    The band's index is mixed in, so that keys of different bands may lie in one table.
    Raises ValueError where the signatures are too narrow.
    """
    if signatures.shape[1] < bands * rows:
        raise ValueError(
            f"{bands} bands x {rows} rows need {bands * rows} permutations; the signatures have {signatures.shape[1]}"
        )
    out = np.empty((signatures.shape[0], bands), np.uint64)
    _band_kernel(np.ascontiguousarray(signatures, np.uint32), rows, out)
    return out
