"""The stage `count` as the driver runs it: one job, or up to five where the words do not fit in memory.

kept documents --> tokens and parts' counts --> corpus counts (at once | later | heavy words alone) --> frequency tables
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import apache_beam as beam

from pipeline import settle
from pipeline.config import PipelineConfig
from pipeline.io import filesystem
from pipeline.runner import Execution, run_job
from pipeline.stages import count, heavy
from pipeline.stages.parts import PartRecord, Task, collect_parts, digest_of, write_tasks
from pipeline.words.sketch import sketch_width
from pipeline.workspace import StageResult, Workspace

BYTES_PER_DISTINCT = 16
"""Text of up to so many bytes for each of max_distinct words is counted in one job without asking how many there are;
English books have one distinct word in 300 bytes, and no text has more than one in two."""


@dataclass(frozen=True)
class CountRun:
    """One run of the stage over clean's parts. `fingerprint` covers all that decides its bytes."""

    output: str
    config: PipelineConfig
    cleaned: Sequence[PartRecord]
    fingerprint: str
    execution: Execution
    model: str
    kept: dict[int, str]
    """Part -> digest of its kept documents: what was counted of them before is not counted again, whatever was added
    to the corpus since."""

    def __call__(self) -> StageResult:
        options, words = count.CountOptions.of(self.config), self.config.words
        text = sum(record.facts["text_bytes"] for record in self.cleaned)
        small = text <= BYTES_PER_DISTINCT * words.max_distinct
        made = self._tokens(options, options.kinds if small else ())
        least = {"words": 1} | ({"ngrams": words.ngram_min_count} if options.ngrams else {})
        for kind in () if small else options.kinds:
            if sum(record.facts["distinct"][kind] for record in made) <= words.max_distinct:
                self._tokens(options, (kind,))
            else:
                least[kind] = self._heavy(kind, least[kind])
        found = settle.write_frequencies(self.output, self.model, made, least)
        told: dict[str, Any] = {
            "batches": [record.facts["batches"] for record in made],
            "source_tokens": count.total_source_tokens([record.facts["source_tokens"] for record in made]),
        }
        return StageResult("", found.files, found.facts | told)

    def _tokens(self, options: count.CountOptions, combine: tuple[str, ...]) -> list[PartRecord]:
        """Makes the parts that are missing, and combines counts. A killed combine starts again from the parts."""
        shared = digest_of(count.STAGE, count.VERSION, filesystem.digest(self.model), asdict(options))
        tasks = [Task(record.index, {}, digest_of(shared, self.kept[record.index])) for record in self.cleaned]
        for kind in combine:
            Workspace(self.output).clear(count.combined(kind))
        path = write_tasks(self.output, count.STAGE, tasks)
        self._job(lambda p: count.build(p, self.output, path, self.model, options, combine))
        return collect_parts(self.output, count.STAGE, tasks)

    def _heavy(self, kind: str, least: int) -> int:
        """Counts what has so many occurrences that about max_distinct remain; returns how many."""
        limit = self.config.words.max_distinct
        width = sketch_width(limit)
        tasks = [Task(r.index, {}, digest_of(self.fingerprint, kind, limit, r.index)) for r in self.cleaned]
        path = write_tasks(self.output, f"{count.STAGE}/{kind}_heavy", tasks)
        Workspace(self.output).clear(heavy.cells_directory(kind))
        self._job(lambda p: heavy.build_cells(p, self.output, path, kind, width))
        least = heavy.write_heavy(self.output, kind, width, limit, least)
        Workspace(self.output).clear(count.combined(kind))
        self._job(lambda p: heavy.build_left(p, self.output, path, kind, width))
        return least

    def _job(self, build: Callable[[beam.Pipeline], object]) -> None:
        run_job(count.STAGE, build, self.execution, len(self.cleaned))
