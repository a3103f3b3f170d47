"""The driver of `prepare`: six stages in a row, each a Beam job or a single-node function, each resumable.

    clean -> deduplicate -> vocabulary -> count -> encode -> report

A stage that ended with the same fingerprint is not done again; a stage that was killed goes on with its unfinished
parts. The manifest is written last: it is the commit point.
"""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import apache_beam as beam

from pipeline import settle
from pipeline.commit import commit, make_manifest, write_cost
from pipeline.config import PipelineConfig
from pipeline.io import filesystem
from pipeline.io.inputs import InputError, list_inputs, outside
from pipeline.progress import StageProgress
from pipeline.report.page import write_report
from pipeline.runner import Execution, run_job
from pipeline.stages import clean, count, deduplicate, encode, vocabulary
from pipeline.stages.parts import PartRecord, Task, collect_parts, digest_of, finished_part, write_tasks
from pipeline.stages.tally import AuditTally
from pipeline.text.rules import check_rules_config
from pipeline.words.vocabulary import check_vocabulary, train_vocabulary
from pipeline.workspace import OutputError, StageResult, Workspace
from schemas.manifest import FileEntry, Manifest

Build = Callable[[beam.Pipeline, str], object]
"""(pipeline, path of the task file) -> builds the graph."""


class PrepareError(RuntimeError):
    """`prepare` cannot go on; the message says why and what to do."""


@dataclass(frozen=True)
class Request:
    """One call of `prepare`."""

    inputs: tuple[str, ...]
    output: str
    config: PipelineConfig = field(default_factory=PipelineConfig)
    vocabulary: str | None = None
    """A SentencePiece model to use in place of a learnt one."""
    execution: Execution = field(default_factory=Execution)


