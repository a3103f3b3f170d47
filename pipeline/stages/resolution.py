"""Greedy resolution in rounds, for more edges than one process holds. The same drops as `pipeline.dedup.resolve`.

    edges of place s (their left ends) --incoming--> how many earlier neighbours each document has
    round: news of neighbours decided last --> kept / dropped / undecided --> news to later neighbours, cut by place
    at the end: kept left ends --> the most similar kept neighbour of each dropped document

A document is kept once all its earlier neighbours are dropped, dropped once one is kept. In each round the earliest
undecided document has no undecided earlier neighbour, so every round decides one and the rounds end; with an order made
of hashes they are O(log n) (Fischer and Noever 2018). Each edge carries news once. State: 13 bytes per document of a
place that has an edge.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.dedup.refs import find
from pipeline.stages.candidates import path_of, paths_of
from pipeline.stages.exchange import read_columns, read_cut, spread, write_cut
from pipeline.stages.parts import PartWriter

UNDECIDED, KEPT, DROPPED = range(3)

INCOMING = pa.schema([("right", pa.uint64())])
NEWS = pa.schema([("right", pa.uint64()), ("state", pa.uint8())])
STATE = pa.schema([("ref", pa.uint64()), ("pending", pa.uint32()), ("state", pa.uint8())])
TWINS = pa.schema(
    [("right", pa.uint64()), ("left", pa.uint64()), ("left_order", pa.uint64()), ("jaccard", pa.float64())]
)
NEAR_DROPS = pa.schema([("ref", pa.uint64()), ("twin", pa.uint64()), ("jaccard", pa.float64())])


def read_edges(output: str, kinds: list[str], place: int) -> list[np.ndarray]:
    """Columns left, right, left_order, right_order, jaccard of one place, of all rounds of candidates."""
    files = [read_columns(output, path_of(kind, place)) for kind in kinds]
    return [np.concatenate(columns) for columns in zip(*files, strict=True)]


@dataclass(frozen=True)
class MakeIncoming:
    """Tells the right ends of a place's edges that they have an earlier neighbour. spec: edges (kinds), to (kind)."""

    output: str
    partitions: int

    def __call__(self, spec: dict[str, Any], part: PartWriter) -> dict[str, Any]:
        right = read_edges(self.output, spec["edges"], part.index)[1]
        write_cut(
            part, path_of(spec["to"], part.index), INCOMING, [right], spread(right, self.partitions), self.partitions
        )
        return {}


@dataclass(frozen=True)
class MakeRound:
    """One round of one place. spec: edges; base (kind), round: 0 reads what MakeIncoming told."""

    output: str
    partitions: int

    def __call__(self, spec: dict[str, Any], part: PartWriter) -> dict[str, Any]:
        base, number = spec["base"], spec["round"]
        left, right = read_edges(self.output, spec["edges"], part.index)[:2]
        if number == 0:
            (told,) = read_cut(self.output, paths_of(f"{base}-incoming", range(self.partitions)), part.index, INCOMING)
            ref, counts = np.unique(np.concatenate([left, told]), return_counts=True)
            own, outgoing = np.unique(left, return_counts=True)
            counts[np.searchsorted(ref, own)] -= outgoing
            pending, state = counts.astype(np.uint32), np.zeros(len(ref), np.uint8)
        else:
            ref, pending, state = read_columns(self.output, path_of(f"{base}-state-{number - 1:05d}", part.index))
            news = paths_of(f"{base}-news-{number - 1:05d}", range(self.partitions))
            told, fate = read_cut(self.output, news, part.index, NEWS)
            place = find(ref, told)
            pending, state = pending.copy(), state.copy()
            np.subtract.at(pending, place, np.uint32(1))
        before = state.copy()
        if number:
            near_kept = np.unique(place[fate == KEPT])
            state[near_kept[state[near_kept] == UNDECIDED]] = DROPPED
        state[(state == UNDECIDED) & (pending == 0)] = KEPT
        fresh = np.where(before == UNDECIDED, state, UNDECIDED)
        of_left = fresh[find(ref, left)]
        tell = of_left != UNDECIDED
        columns = [right[tell], of_left[tell].astype(np.uint8)]
        to = spread(columns[0], self.partitions)
        write_cut(part, path_of(f"{base}-news-{number:05d}", part.index), NEWS, columns, to, self.partitions)
        with part.sink(path_of(f"{base}-state-{number:05d}", part.index), STATE, compressed=False) as sink:
            sink.write(pa.table([ref, pending, state], schema=STATE))
        return {"undecided": int((state == UNDECIDED).sum()), "told": int(tell.sum())}


@dataclass(frozen=True)
class MakeOffers:
    """Offers kept left ends as twins. spec: edges, base, round (the last)."""

    output: str
    partitions: int

    def __call__(self, spec: dict[str, Any], part: PartWriter) -> dict[str, Any]:
        left, right, left_order, _, jaccard = read_edges(self.output, spec["edges"], part.index)
        ref, _, state = read_columns(self.output, path_of(f"{spec['base']}-state-{spec['round']:05d}", part.index))
        kept = state[find(ref, left)] == KEPT
        columns = [right[kept], left[kept], left_order[kept], jaccard[kept]]
        to = spread(columns[0], self.partitions)
        write_cut(part, path_of(f"{spec['base']}-offers", part.index), TWINS, columns, to, self.partitions)
        return {}


@dataclass(frozen=True)
class MakeTwins:
    """The dropped documents of a place, each with its most similar kept neighbour, of equals the earliest."""

    output: str
    partitions: int

    def __call__(self, spec: dict[str, Any], part: PartWriter) -> dict[str, Any]:
        offers = paths_of(f"{spec['base']}-offers", range(self.partitions))
        right, left, left_order, jaccard = read_cut(self.output, offers, part.index, TWINS)
        best = np.lexsort((left, left_order, -jaccard, right))
        right = right[best]
        first = np.r_[True, right[1:] != right[:-1]] if len(right) else np.empty(0, np.bool_)
        best = best[first]
        with part.sink(path_of(f"{spec['base']}-drops", part.index), NEAR_DROPS, compressed=False) as sink:
            sink.write(pa.table([right[first], left[best], jaccard[best]], schema=NEAR_DROPS))
        return {"drops": len(best)}
