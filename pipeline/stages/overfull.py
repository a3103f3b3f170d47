"""Rounds over the buckets that held more documents than the cap, so that the cap costs no recall.

    overfull buckets, less what was dropped so far --signatures--> further pairs --> verified --> resolved again

until a round finds none. Why that is enough: a drop always has a kept twin with verified Jaccard, for the last
resolution runs over all edges. And at the end no two kept documents that share a bucket are left unexamined: in a
bucket within the cap every pair was verified; in a larger one every pair of kept members was verified, or found to be
no candidate by its whole signature (see `pipeline.dedup.split`), because the last round, which looked at just these
members, found no pair. Each round examines new pairs, so the rounds end.

A dense cluster costs its members times the cap: nearly all are dropped before the first round. Thousands of members
that rest just below the threshold have more pairs than can be verified: each gets at most `ROOM` new ones a round, the
most alike first, and after `BARREN` rounds in a row without one at the threshold the rest is left, counted as
unexamined in the report. Where that count is 0, as it is but for such templates, the above holds to the letter.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.config import DeduplicateConfig
from pipeline.dedup.bands import band_keys
from pipeline.dedup.refs import find, parts_of, rows_of, runs
from pipeline.dedup.split import further_pairs
from pipeline.stages.candidates import PAIRS, is_earlier, path_of, signature_rows
from pipeline.stages.exchange import read_columns, spread, write_cut
from pipeline.stages.parts import PartWriter

ROOM = 32
"""New pairs of a member in one round and bucket."""
BARREN = 2
"""Rounds in a row without a pair at the threshold after which the rest is left."""
MEMBERS = 1 << 18
"""Signatures held at a time (480 bytes each with 120 permutations), unless one bucket has more kept members."""


def _signatures(output: str, refs: np.ndarray, width: int) -> np.ndarray:
    """uint32 [n, width] of refs, sorted."""
    out = np.empty((len(refs), width), np.uint32)
    part, row = parts_of(refs), rows_of(refs)
    for number, start, end in runs(part):
        out[start:end] = signature_rows(output, number, row[start:end])
    return out


def _groups(starts: np.ndarray) -> list[tuple[int, int]]:
    """Runs of whole buckets (first, end) with at most MEMBERS rows, or of one bucket."""
    runs = []
    first = 0
    for bucket in range(1, len(starts) - 1):
        if starts[bucket + 1] - starts[first] > MEMBERS:
            runs.append((first, bucket))
            first = bucket
    runs.append((first, len(starts) - 1))
    return runs


@dataclass(frozen=True)
class MakeFurther:
    """Further pairs of one partition's overfull buckets. spec: drops (kinds of the last resolution), before (kinds of
    this partition's further pairs of earlier rounds), to (kind)."""

    output: str
    config: DeduplicateConfig

    def __call__(self, spec: dict[str, Any], part: PartWriter) -> dict[str, Any]:
        key, ref = read_columns(self.output, path_of("overfull", part.index))
        dropped = np.sort(np.concatenate([read_columns(self.output, path)[0] for path in spec["drops"]]))
        earlier = [read_columns(self.output, path_of(kind, part.index)) for kind in spec["before"]]
        first = np.r_[True, key[1:] != key[:-1]] if len(key) else np.empty(0, np.bool_)
        starts = np.flatnonzero(first)
        place = np.arange(len(key)) - np.repeat(starts, np.diff(np.append(starts, len(key))))
        kept = np.flatnonzero(find(dropped, ref) < 0)
        key, ref, place = key[kept], ref[kept], place[kept]
        left, right, left_over = self._pairs(key, ref, place, earlier)
        order = np.lexsort((right, left))
        columns = [left[order], right[order]]
        partitions = self.config.partitions
        write_cut(part, path_of(spec["to"], part.index), PAIRS, columns, spread(columns[0], partitions), partitions)
        return {"pairs": len(left), "left_over": left_over}

    def _pairs(
        self, key: np.ndarray, ref: np.ndarray, place: np.ndarray, earlier: list[list[np.ndarray]]
    ) -> tuple[np.ndarray, np.ndarray, int]:
        none = np.empty(0, np.uint64)
        if not len(key):
            return none, none, 0
        known_left, known_right = (np.concatenate([none, *(columns[side] for columns in earlier)]) for side in (0, 1))
        starts = np.append(np.flatnonzero(np.r_[True, key[1:] != key[:-1]]), len(key))
        bands, rows = self.config.banding
        lefts, rights, total = [none], [none], 0
        for first, end in _groups(starts):
            members = np.unique(ref[starts[first] : starts[end]])
            values = _signatures(self.output, members, self.config.signature_width)
            for bucket in range(first, end):
                mine = ref[starts[bucket] : starts[bucket + 1]]
                if len(mine) < 2:
                    continue
                signatures = values[np.searchsorted(members, mine)]
                band = int(np.flatnonzero(band_keys(signatures[:1], bands, rows)[0] == key[starts[bucket]])[0])
                known = _known_pairs(mine, known_left, known_right)
                i, j, left_over = further_pairs(
                    signatures,
                    place[starts[bucket] : starts[bucket + 1]],
                    band,
                    (bands, rows),
                    self.config.bucket_cap,
                    self.config.threshold,
                    known,
                    ROOM,
                    int(is_earlier(mine).sum()),
                )
                lefts.append(mine[i])
                rights.append(mine[j])
                total += left_over
        return np.concatenate(lefts), np.concatenate(rights), total


def _known_pairs(members: np.ndarray, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Sorted uint64: i << 32 | j of the pairs that lie among the members, by their indices."""
    if not len(left):
        return np.empty(0, np.uint64)
    by_ref = np.argsort(members)
    table = members[by_ref]
    i, j = find(table, left), find(table, right)
    both = (i >= 0) & (j >= 0)
    packed = (by_ref[i[both]].astype(np.uint64) << np.uint64(32)) | by_ref[j[both]].astype(np.uint64)
    return np.sort(packed)
