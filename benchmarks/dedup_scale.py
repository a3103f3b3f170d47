"""Deduplication of millions of documents without their text: signatures drawn from a measured model.

`measure` takes the model from a finished run; `simulate` writes signature parts for any number of documents and runs
the product's steps over them, task after task in this process: digests, copies, bands, pairs, resolution in rounds,
rounds over overfull buckets. Only `verify` is not run, for there are no texts: the model's own Jaccard stands in its
place.
"""

import json
import resource
import time
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pyarrow as pa
from numba import njit

from pipeline.config import DeduplicateConfig, PipelineConfig, make_config
from pipeline.dedup.bands import band_keys
from pipeline.dedup.candidates import unique_pairs
from pipeline.dedup.mixing import fmix64
from pipeline.settle_duplicates import Deduplication
from pipeline.stages.candidates import PAIRS, path_of, paths_of, signature_values
from pipeline.stages.clean import signature_schema
from pipeline.stages.documents import signature_table
from pipeline.stages.exchange import read_cut
from pipeline.stages.layout import signatures_path
from pipeline.stages.parts import PartRecord, PartWriter
from pipeline.stages.verify import EDGES

PART_DOCUMENTS = 25_000
BINS = 50
CLASSES = ("small", "middle", "large")
SMALL = 10
LARGE = 1000
"""Clusters from this size on grow with the corpus (one template, more mails); smaller ones become more."""


@njit(cache=True)
def _root(parent: np.ndarray, node: int) -> int:
    while parent[node] != node:
        parent[node] = parent[parent[node]]
        node = parent[node]
    return node


@njit(cache=True)
def _join(parent: np.ndarray, left: np.ndarray, right: np.ndarray) -> None:
    for pair in range(len(left)):
        a, b = _root(parent, left[pair]), _root(parent, right[pair])
        if a != b:
            parent[max(a, b)] = min(a, b)
    for node in range(len(parent)):
        parent[node] = _root(parent, node)


@njit(cache=True)
def _mixed_kernel(values, out):  # type: ignore[no-untyped-def]
    for i in range(len(values)):
        out[i] = fmix64(np.uint64(values[i]))


def _mixed(values: np.ndarray) -> np.ndarray:
    """uint64 [n]: a hash of each number."""
    out = np.empty(len(values), np.uint64)
    _mixed_kernel(values, out)
    return out


def bucket_sizes(keys: np.ndarray) -> np.ndarray:
    """int64: members of each bucket with at least two."""
    _, sizes = np.unique(keys, return_counts=True)
    return sizes[sizes > 1]


def measure(output: Path, config: DeduplicateConfig) -> dict:
    """The model of a finished run: how many clusters of which size (documents that share a bucket with one another),
    and by size class how the members' shares of common shingles spread (`Model`), in BINS bins from 0 to 1."""
    parts = sorted(int(path.stem) for path in (output / "stages/clean/signatures").glob("*.arrow"))
    signed = [signature_table(str(output), part) for part in parts]
    digests = np.concatenate([np.asarray(table["digest"].to_pylist(), "S16") for table in signed])
    long = np.concatenate([table["shingles"].to_numpy() >= config.min_shingles for table in signed])
    values = np.concatenate([signature_values(table) for table in signed])
    _, first = np.unique(digests, return_index=True)
    copies = len(digests) - len(first)
    values = values[np.sort(first[long[first]])]
    keys = band_keys(values, *config.banding)
    parent = np.arange(len(values))
    for band in range(keys.shape[1]):
        order = np.argsort(keys[:, band], kind="stable")
        same = keys[order[1:], band] == keys[order[:-1], band]
        _join(parent, order[:-1][same], order[1:][same])
    _, cluster, sizes = np.unique(parent, return_inverse=True, return_counts=True)
    own = _own_shares(values, np.argsort(cluster, kind="stable"), np.append(0, np.cumsum(sizes)))
    classes = np.digitize(sizes, (SMALL, LARGE))[np.sort(cluster)]
    several = sizes[np.sort(cluster)] > 1
    histograms = {}
    for number, name in enumerate(CLASSES):
        mine = own[several & (classes == number)]
        bins = np.minimum((1.0 / (1.0 + mine) * BINS).astype(np.int64), BINS - 1)
        histograms[name] = np.bincount(bins, minlength=BINS).tolist()
    buckets = bucket_sizes(keys.ravel())
    return {
        "documents": len(digests),
        "copies": copies,
        "short": int((~long).sum()),
        "clusters": sorted(Counter(sizes[sizes > 1].tolist()).items()),
        "frame": histograms,
        "buckets": len(buckets),
        "bucket_sizes": [int(np.quantile(buckets, share)) for share in (0.5, 0.99, 1.0)],
    }


