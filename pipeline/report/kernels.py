"""Kernels over the scores of audit rows: 55 of them a record, so 550 million in an audit of 10 million rows.

Legend: R rules, S sides of the limit (below, at, above), K rows kept as examples, G groups of examples.
"""

import numpy as np
from numba import njit

OCTAVES, STEPS = 64, 32
"""Fine bins: 32 in each octave from 2^-32 to 2^32, on both sides of zero. Their edges are sums of powers of two:
coarser bins with such edges lose nothing."""
ZERO = OCTAVES * STEPS
BINS = 2 * ZERO + 1

SCORED, BELOW, ABOVE, BELOW_DECIDED, ABOVE_DECIDED, BELOW_KEPT, ABOVE_KEPT, ALONE, UNEVEN = range(9)
COLUMNS = 9
"""Columns of `counts`; UNEVEN: scores that are no whole number."""
DROPPED, KEPT_UNDER, KEPT_OVER = range(3)
GROUPS = 3
"""Groups of examples: records that the rule decided against; kept records at or below the limit; at or above it."""
UNTOLD, MINIMUM, MAXIMUM, LINES = range(4)
"""What a rule's limit is: not known, a minimum, a maximum, or a line's (the rule fails where it cut any)."""


@njit(nogil=True, cache=True)
def identities(data, offsets, high, low):  # type: ignore[no-untyped-def]
    """The two halves of ids of 32 hex digits as uint64 [rows]; other text gives some number, the same each time."""
    for row in range(len(offsets) - 1):
        first, second = np.uint64(0), np.uint64(0)
        for index in range(offsets[row], offsets[row + 1]):
            byte = np.uint64(data[index])
            digit = (byte & np.uint64(15)) + np.uint64(9) * (byte >> np.uint64(6))
            first = (first << np.uint64(4)) | (second >> np.uint64(60))
            second = (second << np.uint64(4)) | digit
        high[row], low[row] = first, second


@njit(nogil=True, cache=True)
def hashes(data, offsets, out):  # type: ignore[no-untyped-def]
    """64-bit FNV-1a of each text, uint64 [rows]."""
    for row in range(len(offsets) - 1):
        value = np.uint64(0xCBF29CE484222325)
        for index in range(offsets[row], offsets[row + 1]):
            value = (value ^ np.uint64(data[index])) * np.uint64(0x100000001B3)
        out[row] = value


@njit(nogil=True, cache=True, inline="always")
def _same(data, start, length, names, name_start, name_end):  # type: ignore[no-untyped-def]
    if name_end - name_start != length:
        return False
    # Slices and no early exit: the compiler then makes vectors of the loop.
    one, two = data[start : start + length], names[name_start:name_end]
    different = np.uint8(0)
    for index in range(length):
        different |= one[index] ^ two[index]
    return different == 0


@njit(nogil=True, cache=True)
def name_codes(data, offsets, rows, begin, names, name_offsets, codes):  # type: ignore[no-untyped-def]
    """Number of each text among `names`, from row `begin` on. Row r has the texts rows[r] to rows[r + 1].

    Returns (row, text) of the first text that is none of the names, or (number of rows, -1). Most rows list the same
    rules as the row before: then one comparison of all their bytes is enough.
    """
    known = len(name_offsets) - 1
    for row in range(begin, len(rows) - 1):
        first, end = rows[row], rows[row + 1]
        size = end - first
        if row > begin and size and size == first - rows[row - 1]:
            here, before = offsets[first : end + 1], offsets[first - size : first + 1]
            shift = here[0] - before[0]
            different = np.int32(0)
            for text in range(size + 1):
                different |= np.int32(here[text] - before[text] - shift)
            length = offsets[end] - offsets[first]
            if different == 0 and _same(data, offsets[first], length, data, offsets[first - size], offsets[first]):
                codes[first:end] = codes[first - size : first]
                continue
        guess = 0
        for text in range(first, end):
            start, length = offsets[text], offsets[text + 1] - offsets[text]
            found = -1
            for step in range(known):
                code = guess + step
                if code >= known:
                    code -= known
                if _same(data, start, length, names, name_offsets[code], name_offsets[code + 1]):
                    found = code
                    break
            if found < 0:
                return row, text
            codes[text] = found
            guess = found + 1 if found + 1 < known else 0
    return len(rows) - 1, -1


@njit(nogil=True, cache=True, inline="always")
def fine_bin(bits):  # type: ignore[no-untyped-def]
    """Fine bin of a float64, given as its bits in an int64."""
    exponent = ((bits >> 52) & 0x7FF) - 1023 + OCTAVES // 2
    if exponent < 0:
        return ZERO
    if exponent >= OCTAVES:
        place = OCTAVES * STEPS
    else:
        place = 1 + exponent * STEPS + ((bits >> 47) & 31)
    return ZERO - place if bits < 0 else ZERO + place


