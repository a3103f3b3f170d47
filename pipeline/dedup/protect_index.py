"""Protected passages (evaluation items) as an index of their n-grams, and the search for them in documents.

    passages --normalise--> n-grams of words (of characters, in scripts without spaces) --hash--> sorted table
    documents --normalise--> rolling hash of `min_words` words, at every word --Bloom filter--> hash of the n-gram there
        --table--> the very bytes compared --> hits

A hash only finds: a hit is a run of the same normalised words. A passage shorter than an n-gram is looked for whole,
by its first `min_words`. Hashes are those of `shingles` (polynomial of the items' hashes, modulo 2^64), salted by kind.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipeline.config import ProtectConfig
from pipeline.dedup.normalize import text_buffers
from pipeline.dedup.protect_kernels import distinct_kernel, filter_kernel, hits_kernel, ngrams_kernel
from pipeline.dedup.protect_passages import Passage
from pipeline.dedup.shingles import SPACELESS

BITS_PER_NGRAM = 32
"""Of the Bloom filter, two bits in one 64-bit word: 1 % pass it by chance, 1,000,000 n-grams take 4 to 8 MB."""
_SALTS = np.array([0x5BD1E9955BD1E995, 0xD6E8FEB86659FD93, 0xA0761D6478BD642F, 0xE7037ED1A0B428DB], np.uint64)
"""Of n-grams of words, whole short passages, n-grams of characters, whole short passages of characters."""
_RANGES = np.array(SPACELESS, np.int64)


@dataclass(frozen=True, slots=True)
class Hits:
    """Runs of words that documents share with protected passages, in text order."""

    document: np.ndarray
    """int64 [hits], ascending."""
    passage: np.ndarray
    """int64 [hits]"""
    start: np.ndarray
    """int64 [hits]: first byte of the run in the normalised document."""
    stop: np.ndarray
    """int64 [hits]: the byte behind it."""
    origin: np.ndarray
    """int64 [hits]: first byte of the run in the passage's text."""


class ProtectIndex:
    """All n-grams of some passages. `passages` are normalised, see `protect_passages`."""

    def __init__(self, passages: Sequence[Passage], config: ProtectConfig) -> None:
        self.passages = passages
        self._text, offsets = text_buffers(pa.array([passage.text for passage in passages], pa.large_string()))
        self._first = offsets
        items = np.array([passage.items for passage in passages], np.int64)
        by_character = np.array([passage.by_character for passage in passages], np.bool_)
        kinds = ((False, config.ngram, config.min_words), (True, config.ngram_characters, config.min_characters))
        columns, anchors = [], []
        self._kinds: list[tuple[bool, int, int, np.uint64, np.uint64]] = []
        for character, size, least in kinds:
            salts = _SALTS[2:] if character else _SALTS[:2]
            of_kind = by_character == character
            long = np.flatnonzero(of_kind & (items >= size))
            short = np.flatnonzero(of_kind & (items >= least) & (items < size))
            columns.append(self._ngrams(long, character, False, size, salts[0]))
            columns.append(self._ngrams(short, character, True, least, salts[1]))
            # The first `least` items of an n-gram may have less than half of them in spaceless scripts.
            anchors.append(self._ngrams(long, character, False, least, salts[1], every=True)[0])
            anchors.append(columns[-1][0])
            if len(long) + len(short):
                self._kinds.append((character, size, least, salts[0], salts[1]))
        hashes, starts, stops, owners = (np.concatenate(arrays) for arrays in zip(*columns, strict=True))
        order = np.argsort(hashes, kind="stable")
        hashes, starts, stops, owners = (array[order] for array in (hashes, starts, stops, owners))
        keep = np.zeros(len(hashes), np.bool_)
        distinct_kernel(self._text, hashes, starts, stops, keep)
        self._hashes, self._starts, self._stops = hashes[keep], starts[keep], stops[keep]
        self._owners = owners[keep]
        bits = 1 << max(BITS_PER_NGRAM * len(self._hashes) - 1, 63).bit_length()
        self._bloom = np.zeros(bits // 64, np.uint64)
        filter_kernel(np.concatenate(anchors), self._bloom)

    def __len__(self) -> int:
        """Distinct n-grams."""
        return len(self._hashes)

    def _ngrams(
        self, chosen: np.ndarray, character: bool, whole: bool, size: int, salt: np.uint64, every: bool = False
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        common = (self._text, self._first, chosen, character, whole, size, salt, every or not character, _RANGES)
        none = np.empty(0, np.int64)
        count = ngrams_kernel(*common, np.empty(0, np.uint64), none, none, none)
        hashes = np.empty(count, np.uint64)
        starts, stops, owners = np.empty((3, count), np.int64)
        ngrams_kernel(*common, hashes, starts, stops, owners)
        return hashes, starts, stops, owners

    def find(self, normalised: pa.Array, first_only: bool = True) -> Hits:
        """Hits in normalised texts (see `normalize.normalise_batch`): the first of each document by words, else by
        characters; or all of them, those by words first."""
        data, offsets = text_buffers(normalised)
        rows = len(offsets) - 1
        columns: list[list[np.ndarray]] = [[] for _ in range(5)]
        room = rows if first_only else int(offsets[-1] - offsets[0])
        table = (self._bloom, self._hashes, self._starts, self._stops, self._text)
        for kind in self._kinds:
            document, entry, start, stop = (np.empty(room, np.int64) for _ in range(4))
            count = hits_kernel(data, offsets, *kind, *table, first_only, document, entry, start, stop)
            document, entry = document[:count], entry[:count]
            owner = self._owners[entry]
            found = (document, owner, start[:count] - offsets[document], stop[:count] - offsets[document])
            for column, values in zip(columns, (*found, self._starts[entry] - self._first[owner]), strict=True):
                column.append(values)
        arrays = [np.concatenate([np.empty(0, np.int64), *column]) for column in columns]
        if first_only:
            _, first = np.unique(arrays[0], return_index=True)
        else:
            first = np.argsort(arrays[0], kind="stable")
        return Hits(*(array[first] for array in arrays))
