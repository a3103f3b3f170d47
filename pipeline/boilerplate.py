"""The stage `boilerplate` as the driver runs it: four jobs, each only where the one before it left something to do.

documents per source --> survey --> limits --> count --> candidates --> vouch --> lines --> cut
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa

from pipeline.config import PipelineConfig
from pipeline.dedup.boilerplate import bucket_count, limit_of
from pipeline.io import filesystem
from pipeline.io.sink import ArrowSink
from pipeline.runner import Execution, run_job
from pipeline.stages import boilerplate_cut, boilerplate_survey
from pipeline.stages.boilerplate import COUNTS, STAGE, Sources, build_count, build_vouch, copies_path, read_sketch
from pipeline.stages.layout import CUT_LINES, CUT_LINES_SCHEMA
from pipeline.stages.parts import PartRecord, Task, collect_parts, digest_of, sidecar_path, write_tasks
from pipeline.stages.tables import read_partitions
from pipeline.workspace import StageResult, Workspace

CANDIDATES = f"stages/{STAGE}/candidates.arrow"
CHOSEN = f"stages/{STAGE}/chosen.arrow"
WORKER_BYTES = 256 << 20
"""Text that is worth a further local worker: one takes longer to start than to hash the lines of that much."""


def _counted(records: Sequence[PartRecord]) -> dict[str, int]:
    """Source -> documents that clean passed on."""
    total: dict[str, int] = {}
    for record in records:
        for name, verdicts in record.facts["sources"].items():
            total[name] = total.get(name, 0) + verdicts["kept"]
    return total


@dataclass(frozen=True)
class BoilerplateRun:
    """One run of the stage over clean's parts. `fingerprint` covers all that decides its bytes."""

    output: str
    config: PipelineConfig
    cleaned: Sequence[PartRecord]
    fingerprint: str
    execution: Execution

    def __call__(self) -> StageResult:
        wanted = self.config.boilerplate
        documents = _counted(self.cleaned)
        names = tuple(sorted(name for name, count in documents.items() if count >= wanted.min_documents))
        sources = Sources(names if wanted.enabled else ())
        parts = [r for r in self.cleaned if any(r.facts["sources"].get(n, {}).get("kept") for n in sources.names)]
        chosen = self._chosen(sources, [documents[name] for name in sources.names], parts) if parts else None
        cut = self._cut(sources, parts, chosen) if chosen is not None else []
        for part in {r.index for r in self.cleaned} - {r.index for r in cut}:
            boilerplate_cut.forget_cut(self.output, part)
            filesystem.remove(sidecar_path(self.output, f"{STAGE}/cut", part))
        if chosen is None:
            self._write(CUT_LINES, CUT_LINES_SCHEMA.empty_table())
        names_of_sums = ("documents", "lines", "characters", "emptied")
        sums: dict[str, Any] = {name: sum(r.facts[name] for r in cut) for name in names_of_sums}
        return StageResult("", facts={**sums, "distinct_lines": 0 if chosen is None else chosen.num_rows})

    # ---- steps

    def _chosen(self, sources: Sources, documents: list[int], parts: list[PartRecord]) -> pa.Table | None:
        """The boilerplate lines (COUNTS), or None where there are none."""
        limits = self._survey(sources, documents, parts)
        if read_sketch(self.output).max(initial=0) < min(limits):
            return None
        tasks = self._tasks("count", parts, limits)
        self._run(
            "count", tasks, lambda p, path: build_count(p, self.output, path, self.config.boilerplate, sources, limits)
        )
        candidates = self._above("counted", limits)
        if not candidates.num_rows:
            return None
        self._write(CANDIDATES, candidates)
        tasks = self._tasks("vouch", parts, limits, spec={"candidates": CANDIDATES})
        self._run("vouch", tasks, lambda p, path: build_vouch(p, self.output, path, self.config.boilerplate))
        chosen = self._above("vouched", limits)
        return chosen if chosen.num_rows else None

    def _survey(self, sources: Sources, documents: list[int], parts: list[PartRecord]) -> tuple[int, ...]:
        """Makes the sketch; returns the least number of documents of each source's boilerplate lines."""
        wanted = self.config.boilerplate
        space, marker = Workspace(self.output), f"{STAGE}/survey"
        if space.finished(marker, self.fingerprint) is None:
            space.clear("stages", STAGE, "copies")
            buckets = bucket_count(sum(documents))
            self._run(
                "survey",
                self._tasks("survey", parts),
                lambda p, path: boilerplate_survey.build_survey(p, self.output, path, wanted, sources, buckets),
                clear=(),
            )
            space.finish(marker, StageResult(self.fingerprint))
        distinct = np.array(documents, np.int64)
        for record in parts:
            path = filesystem.join(self.output, copies_path(record.index))
            if filesystem.exists(path):
                source = filesystem.open_arrow(path).read_all()["source"].to_numpy()
                distinct -= np.bincount(source, minlength=len(distinct))
        return tuple(limit_of(count, wanted.min_documents, wanted.min_share) for count in distinct.tolist())

    def _cut(self, sources: Sources, parts: list[PartRecord], chosen: pa.Table) -> list[PartRecord]:
        self._write(CHOSEN, chosen)
        digest = filesystem.digest(filesystem.join(self.output, CHOSEN))
        tasks = self._tasks("cut", parts, digest, spec={"lines": CHOSEN})
        self._run(
            "cut",
            tasks,
            lambda p, path: boilerplate_cut.build_cut(p, self.output, path, self.config, sources),
            clear=("lines",),
        )
        lines = read_partitions(self.output, f"stages/{STAGE}/lines", boilerplate_cut.LINES)
        order = [("characters", "descending"), ("source", "ascending"), ("line", "ascending"), ("high", "ascending")]
        self._write(CUT_LINES, lines.sort_by(order).select(CUT_LINES_SCHEMA.names).cast(CUT_LINES_SCHEMA))
        return collect_parts(self.output, f"{STAGE}/cut", tasks)

    # ---- how

    def _tasks(
        self, job: str, parts: list[PartRecord], *decides: Any, spec: dict[str, Any] | None = None
    ) -> list[Task]:
        return [
            Task(r.index, spec or {}, digest_of(self.fingerprint, job, r.index, *decides), r.facts["text_bytes"])
            for r in parts
        ]

    def _run(self, job: str, tasks: list[Task], build: Any, clear: tuple[str, ...] | None = None) -> None:
        """Part files that are there are not made again; what combines them is."""
        for directory in {"count": ("counted",), "vouch": ("vouched",)}[job] if clear is None else clear:
            Workspace(self.output).clear("stages", STAGE, directory)
        path = write_tasks(self.output, f"{STAGE}/{job}", tasks)

        def graph(pipeline: beam.Pipeline) -> None:
            build(pipeline, path)

        worth = 1 + sum(task.weight for task in tasks) // WORKER_BYTES
        run_job(f"{STAGE}/{job}", graph, self.execution, min(len(tasks), worth))

    def _above(self, directory: str, limits: tuple[int, ...]) -> pa.Table:
        """Lines (COUNTS) that stand in documents enough of their source."""
        table = read_partitions(self.output, f"stages/{STAGE}/{directory}", COUNTS)
        limit = np.array(limits, np.uint64)[table["source"].to_numpy()]
        return table.filter(pa.array(table["documents"].to_numpy() >= limit)).combine_chunks()

    def _write(self, path: str, table: pa.Table) -> None:
        sink = ArrowSink(filesystem.join(self.output, path), table.schema)
        sink.write(table)
        sink.close()