@njit(nogil=True, cache=True, inline="always")
def _before(one, two, three, other):  # type: ignore[no-untyped-def]
    if one != other[0]:
        return one < other[0]
    if two != other[1]:
        return two < other[1]
    return three < other[2]


@njit(nogil=True, cache=True)
def offer(distances_K, keys_K3, places_K, values_K2, distance, high, low, tie, place, score, limit):  # type: ignore[no-untyped-def]
    """Inserts a row where it is among the K least by (distance, id, tie), one for each id."""
    last = len(places_K) - 1
    if not distance <= distances_K[last] or (
        distance == distances_K[last] and not _before(high, low, tie, keys_K3[last])
    ):
        return
    end = last
    for slot in range(len(places_K)):
        if places_K[slot] >= 0 and keys_K3[slot, 0] == high and keys_K3[slot, 1] == low:
            if distance > distances_K[slot] or (distance == distances_K[slot] and tie >= keys_K3[slot, 2]):
                return
            end = slot
    while end > 0 and (
        distance < distances_K[end - 1]
        or (distance == distances_K[end - 1] and _before(high, low, tie, keys_K3[end - 1]))
    ):
        distances_K[end], keys_K3[end], places_K[end] = distances_K[end - 1], keys_K3[end - 1], places_K[end - 1]
        values_K2[end] = values_K2[end - 1]
        end -= 1
    distances_K[end], places_K[end] = distance, place
    keys_K3[end, 0], keys_K3[end, 1], keys_K3[end, 2] = high, low, tie
    values_K2[end, 0], values_K2[end, 1] = score, limit


@njit(nogil=True, cache=True)
def tally(  # type: ignore[no-untyped-def]
    offsets,
    codes,
    scores,
    bits,
    limits,
    verdicts,
    deciders,
    high,
    low,
    tie,
    first,
    kinds_R,
    decisive_R,
    counts_RC,
    limits_R2,
    fine_RSB,
    distances_RGK,
    keys_RGK3,
    places_RGK,
    values_RGK2,
):
    """Adds a table of audit rows. Row r has the entries offsets[r] to offsets[r + 1] of codes, scores, bits (of the
    scores) and limits. verdicts: 0 kept, 1 filtered; deciders: code of the rule that decided, -1 for none; `first` is
    the place of row 0 among all rows."""
    last = distances_RGK.shape[2] - 1
    for row in range(len(offsets) - 1):
        kept, filtered = verdicts[row] == 0, verdicts[row] == 1
        decider = deciders[row] if filtered else -1
        failing = 0
        for entry in range(offsets[row], offsets[row + 1]):
            code, score, limit = codes[entry], scores[entry], limits[entry]
            if limit < limits_R2[code, 0]:
                limits_R2[code, 0] = limit
            if limit > limits_R2[code, 1]:
                limits_R2[code, 1] = limit
            if kinds_R[code] == LINES:
                limit = 0.0
            counts = counts_RC[code]
            counts[SCORED] += 1
            counts[UNEVEN] += score != np.floor(score)
            side = 1
            if score < limit:
                side = 0
                counts[BELOW] += 1
                counts[BELOW_DECIDED] += code == decider
                counts[BELOW_KEPT] += kept
                failing += decisive_R[code] and kinds_R[code] == MINIMUM
            elif score > limit:
                side = 2
                counts[ABOVE] += 1
                counts[ABOVE_DECIDED] += code == decider
                counts[ABOVE_KEPT] += kept
                failing += decisive_R[code] and kinds_R[code] == MAXIMUM
            fine_RSB[code, side, fine_bin(bits[entry])] += 1
            distance = abs(score - limit)
            if not distance < np.inf:
                continue
            if code == decider:
                begin, end = DROPPED, DROPPED + 1
            elif kept:
                begin, end = KEPT_UNDER + (side == 2), KEPT_OVER + (side >= 1)
            else:
                continue
            for group in range(begin, end):
                worst = distances_RGK[code, group, last]
                # Most ties at distance 0 end here: slices cost more than all the rest.
                if distance < worst or (distance == worst and high[row] <= keys_RGK3[code, group, last, 0]):
                    offer(
                        distances_RGK[code, group],
                        keys_RGK3[code, group],
                        places_RGK[code, group],
                        values_RGK2[code, group],
                        distance,
                        high[row],
                        low[row],
                        tie[row],
                        first + row,
                        score,
                        limit,
                    )
        if decider >= 0 and failing == 1:
            counts_RC[decider, ALONE] += 1
