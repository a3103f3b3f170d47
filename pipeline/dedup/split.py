"""Buckets over the cap, compared further: pairs of members that the first pass did not form.

The signature without the bucket's own band is cut into sub-bands of `SUB_ROWS` rows; two members meet where they agree
in one, and are a pair where the share of equal values in the whole signature is at most 5 standard deviations below the
threshold. Of pairs at Jaccard 0.8, 22 sub-bands miss 1.6e-4, the estimate 3e-7.

Where thousands agree in a sub-band (text from one template that differs elsewhere), all pairs would be quadratic:
groups over `FULL` members are sorted by the next two sub-bands and each member meets the `WINDOW` before it. A pair at
0.8 shares two neighbouring sub-bands somewhere with probability 0.92 and stands close there; what was passed over is
counted.
"""

import numpy as np
from numba import njit

from pipeline.dedup.bands import band_keys

SUB_ROWS = 5
SIGMAS = 5.0
FULL = 512
WINDOW = 128


def least_matches(threshold: float, permutations: int) -> int:
    """Equal values that a pair needs: threshold less 5 standard deviations of the estimate, in values."""
    sigma = (threshold * (1.0 - threshold) / permutations) ** 0.5
    return max(1, int(np.ceil((threshold - SIGMAS * sigma) * permutations)))


@njit(nogil=True, cache=True)
def _known(known, pair):  # type: ignore[no-untyped-def]
    low = 0
    high = len(known)
    while low < high:
        middle = (low + high) // 2
        if known[middle] < pair:
            low = middle + 1
        else:
            high = middle
    return low < len(known) and known[low] == pair


@njit(nogil=True, cache=True)
def _meet_kernel(  # type: ignore[no-untyped-def]
    order, starts, sub, keys, signatures, place, band, bands, rows, half, least, known, settled, partner, matches, count
):
    """Pairs within groups of one sub-band. Returns how many found no room, or lay too far apart in a large group."""
    left_over = 0
    width = signatures.shape[1]
    room = partner.shape[1]
    for group in range(len(starts) - 1):
        size = starts[group + 1] - starts[group]
        window = size if size <= FULL else WINDOW
        passed = starts[group]
        fresh = 0  # members passed over that are not settled
        for second in range(starts[group] + 1, starts[group + 1]):
            begin = max(starts[group], second - window)
            while passed < begin:
                fresh += order[passed] >= settled
                passed += 1
            left_over += fresh if order[second] < settled else begin - starts[group]
            for first in range(begin, second):
                i = min(order[first], order[second])
                j = max(order[first], order[second])
                if j < settled:
                    continue
                if place[i] < half or place[j] - place[i] <= half:
                    continue  # formed in the first pass
                met = False
                for other in range(sub):
                    met |= keys[i, other] == keys[j, other]
                if met:
                    continue  # in an earlier sub-band
                equal = 0
                owned = True
                for other in range(bands):
                    here = 0
                    for row in range(other * rows, (other + 1) * rows):
                        here += signatures[i, row] == signatures[j, row]
                    if here == rows and other < band:
                        owned = False  # the bucket of that band has the pair
                        break
                    equal += here
                if not owned:
                    continue
                for column in range(bands * rows, width):
                    equal += signatures[i, column] == signatures[j, column]
                if equal < least or _known(known, (np.uint64(i) << np.uint64(32)) | np.uint64(j)):
                    continue
                slot = count[j]
                if slot < room:
                    count[j] += 1
                else:
                    left_over += 1
                    slot = 0
                    for k in range(1, room):
                        if matches[j, k] < matches[j, slot] or (
                            matches[j, k] == matches[j, slot] and partner[j, k] > partner[j, slot]
                        ):
                            slot = k
                    if equal < matches[j, slot] or (equal == matches[j, slot] and i > partner[j, slot]):
                        continue
                partner[j, slot] = i
                matches[j, slot] = equal
    return left_over


def further_pairs(
    signatures: np.ndarray,
    place: np.ndarray,
    band: int,
    banding: tuple[int, int],
    cap: int,
    threshold: float,
    known: np.ndarray,
    room: int,
    settled: int = 0,
) -> tuple[np.ndarray, np.ndarray, int]:
    """(i, j, left over): index pairs i < j of members of one bucket that are worth verifying and are not yet known.

    signatures: uint32 [m, permutations] of the members still kept, in the total order. place: int64 [m], ascending,
    their places among all members of the bucket: pairs of the first pass (see `candidate_pairs`) are not formed again.
    band: the bucket's; a pair that shares an earlier band too belongs to that bucket. known: sorted uint64, i << 32 | j
    of pairs formed in earlier rounds. A member gets its `room` most alike earlier partners, of equals the earliest; the
    rest is counted as left over, with what large groups passed over. settled: the first so many members stay anyway and
    are no pairs of one another. Memory: 8 * room bytes a member; work: at most
    `FULL` looks a member and sub-band.
    """
    bands, rows = banding
    others = np.delete(np.arange(signatures.shape[1]), np.arange(band * rows, (band + 1) * rows))
    sub_rows = min(SUB_ROWS, max(1, len(others)))
    members = len(place)
    partner = np.empty((members, room), np.int32)
    matches = np.empty((members, room), np.int32)
    count = np.zeros(members, np.int64)
    least = least_matches(threshold, signatures.shape[1])
    # With one band there is nothing to split by: all members meet.
    subs = len(others) // sub_rows
    keys = band_keys(signatures[:, others], subs, sub_rows) if subs else np.zeros((members, 1), np.uint64)
    left_over = 0
    for sub in range(keys.shape[1]):
        after = [keys[:, (sub + step) % keys.shape[1]] for step in (2, 1, 0)]
        order = np.lexsort((np.arange(members), *after))
        ordered = keys[order, sub]
        starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1], True])
        left_over += _meet_kernel(
            order,
            starts,
            sub,
            keys,
            signatures,
            place,
            band,
            bands,
            rows,
            cap // 2,
            least,
            known,
            settled,
            partner,
            matches,
            count,
        )
    filled = np.arange(room) < count[:, None]
    right = np.repeat(np.arange(members), count)
    return partner[filled].astype(np.int64), right, left_over
