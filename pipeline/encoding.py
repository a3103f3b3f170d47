"""The stage `encode` as the driver runs it: rare words, shards and the choice of windows, windows, notes."""

from collections.abc import Callable
from dataclasses import dataclass

import apache_beam as beam

from pipeline import settle
from pipeline.config import PipelineConfig
from pipeline.runner import Execution, run_job
from pipeline.stages import count, encode
from pipeline.stages.parts import PartRecord, Task, collect_parts, digest_of, finished_part, write_tasks
from pipeline.workspace import StageResult, Workspace
from schemas.manifest import FileEntry


@dataclass(frozen=True)
class ShardPlan:
    """Which token batches make which shard."""

    tasks: list[Task]
    train: list[str]
    """Paths of the train shards, by number."""
    mixture: dict[str, list[str]]
    """Source of a mixture -> its train shards."""


def plan(config: PipelineConfig, batches: list[dict[str, list[list[list[int]]]]], fingerprint: str) -> ShardPlan:
    """`batches`: per part, split -> per group [rows, tokens] of each batch, as the count stage tells them."""
    options = count.CountOptions.of(config)
    found = ShardPlan([], [], {source: [] for source in options.sources})
    for split in options.splits:
        shards = [
            (group, ranges)
            for group in range(options.groups)
            for ranges in encode.plan_shards([sizes[split][group] for sizes in batches], config.shards.shard_tokens)
        ]
        for number, (group, ranges) in enumerate(shards):
            path = f"{split}/shard-{number:05d}-of-{len(shards):05d}.arrow"
            spec = {"split": split, "shard": number, "path": path, "group": group, "ranges": ranges}
            found.tasks.append(Task(len(found.tasks), spec, digest_of(fingerprint, spec)))
            if split == "train":
                found.train.append(path)
                if options.sources:
                    found.mixture[options.sources[group]].append(path)
    return found


@dataclass(frozen=True)
class EncodeRun:
    """One run of the stage. `fingerprint` covers all that decides its bytes; `words`: running words of the corpus."""

    output: str
    config: PipelineConfig
    shards: ShardPlan
    fingerprint: str
    execution: Execution
    model: str
    vocabulary_size: int
    words: int

    def __call__(self) -> StageResult:
        words = self.config.words
        facts = settle.write_rare(self.output, words, self.words)
        Workspace(self.output).clear(encode.CHOSEN)
        tasks = self.shards.tasks
        path = write_tasks(self.output, f"{encode.STAGE}/shards", tasks)
        # The choice of windows is not a part file: a killed combine starts again from the finished shards.
        run_job(
            encode.STAGE,
            lambda p: encode.build_shards(p, self.output, path, self.model, words.contexts),
            self.execution,
            len(tasks),
        )
        made = collect_parts(self.output, f"{encode.STAGE}/shards", tasks)
        notes = self._notes(facts["rare_words"])
        facts |= settle.note_coverage(self.output, facts["rare_words"], words.families)
        facts["mixture"] = self.shards.mixture
        files = [entry for record in (*made, *notes) for entry in record.files]
        return StageResult("", _products(files), facts)

    def _notes(self, rare: int) -> list[PartRecord]:
        train, size, words = self.shards.train, self.vocabulary_size, self.config.words
        tasks = [
            Task(i, {"shard": i, "path": path}, digest_of(self.fingerprint, "windows", path))
            for i, path in enumerate(train)
        ]
        self._parts("windows", tasks, lambda p, t: encode.build_windows(p, self.output, t, size, words.half_window))
        files = -(-rare // encode.PARTITION_WORDS)
        tasks = []
        for number in range(files):
            first = number * encode.PARTITION_WORDS
            spec = {
                "path": f"notes/notes-{number:05d}-of-{files:05d}.arrow",
                "first": first,
                "end": min(first + encode.PARTITION_WORDS, rare),
                "shards": len(train),
                "families": words.families,
            }
            tasks.append(Task(number, spec, digest_of(self.fingerprint, "notes", spec)))
        return self._parts("notes", tasks, lambda p, t: encode.build_notes(p, self.output, t, size))

    def _parts(self, name: str, tasks: list[Task], build: Callable[[beam.Pipeline, str], object]) -> list[PartRecord]:
        name = f"{encode.STAGE}/{name}"
        missing = sum(finished_part(self.output, name, task) is None for task in tasks)
        if missing:
            path = write_tasks(self.output, name, tasks)
            run_job(name, lambda p: build(p, path), self.execution, missing)
        return collect_parts(self.output, name, tasks)


def _products(files: list[FileEntry]) -> tuple[FileEntry, ...]:
    return tuple(entry for entry in files if not entry.path.startswith("stages/"))
