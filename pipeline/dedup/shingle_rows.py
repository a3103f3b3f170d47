"""Shingle sets out of batches of lists, one after another into one array."""

from numba import njit


@njit(nogil=True, cache=True)
def copy_rows(values, offsets, rows, out, at):  # type: ignore[no-untyped-def]
    """Copies the lists values[offsets[row]:offsets[row + 1]] to out[at:]; returns where the next one goes."""
    for row in rows:
        for i in range(offsets[row], offsets[row + 1]):
            out[at] = values[i]
            at += 1
    return at
