"""Kernels of `protect_index`: n-grams of normalised passages, and the search for them in normalised documents."""

import numpy as np
from numba import njit

from pipeline.dedup.mixing import fmix64
from pipeline.dedup.normalize import code_point
from pipeline.dedup.word_hash import POLYNOMIAL, hash_character, hash_word

_SPACE = np.uint8(32)
_ONE = np.uint64(1)
_LOW = np.uint64(63)
_FIRST_BIT, _SECOND_BIT = np.uint64(52), np.uint64(58)


@njit(nogil=True, cache=True, inline="always")
def _next(data, i, end, character):  # type: ignore[no-untyped-def]
    """Hash of the word or character at byte i, and the byte behind it."""
    if character:
        code, width = code_point(data, i)
        return hash_character(code), i + width
    return hash_word(data, i, end)


@njit(nogil=True, cache=True)
def _power(size):  # type: ignore[no-untyped-def]
    power = np.uint64(1)
    for _ in range(size):
        power *= POLYNOMIAL
    return power


@njit(nogil=True, cache=True)
def _spaceless(code, ranges):  # type: ignore[no-untyped-def]
    for k in range(len(ranges)):
        if code <= ranges[k, 1]:
            return code >= ranges[k, 0]
    return False


@njit(nogil=True, cache=True)
def ngrams_kernel(  # type: ignore[no-untyped-def]
    data, offsets, chosen, character, whole, size, salt, every, ranges, hashes, starts, stops, owners
):
    """n-grams of the chosen passages: of every item, or with `whole` the first, which then stands for the passage.
    Returns their number, writes what fits. Without `every`, n-grams mostly of scripts with spaces are left out."""
    ring = np.zeros(size, np.uint64)
    begins = np.zeros(size, np.int64)
    flags = np.zeros(size, np.int64)
    power = _power(size)
    out = 0
    for passage in chosen:
        ring[:] = 0
        flags[:] = 0
        rolling = np.uint64(0)
        spaceless = 0
        items = 0
        slot = 0
        i = offsets[passage]
        end = offsets[passage + 1]
        while i < end:
            if data[i] == _SPACE:
                i += 1
                continue
            begin = i
            flag = np.int64(0)
            if character:
                code, _ = code_point(data, i)
                flag = np.int64(_spaceless(code, ranges))
            item, i = _next(data, i, end, character)
            rolling = rolling * POLYNOMIAL + item - ring[slot] * power
            spaceless += flag - flags[slot]
            ring[slot] = item
            begins[slot] = begin
            flags[slot] = flag
            slot += 1
            if slot == size:
                slot = 0
            items += 1
            if items >= size and (every or whole or 2 * spaceless > size):
                if out < len(hashes):
                    hashes[out] = fmix64(rolling ^ salt)
                    starts[out] = begins[slot]
                    stops[out] = end if whole else i
                    owners[out] = passage
                out += 1
            if whole and items >= size:
                break
    return out


@njit(nogil=True, cache=True)
def distinct_kernel(data, hashes, starts, stops, keep):  # type: ignore[no-untyped-def]
    """Of n-grams sorted by hash, those of which no earlier one is the very same."""
    first = 0
    for k in range(len(hashes)):
        if k and hashes[k] != hashes[k - 1]:
            first = k
        keep[k] = True
        length = stops[k] - starts[k]
        for other in range(first, k):
            if keep[other] and stops[other] - starts[other] == length:
                same = True
                for byte in range(length):
                    if data[starts[k] + byte] != data[starts[other] + byte]:
                        same = False
                        break
                if same:
                    keep[k] = False
                    break


@njit(nogil=True, cache=True, inline="always")
def _bits(value):  # type: ignore[no-untyped-def]
    """The two bits of a hash; its low bits choose the word of the filter."""
    return (_ONE << ((value >> _FIRST_BIT) & _LOW)) | (_ONE << (value >> _SECOND_BIT))


@njit(nogil=True, cache=True)
def filter_kernel(hashes, bloom):  # type: ignore[no-untyped-def]
    mask = np.uint64(len(bloom) - 1)
    for value in hashes:
        bloom[value & mask] |= _bits(value)


@njit(nogil=True, cache=True)
def _same(data, i, end, text, start, stop, character):  # type: ignore[no-untyped-def]
    """Byte of the document behind text[start:stop], if that stands at byte i as whole words; else -1."""
    for k in range(start, stop):
        if character:
            while i < end and data[i] == _SPACE:
                i += 1
        if i >= end or data[i] != text[k]:
            return -1
        i += 1
    return i if character or i == end or data[i] == _SPACE else -1


@njit(nogil=True, cache=True)
def _find(hashes, value, starts, stops, text, data, begin, end, character):  # type: ignore[no-untyped-def]
    """The n-gram of this hash that stands at byte `begin`, and the byte behind it; -1, -1 if there is none."""
    low = 0
    high = len(hashes)
    while low < high:
        middle = (low + high) >> 1
        if hashes[middle] < value:
            low = middle + 1
        else:
            high = middle
    while low < len(hashes) and hashes[low] == value:
        after = _same(data, begin, end, text, starts[low], stops[low], character)
        if after >= 0:
            return low, after
        low += 1
    return -1, -1


@njit(nogil=True, cache=True)
def _hash_at(data, i, end, character, size):  # type: ignore[no-untyped-def]
    """Whether `size` items follow byte i, and the hash of them without salt."""
    rolling = np.uint64(0)
    items = 0
    while i < end and items < size:
        if data[i] == _SPACE:
            i += 1
            continue
        item, i = _next(data, i, end, character)
        rolling = rolling * POLYNOMIAL + item
        items += 1
    return items == size, rolling


@njit(nogil=True, cache=True)
def hits_kernel(  # type: ignore[no-untyped-def]
    data, offsets, character, size, least, long_salt, short_salt, bloom, hashes, starts, stops, text, first_only,
    found, where, begin, behind,
):  # fmt: skip
    """Hits in text order: document, n-gram, first byte and the byte behind. Returns their number (all fit)."""
    mask = np.uint64(len(bloom) - 1)
    power = _power(least)
    ring = np.zeros(least, np.uint64)
    begins = np.zeros(least, np.int64)
    hits = 0
    for document in range(len(offsets) - 1):
        i = offsets[document]
        end = offsets[document + 1]
        if character:  # no spaceless script lies below U+0800
            while i < end and data[i] < 0xE0:
                i += 1
            if i == end:
                continue
            i = offsets[document]
        ring[:] = 0
        rolling = np.uint64(0)
        items = 0
        slot = 0
        while i < end:
            if data[i] == _SPACE:
                i += 1
                continue
            begins[slot] = i
            item, i = _next(data, i, end, character)
            rolling = rolling * POLYNOMIAL + item - ring[slot] * power
            ring[slot] = item
            slot += 1
            if slot == least:
                slot = 0
            items += 1
            if items < least:
                continue
            value = fmix64(rolling ^ short_salt)
            bits = _bits(value)
            if bloom[value & mask] & bits != bits:
                continue
            first = begins[slot]
            entry, after = _find(hashes, value, starts, stops, text, data, first, end, character)
            if entry < 0:
                enough, whole = _hash_at(data, first, end, character, size)
                if enough:
                    value = fmix64(whole ^ long_salt)
                    entry, after = _find(hashes, value, starts, stops, text, data, first, end, character)
            if entry >= 0:
                found[hits] = document
                where[hits] = entry
                begin[hits] = first
                behind[hits] = after
                hits += 1
                if first_only:
                    break
    return hits