@njit(cache=True)
def _own_shares(values, order, starts):  # type: ignore[no-untyped-def]
    """float64 [n], in the given order: what each member adds to its cluster's frame.

    1 / J - 1 of a pair is the sum of what both add; three pairs of three members tell each. The mean of eight threes.
    """
    out = np.zeros(len(order))
    for cluster in range(len(starts) - 1):
        first, size = starts[cluster], starts[cluster + 1] - starts[cluster]
        for i in range(size):
            turns = 0
            for turn in range(8 if size > 1 else 0):
                draw = fmix64(np.uint64(first + i) * np.uint64(8) + np.uint64(turn))
                j = (i + 1 + np.int64(draw % np.uint64(size - 1))) % size
                k = (i + 1 + np.int64((draw >> np.uint64(32)) % np.uint64(size - 1))) % size
                mine = values[order[first + i]]
                found = _apart(mine, values[order[first + j]])
                if j != k:
                    found += _apart(mine, values[order[first + k]])
                    found -= _apart(values[order[first + j]], values[order[first + k]])
                elif size > 2:
                    continue
                out[first + i] += found / 2
                turns += 1
            out[first + i] = max(out[first + i] / max(turns, 1), 0.0)
    return out


@njit(cache=True)
def _apart(left, right):  # type: ignore[no-untyped-def]
    equal = 0
    for k in range(len(left)):
        equal += left[k] == right[k]
    return len(left) / max(equal, 1) - 1.0


class Model:
    """Documents of a cluster share a frame of shingles; member i adds own[i] times as many of its own. The Jaccard of
    two members is then 1 / (1 + own[i] + own[j]), and their signatures are drawn as MinHash draws them: the least hash
    of the frame and the least of the own shingles are exponential variables, and the lesser one is the value.
    """

    def __init__(self, model: dict, documents: int, width: int) -> None:
        factor = documents / model["documents"]
        self.documents, self.width, copies = documents, width, int(model["copies"] * factor)
        sizes = []
        for size, count in model["clusters"]:
            sizes += [int(size * factor)] * count if size >= LARGE else [size] * round(count * factor)
        singles = documents - copies - sum(sizes)
        if singles < 0:
            raise SystemExit(f"the model of {model['documents']:,} documents does not fit {documents:,}")
        by_size = np.concatenate([np.array(sizes, np.int64), np.ones(singles + copies, np.int64)])
        cluster = np.repeat(np.arange(len(by_size), dtype=np.uint32), by_size)
        classes = np.repeat(np.digitize(by_size, (SMALL, LARGE)).astype(np.uint8), by_size)
        # Members of a cluster lie anywhere in the corpus.
        order = np.argsort(_mixed(np.arange(1, documents + 1)))
        self.cluster = np.empty(documents, np.uint32)
        self.cluster[order] = cluster
        self.own = np.zeros(documents, np.float32)
        for number, name in enumerate(CLASSES):
            histogram = np.array(model["frame"][name], np.float64)
            mine = np.flatnonzero((classes == number) & (by_size[cluster] > 1))
            if len(mine) and histogram.sum():
                draw = _mixed(mine + documents) / 2.0**64 * histogram.sum()
                bins = np.minimum(np.searchsorted(np.cumsum(histogram), draw, side="right"), BINS - 1)
                frame = (bins + _mixed(mine + 2 * documents) / 2.0**64) / BINS
                self.own[order[mine]] = 1.0 / np.maximum(frame, 0.01) - 1.0
        # Exact copies: the last documents without a cluster are copies of any others.
        self.original = np.arange(documents)
        self.original[order[documents - copies :]] = order[:copies]

    def signatures(self, rows: np.ndarray) -> np.ndarray:
        """uint32 [n, width] of documents."""
        rows = self.original[rows]
        return _draw(rows, self.cluster[rows], self.own[rows], self.width)

    def jaccard(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """float64 [n]"""
        same = self.cluster[left] == self.cluster[right]
        return np.where(same, 1.0 / (1.0 + self.own[left].astype(np.float64) + self.own[right]), 0.0)


@njit(cache=True)
def _draw(rows, cluster, own, width):  # type: ignore[no-untyped-def]
    out = np.empty((len(rows), width), np.uint32)
    for i in range(len(rows)):
        for k in range(width):
            frame = fmix64(np.uint64(cluster[i]) * np.uint64(1048583) + np.uint64(k) + np.uint64(1 << 61))
            value = frame
            if own[i] > 0:
                mine = fmix64(np.uint64(rows[i]) * np.uint64(1048583) + np.uint64(k) + np.uint64(1 << 60))
                # -log(mine) / own < -log(frame), both as numbers between 0 and 1
                if float(mine) / 2.0**64 > (float(frame) / 2.0**64) ** own[i]:
                    value = fmix64(mine + np.uint64(1))
            out[i, k] = np.uint32(value & np.uint64(0xFFFFFFFF))
    return out


def write_signatures(model: Model, output: str) -> dict[int, int]:
    """The signature parts that `clean` would have written; part -> documents."""
    schema = signature_schema(model.width)
    parts = {}
    for start in range(0, model.documents, PART_DOCUMENTS):
        rows = np.arange(start, min(start + PART_DOCUMENTS, model.documents))
        number = start // PART_DOCUMENTS
        original = model.original[rows].astype(np.uint64)
        digest = np.stack([_mixed(original + np.uint64(1)), original], 1).astype(">u8")
        mixed = _mixed(rows).tolist()
        doc_id = [f"{high:016x}{row:016x}" for high, row in zip(mixed, rows.tolist(), strict=True)]
        values = model.signatures(rows)
        columns = [
            pa.array(doc_id),
            pa.array([f"model#{row}" for row in rows.tolist()]),
            pa.array(np.zeros(len(rows), np.uint16)),
            pa.array(np.zeros(len(rows), np.uint16)),
            pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), len(rows), [None, pa.py_buffer(digest.tobytes())]),
            pa.array(np.full(len(rows), 200, np.uint32)),
            pa.FixedSizeBinaryArray.from_buffers(
                pa.binary(4 * model.width), len(rows), [None, pa.py_buffer(values.tobytes())]
            ),
        ]
        with PartWriter(output, number).sink(signatures_path(number), schema, compressed=False) as sink:
            sink.write(pa.table(columns, schema=schema))
        parts[number] = len(rows)
    return parts


