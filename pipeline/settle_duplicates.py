"""The deduplicate stage, step by step: which jobs run, and what the driver decides between them from refs."""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.config import DeduplicateConfig
from pipeline.dedup.decide import KINDS, Drops, Edges, join_exact, near_drops, near_twins
from pipeline.dedup.refs import parts_of, rows_of, runs
from pipeline.io import filesystem
from pipeline.io.sink import ArrowSink
from pipeline.stages import candidates, contained, overfull, resolution, verify
from pipeline.stages.candidates import BASE, path_of
from pipeline.stages.chain import Step
from pipeline.stages.deduplicate import DECISIONS, STAGE, decisions_path
from pipeline.stages.documents import FIRST_EARLIER, record_prefix, signature_table
from pipeline.stages.exchange import read_columns
from pipeline.stages.parts import MakePart, PartRecord, Task, digest_of
from schemas.manifest import FileEntry

PARTS = f"{BASE}/parts.json"

LOCAL_EDGES = 20_000_000
"""Verified pairs up to which `resolution = "auto"` resolves in this process (80 bytes each)."""

ROUNDS_OF_JOB = 4
"""Rounds of the resolution in one job; one that finds nothing undecided costs less than to start another job."""

RunSteps = Callable[[str, list[Step]], dict[str, list[PartRecord]]]
"""(name of the job, its steps) -> the parts of each step, by its name."""