class Preparation:
    """Carries a request through the stages."""

    def __init__(self, request: Request, progress: StageProgress) -> None:
        self.request = request
        self.config = request.config
        self.output = request.output.rstrip("/") or request.output[:1]
        self.space = Workspace(self.output)
        self.progress = progress
        self.results: dict[str, StageResult] = {}
        self.fingerprints: dict[str, str] = {}
        if not self.output:
            raise OutputError("--output is empty: name a directory")
        if any("\ud800" <= character <= "\udfff" for character in self.output):
            raise OutputError(f"--output {self.output!r}: its name is not UTF-8")
        excluded = self.config.input.exclude
        # An earlier output below an INPUT is no input.
        self.files = [
            file
            for file in outside(list_inputs(request.inputs, self.config.input.formats), self.output)
            if not any(fnmatchcase(file.relative, pattern) for pattern in excluded)
        ]
        if not self.files:
            raise InputError(f"every input file lies in --output or matches one of input.exclude = {list(excluded)}")
        self.input_bytes = sum(max(file.size, 0) for file in self.files)

    # ---- how any stage runs

    def _job(self, name: str, tasks: list[Task], build: Build) -> list[PartRecord]:
        """Runs one job over tasks and returns their parts. No job is started where every part is there."""
        found = [finished_part(self.output, name, task) for task in tasks]
        if None in found:
            self.space.withdraw_manifest()
            path = write_tasks(self.output, name, tasks)
            run_job(name, lambda pipeline: build(pipeline, path), self.request.execution, found.count(None))
        return collect_parts(self.output, name, tasks)

    def _stage(self, name: str, fingerprint: str, parts: int, work: Callable[[], StageResult]) -> StageResult:
        done = self.space.finished(name, fingerprint)
        if done is None:
            self.space.withdraw_manifest()
            with self.progress.stage(name, self.space.path("stages", name, "parts"), parts) as cost:
                done = work()
            timing = {
                "seconds": round(cost.seconds, 3),
                "peak_mb": round(cost.peak_mb, 1),
                "units": parts,
                **done.timing,
            }
            done = StageResult(fingerprint, done.files, done.facts, timing)
            self.space.finish(name, done)
            rate = self.input_bytes / 1e6 / max(cost.seconds, 1e-9)
            self.progress.say(f"{name:<12} {cost.seconds:8.1f} s  {rate:8.2f} MB/s  peak {cost.peak_mb:,.0f} MB")
        else:
            self.progress.say(f"{name:<12} finished before")
        self.results[name] = done
        return done

    # ---- the stages

    def clean(self) -> list[PartRecord]:
        tasks = clean.plan_units(self.files, self.config)
        resumed = sum(finished_part(self.output, clean.STAGE, task) is not None for task in tasks)

        def work() -> StageResult:
            made = self._job(clean.STAGE, tasks, lambda p, path: clean.build(p, self.output, path, self.config))
            return StageResult(
                "", facts={"records": sum(r.facts["records"] for r in made)}, timing={"resumed_units": resumed}
            )

        # The stage's fingerprint names what was read, which only finished parts know; their own keys decide the work.
        planned = digest_of([task.key for task in tasks])
        if resumed < len(tasks):
            self.space.reopen(clean.STAGE)
        self._stage(clean.STAGE, planned, len(tasks), work)
        records = collect_parts(self.output, clean.STAGE, tasks)
        digests = sorted(item for record in records for item in record.facts["input_digests"].items())
        config = clean.stage_config(self.config)
        self.fingerprints[clean.STAGE] = digest_of(clean.STAGE, clean.VERSION, config, digests)
        self._check_quarantine(AuditTally.total(record.facts for record in records))
        return records

    def _check_quarantine(self, tally: AuditTally) -> None:
        counts, allowed = tally.counts(), self.config.input.max_quarantined
        if counts.quarantined > allowed * counts.input:
            worst = sorted(tally.quarantined_files.items(), key=lambda item: (-item[1], item[0]))[:5]
            named = ", ".join(f"{name} ({number})" for name, number in worst)
            raise PrepareError(
                f"{counts.quarantined:,} of {counts.input:,} records are quarantined, more than "
                f"input.max_quarantined = {allowed:g} allows; worst files: {named}. "
                "Mend them, or raise the limit, and run again"
            )

    def deduplicate(self, cleaned: list[PartRecord]) -> None:
        output, wanted, parts = self.output, self.config.deduplicate, len(cleaned)
        fingerprint = self._chain(deduplicate.STAGE, deduplicate.VERSION, clean.STAGE)

        def tasks(job: str, extra: Callable[[int], dict[str, Any]] = lambda part: {}) -> list[Task]:
            return [
                Task(r.index, extra(r.index), digest_of(fingerprint, job, extra(r.index)), r.facts["documents"])
                for r in cleaned
            ]

        def work() -> StageResult:
            marker = "deduplicate/candidates"
            if self.space.finished(marker, fingerprint) is None:
                for directory in ("copies", "pairs"):
                    self.space.clear("stages", deduplicate.STAGE, directory)
                path = write_tasks(output, marker, tasks("candidates"))
                run_job(
                    marker,
                    lambda p: deduplicate.build_candidates(p, output, path, wanted),
                    self.request.execution,
                    parts,
                )
                self.space.finish(marker, StageResult(fingerprint))
            found = settle.read_candidates(output)
            asked = settle.write_wanted(output, found)
            if asked:
                shingle_tasks = [
                    Task(part, {"wanted": path}, digest_of(fingerprint, "shingles", digest))
                    for part, path, digest in asked
                ]
                self._job(
                    f"{deduplicate.STAGE}/shingles",
                    shingle_tasks,
                    lambda p, path: deduplicate.build_shingles(p, output, path, wanted),
                )
            drops = settle.decide(output, found, [part for part, _, _ in asked], wanted.threshold)
            settle.write_decisions(output, drops, parts)
            audits = self._job(
                f"{deduplicate.STAGE}/audit",
                tasks("audit", lambda part: {"path": f"audit/audit-{part:05d}-of-{parts:05d}.arrow"}),
                lambda p, path: deduplicate.build_audit(p, output, path),
            )
            facts = AuditTally.total(record.facts for record in audits).facts()
            return StageResult("", _files(audits), {**facts, "buckets": settle.bucket_report(output)})

        result = self._stage(deduplicate.STAGE, fingerprint, parts, work)
        counts = AuditTally.total([result.facts]).counts()
        if not counts.kept:
            worst = sorted(result.facts["rules"].items(), key=lambda item: -item[1])[:3]
            named = ", ".join(f"{rule} ({number:,})" for rule, number in worst)
            raise PrepareError(
                f"no document was kept of {counts.input:,} records; what decided: {named or 'nothing came in'}"
            )

    def vocabulary(self, cleaned: list[PartRecord]) -> str:
        fingerprint = self._chain(vocabulary.STAGE, vocabulary.VERSION, deduplicate.STAGE)
        target = self.space.path(vocabulary.MODEL)
        available = sum(record.facts["text_bytes"] for record in cleaned)
        share = min(1.0, self.config.vocabulary.sample_bytes / max(available, 1))

        def work() -> StageResult:
            with tempfile.TemporaryDirectory() as directory:
                if self.request.vocabulary is not None:
                    model = filesystem.local_copy(self.request.vocabulary, Path(directory))
                    facts: dict[str, Any] = {"size": check_vocabulary(model), "given": True}
                else:
                    tasks = [Task(r.index, {}, digest_of(fingerprint, share, r.index)) for r in cleaned]
                    self._job(vocabulary.STAGE, tasks, lambda p, path: vocabulary.build(p, self.output, path, share))
                    model = Path(directory) / "siliang.model"
                    texts = vocabulary.sample_texts(self.output, len(cleaned))
                    trained = train_vocabulary(texts, model, self.config.vocabulary)
                    facts = {"size": trained.size, "given": False, "note": trained.note}
                data = model.read_bytes()
            filesystem.write_atomic(target, data)
            entry = FileEntry(path=vocabulary.MODEL, sha256=filesystem.digest(target), bytes=len(data))
            return StageResult("", (entry,), facts)

        result = self._stage(vocabulary.STAGE, fingerprint, len(cleaned), work)
        if result.facts.get("note"):
            self.progress.say(f"vocabulary: {result.facts['note']}")
        return target

    def count(self, parts: int, model: str) -> None:
        fingerprint = self._chain(count.STAGE, count.VERSION, vocabulary.STAGE)
        valid_share = self.config.shards.valid_share

        def work() -> StageResult:
            tasks = [Task(part, {}, digest_of(fingerprint, part)) for part in range(parts)]
            self.space.clear(count.WORDS)
            # The combined words are not part files: a killed combine starts again from the finished parts.
            path = write_tasks(self.output, count.STAGE, tasks)
            run_job(
                count.STAGE,
                lambda p: count.build(p, self.output, path, model, valid_share),
                self.request.execution,
                parts,
            )
            records = collect_parts(self.output, count.STAGE, tasks)
            files, words = settle.write_frequencies(self.output, model, parts)
            return StageResult("", files, {"batches": [r.facts["batches"] for r in records], "words": words})

        self._stage(count.STAGE, fingerprint, parts, work)

    def encode(self, model: str) -> None:
        fingerprint = self._chain(encode.STAGE, encode.VERSION, count.STAGE)
        words, size = self.config.words, self.results[vocabulary.STAGE].facts["size"]
        counted = self.results[count.STAGE].facts
        shards: dict[str, list[str]] = {}
        tasks: list[Task] = []
        for split in count.SPLITS:
            plan = encode.plan_shards([sizes[split] for sizes in counted["batches"]], self.config.shards.shard_tokens)
            shards[split] = [f"{split}/shard-{i:05d}-of-{len(plan):05d}.arrow" for i in range(len(plan))]
            for number, (path, ranges) in enumerate(zip(shards[split], plan, strict=True)):
                spec = {"split": split, "shard": number, "path": path, "ranges": ranges}
                tasks.append(Task(len(tasks), spec, digest_of(fingerprint, spec)))

        def work() -> StageResult:
            low, high, rare = settle.write_rare(self.output, words, counted["words"])
            self.space.clear(encode.CHOSEN)
            path = write_tasks(self.output, f"{encode.STAGE}/shards", tasks)
            run_job(
                encode.STAGE,
                lambda p: encode.build_shards(p, self.output, path, model, words.contexts),
                self.request.execution,
                len(tasks),
            )
            made = collect_parts(self.output, f"{encode.STAGE}/shards", tasks)
            notes = self._notes(fingerprint, shards["train"], rare, size)
            shard_files = tuple(e for record in made for e in record.files if not e.path.startswith("stages/"))
            return StageResult(
                "", (*shard_files, *_files(notes)), {"rare_words": rare, "rare_low": low, "rare_high": high}
            )

        self._stage(encode.STAGE, fingerprint, len(tasks), work)

    def _notes(self, fingerprint: str, train: list[str], rare: int, size: int) -> list[PartRecord]:
        windows = [
            Task(i, {"shard": i, "path": path}, digest_of(fingerprint, "windows", path)) for i, path in enumerate(train)
        ]
        self._job(
            f"{encode.STAGE}/windows",
            windows,
            lambda p, path: encode.build_windows(p, self.output, path, size, self.config.words.half_window),
        )
        files = -(-rare // encode.PARTITION_WORDS)
        tasks = []
        for number in range(files):
            first = number * encode.PARTITION_WORDS
            spec = {
                "path": f"notes/notes-{number:05d}-of-{files:05d}.arrow",
                "first": first,
                "end": min(first + encode.PARTITION_WORDS, rare),
                "shards": len(train),
            }
            tasks.append(Task(number, spec, digest_of(fingerprint, "notes", spec)))
        return self._job(f"{encode.STAGE}/notes", tasks, lambda p, path: encode.build_notes(p, self.output, path, size))

    def _chain(self, stage: str, stage_version: int, before: str) -> str:
        """The stage's fingerprint: its version, its part of the config, and the stage before it."""
        sections: dict[str, Any] = {
            deduplicate.STAGE: {"deduplicate": True, "input": {"priority": True}},
            vocabulary.STAGE: {"vocabulary": True},
            count.STAGE: {"shards": {"valid_share": True}},
            encode.STAGE: {"words": True, "shards": True},
        }
        config = self.config.model_dump(mode="json", include=sections[stage])
        given = self._given_digest() if stage == vocabulary.STAGE else None
        self.fingerprints[stage] = digest_of(stage, stage_version, config, given, self.fingerprints[before])
        return self.fingerprints[stage]

    def _given_digest(self) -> str | None:
        return filesystem.digest(self.request.vocabulary) if self.request.vocabulary else None


def _files(records: list[PartRecord]) -> tuple[FileEntry, ...]:
    return tuple(entry for record in records for entry in record.files)


def prepare(request: Request, progress: StageProgress | None = None) -> Manifest:
    """Runs what is unfinished of all stages and returns the manifest.

    Raises InputError, OutputError, RuleError or VocabularyError for what the user gave, PrepareError or JobError for
    what went wrong on the way; after either, the same call goes on from the finished parts.
    """
    check_rules_config(request.config.rules)
    run = Preparation(request, progress or StageProgress(quiet=True))
    if request.vocabulary is not None and filesystem.is_local(request.vocabulary):
        check_vocabulary(request.vocabulary)
    run.space.claim(request.config, run._given_digest())
    cleaned = run.clean()
    run.deduplicate(cleaned)
    model = run.vocabulary(cleaned)
    run.count(len(cleaned), model)
    run.encode(model)
    manifest = make_manifest(run.config, run.results, run.fingerprints)
    commit(run.space, manifest)
    write_cost(run.space, request.execution, run.results, run.input_bytes)
    if filesystem.is_local(run.output):
        with run.progress.stage("report"):
            write_report(run.output)
    return manifest