def simulate(model: dict, documents: int, work: Path) -> dict:
    """Figures of one run over that many documents."""
    partitions = max(16, 1 << (documents // 1_000_000).bit_length() + 2)
    whole: PipelineConfig = make_config({"deduplicate": {"partitions": partitions, "resolution": "rounds"}})
    config = whole.deduplicate
    output = str(work)
    started = time.perf_counter()
    drawn = Model(model, documents, config.signature_width)
    parts = write_signatures(drawn, output)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    print(f"{documents:,} signatures drawn in {time.perf_counter() - started:.1f} s, peak {before:,.0f} MB")
    seconds: dict[str, float] = defaultdict(float)
    written: Counter[str] = Counter()

    def index(refs: np.ndarray) -> np.ndarray:
        return ((refs >> np.uint64(32)) * np.uint64(PART_DOCUMENTS) + (refs & np.uint64(0xFFFFFFFF))).astype(np.int64)

    def model_edges(spec: dict, part: PartWriter) -> dict:
        makers = paths_of(spec["pairs"], range(partitions))
        left, right = unique_pairs(*read_cut(output, makers, part.index, PAIRS))
        found = drawn.jaccard(index(left), index(right))
        good = found >= config.threshold
        orders = [_orders(output, ends[good]) for ends in (left, right)]
        with part.sink(path_of(spec["edges"], part.index), EDGES, compressed=False) as sink:
            sink.write(pa.table([left[good], right[good], *orders, found[good]], schema=EDGES))
        return {"pairs": len(left), "edges": int(good.sum())}

    def run(name: str, steps: list) -> dict[str, list[PartRecord]]:
        made: dict[str, list[PartRecord]] = {}
        for step in steps:
            kind = step.name.split("/")[-1]
            group = next((known for known in ("resolve", "further", "edges") if kind.startswith(known)), kind)
            begun = time.process_time()
            made[step.name] = []
            for task in step.tasks:
                writer = PartWriter(output, task.index)
                if kind == "shingles":
                    facts: dict = {}
                elif kind.startswith("edges"):
                    facts = model_edges(task.spec, writer)
                else:
                    facts = step.make(task.spec, writer)
                entries = writer.entries()
                written[group] += sum(entry.bytes for entry in entries)
                made[step.name].append(PartRecord(task.index, task.key, entries, facts))
            seconds[group] += time.process_time() - begun
        return made

    begun, wall = time.process_time(), time.perf_counter()
    drops, facts = Deduplication(output, config, parts, "scale", run).decide()
    total, wall = time.process_time() - begun, time.perf_counter() - wall
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    print(f"\n{'step':<12} {'CPU s':>9} {'us/document':>12} {'bytes':>16} {'bytes/document':>15}")
    for name, spent in seconds.items():
        each = written[name] / documents
        print(f"{name:<12} {spent:9.1f} {spent / documents * 1e6:12.2f} {written[name]:16,} {each:15.1f}")
    print(f"\n{len(drops.ref):,} drops; {json.dumps(facts)}")
    return {
        "scale_documents": documents,
        "scale_partitions": partitions,
        "scale_cpu_seconds": round(total, 1),
        "scale_wall_seconds": round(wall, 1),
        "scale_peak_mb": round(peak),
        "scale_peak_mb_of_the_model": round(before),
        "scale_shuffled_bytes": sum(written.values()),
        "scale_shuffled_bytes_per_document": round(sum(written.values()) / documents, 1),
        "scale_resolution_rounds": facts["resolution_rounds"],
        "scale_bucket_rounds": facts["rounds"],
        "scale_pairs": facts["pairs"] + facts["further_pairs"],
        "scale_edges": facts["edges"],
        "scale_unexamined": facts["unexamined"],
        "scale_drops": len(drops.ref),
        "scale_model_documents": model["documents"],
    }


def _orders(output: str, refs: np.ndarray) -> np.ndarray:
    """The order keys of refs: priority and quality are equal in the model, the doc_id is the hash of the row."""
    rows = (refs >> np.uint64(32)) * np.uint64(PART_DOCUMENTS) + (refs & np.uint64(0xFFFFFFFF))
    return (np.uint64(1) << np.uint64(48)) | (_mixed(rows) >> np.uint64(24))