@dataclass(frozen=True)
class Deduplication:
    """One run of the stage over the parts of one output (and of earlier runs; see `pipeline.stages.documents`)."""

    output: str
    config: DeduplicateConfig
    documents: dict[int, int]
    """Part -> how many documents it holds."""
    fingerprint: str
    run: RunSteps

    def _step(self, kind: str, indices: Iterable[int], make: MakePart, **spec: Any) -> Step:
        tasks = [Task(i, spec, digest_of(self.fingerprint, kind, i, spec)) for i in indices]
        return Step(f"{STAGE}/{kind}", tuple(tasks), make)

    def _part_step(self, kind: str, make: MakePart, **more: Any) -> Step:
        tasks = []
        for place, (part, documents) in enumerate(sorted(self.documents.items())):
            spec = {"place": place, **more}
            tasks.append(Task(part, spec, digest_of(self.fingerprint, kind, part, spec), documents))
        return Step(f"{STAGE}/{kind}", tuple(tasks), make)

    def decide(self) -> tuple[Drops, dict[str, int]]:
        """Which documents go, and what the report says of the way there."""
        output, config = self.output, self.config
        places = range(config.partitions)
        filesystem.write_atomic(filesystem.join(output, PARTS), orjson.dumps(sorted(self.documents)))
        steps = [
            self._part_step("digests", candidates.MakeDigests(output, config.partitions)),
            self._step("copies", places, candidates.MakeCopies(output, PARTS)),
        ]
        if config.near:
            steps += [
                self._part_step("bands", candidates.MakeBands(output, config)),
                self._step("pairs", places, candidates.MakePairs(output, PARTS, config)),
                self._part_step("shingles", verify.MakeShingles(output, config)),
                self._step("edges", places, verify.MakeEdges(output, PARTS, config), pairs="pairs", edges="edges"),
            ]
        made = self.run(f"{STAGE}/candidates", steps)
        copies, survivors = self._columns(candidates.COPIES, [path_of("copies", place) for place in places])
        own = ~candidates.is_earlier(copies)
        copies, survivors = copies[own], survivors[own]
        facts = {"copies": len(copies)}
        near = near_drops(np.empty(0, np.uint64), np.empty(0, np.uint64), np.empty(0))
        if config.near:
            for kind, names in (("bands", ("compared", "short")), ("pairs", ("buckets", "overfull", "bytes"))):
                for name in names:
                    records = [record for record in made[f"{STAGE}/{kind}"] if record.index < FIRST_EARLIER]
                    facts[name] = sum(record.facts[name] for record in records)
            facts["largest"] = max(record.facts["largest"] for record in made[f"{STAGE}/pairs"])
            edges = made[f"{STAGE}/edges"]
            facts |= {"pairs": _total(edges, "pairs"), "edges": _total(edges, "edges")}
            near = near_drops(*self._resolve_all(facts))
        if config.containment:
            near = self._contained(copies, near, facts)
        return join_exact(copies, survivors, near), facts

    def _resolve_all(self, facts: dict[str, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Resolution, and rounds over the overfull buckets until no kept pair is left unexamined."""
        output, config = self.output, self.config
        places = range(config.partitions)
        kinds: list[str] = ["edges"]
        further: list[str] = []
        facts |= {"rounds": 0, "further_pairs": 0, "unexamined": 0, "resolution_rounds": 0}
        barren = 0
        while True:
            number = len(kinds)
            drops = self._resolve(kinds, facts)
            if not facts["overfull"]:
                break
            dropped = self._store_dropped(number, drops[0])
            make = overfull.MakeFurther(output, config)
            name = f"further-{number:03d}"
            step = self._step(name, places, make, drops=[dropped], before=list(further), to=name)
            edges = f"edges-{number:03d}"
            verified = self._step(edges, places, verify.MakeEdges(output, PARTS, config), pairs=name, edges=edges)
            made = self.run(f"{STAGE}/round-{number:03d}", [step, verified])
            found = _total(made[step.name], "pairs")
            facts["unexamined"] = _total(made[step.name], "left_over")
            edged = _total(made[verified.name], "edges")
            facts["edges"] += edged
            facts["further_pairs"] += found
            if not found:
                break
            kinds.append(edges)
            further.append(name)
            facts["rounds"] += 1
            barren = 0 if edged else barren + 1
            if barren == overfull.BARREN:
                break
        return drops

    def _resolve(self, kinds: list[str], facts: dict[str, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        local = facts["edges"] <= LOCAL_EDGES if self.config.resolution == "auto" else self.config.resolution == "local"
        return self._resolve_here(kinds) if local else self._resolve_in_rounds(kinds, facts)

    def _resolve_here(self, kinds: list[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        paths = [path_of(kind, place) for kind in kinds for place in range(self.config.partitions)]
        return near_twins(Edges(*self._columns(verify.EDGES, paths)))

    def _resolve_in_rounds(self, kinds: list[str], facts: dict[str, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        output, partitions = self.output, self.config.partitions
        places = range(partitions)
        base = f"resolve-{len(kinds):03d}"
        spec = {"edges": kinds, "base": base}
        told = f"{base}-incoming"
        steps = [self._step(told, places, resolution.MakeIncoming(output, partitions), edges=kinds, to=told)]
        number = left = 0
        while not number or left:
            for _ in range(ROUNDS_OF_JOB):
                make = resolution.MakeRound(output, partitions)
                steps.append(self._step(f"{base}-round-{number:05d}", places, make, **spec, round=number))
                number += 1
            made = self.run(steps[-1].name, steps)
            undecided = [_total(made[step.name], "undecided") for step in steps[-ROUNDS_OF_JOB:]]
            left = undecided[-1]
            steps = []
        rounds = number - sum(count == 0 for count in undecided) + 1
        facts["resolution_rounds"] = max(facts["resolution_rounds"], rounds)
        number -= 1
        offers = self._step(f"{base}-offers", places, resolution.MakeOffers(output, partitions), **spec, round=number)
        twins = self._step(f"{base}-twins", places, resolution.MakeTwins(output, partitions), base=base)
        self.run(f"{STAGE}/{base}-twins", [offers, twins])
        ref, twin, jaccard = self._columns(resolution.NEAR_DROPS, [path_of(f"{base}-drops", place) for place in places])
        by_ref = np.argsort(ref)
        return ref[by_ref], twin[by_ref], jaccard[by_ref]

    def _contained(self, copies: np.ndarray, near: Drops, facts: dict[str, int]) -> Drops:
        """Adds what larger kept documents hold. See `pipeline.stages.contained`."""
        output, config = self.output, self.config
        places = range(config.partitions)
        dropped = path_of("contained-dropped", 0)
        _write(output, dropped, pa.table([np.sort(np.concatenate([copies, near.ref]))], schema=candidates.WANTED))
        by_twin = np.lexsort((near.ref, near.twin))
        twins = path_of("contained-near", 0)
        _write(output, twins, pa.table([near.twin[by_twin], near.ref[by_twin]], schema=contained.NEAR))
        sets = verify.MakeShingles(output, config, "contained-wanted", "contained-shingles")
        steps = [
            self._part_step("anchors", contained.MakeAnchors(output, config), dropped=dropped),
            self._step("contained-pairs", places, contained.MakeContainedPairs(output, PARTS, config), near=twins),
            self._part_step("contained-shingles", sets),
            self._step("held", places, contained.MakeHeld(output, PARTS, config)),
        ]
        made = self.run(f"{STAGE}/contained", steps)
        facts["anchors"] = _total(made[steps[0].name], "anchors")
        facts["contained_pairs"] = _total(made[steps[1].name], "pairs")
        held = self._columns(contained.HELD, [path_of("held", place) for place in places])
        return contained.contained_drops(held, near)

    def _store_dropped(self, number: int, refs: np.ndarray) -> str:
        path = path_of("dropped", number)
        _write(self.output, path, pa.table([refs], schema=candidates.WANTED))
        return path

    def _columns(self, schema: pa.Schema, paths: list[str]) -> list[np.ndarray]:
        files = [read_columns(self.output, path) for path in paths]
        return [np.concatenate([file[i] for file in files]) for i in range(len(schema))]

    def write_decisions(self, drops: Drops) -> list[list[Any]]:
        """One file per part: the rows that go, and the kept document that justifies each.

        Returns for each part [bytes and sha256 of the file, sha256 of the rows alone].
        """
        doc_id, record = self._names(drops.twin)
        part = parts_of(drops.ref)
        kinds = pa.array(KINDS).take(pa.array(drops.kind))
        table = pa.table(
            [
                rows_of(drops.ref).astype(np.uint32),
                kinds,
                doc_id,
                record,
                drops.jaccard,
                kinds,
                pa.array(
                    [None if np.isnan(share) else _contained(share) for share in drops.containment.tolist()],
                    pa.string(),
                ),
            ],
            schema=DECISIONS,
        )
        written: list[list[Any]] = []
        for number in sorted(number for number in self.documents if number < FIRST_EARLIER):
            low, high = np.searchsorted(part, [number, number + 1])
            entry = _write(self.output, decisions_path(number), table.slice(low, high - low))
            rows = table["row"].slice(low, high - low).to_numpy().astype("<u4")
            written.append([entry.bytes, entry.sha256, hashlib.sha256(rows.tobytes()).hexdigest()])
        return written

    def _names(self, refs: np.ndarray) -> tuple[pa.Array, pa.Array]:
        """doc_id and record of refs, in their order; one part's table at a time."""
        order = np.argsort(refs, kind="stable")
        part, row = parts_of(refs[order]), rows_of(refs[order])
        none = pa.array([], pa.string())
        chunks: dict[str, list[pa.Array]] = {"doc_id": [none], "record": [none]}
        for number, start, end in runs(part):
            signed = signature_table(self.output, number)
            taken = {name: signed[name].combine_chunks().take(pa.array(row[start:end])) for name in chunks}
            prefix = record_prefix(self.output, number)
            if prefix:
                taken["record"] = pc.binary_join_element_wise(prefix, taken["record"], "")
            for name, found in chunks.items():
                found.append(taken[name])
        back = np.empty(len(refs), np.int64)
        back[order] = np.arange(len(refs))
        doc_id, record = (pa.concat_arrays(found).take(pa.array(back)) for found in chunks.values())
        return doc_id, record


def _contained(share: float) -> str:
    return f"{share:.1%} of its shingles are in the kept document"


def _total(records: list[PartRecord], name: str) -> int:
    return sum(record.facts[name] for record in records)


def _write(output: str, path: str, table: pa.Table) -> FileEntry:
    sink = ArrowSink(filesystem.join(output, path), table.schema)
    sink.write(table)
    sink.close()
    return sink.entry(path)
