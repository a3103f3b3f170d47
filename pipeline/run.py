"""The driver of `prepare`: seven stages in a row, each a Beam job or a single-node function, each resumable.

    clean -> boilerplate -> deduplicate -> vocabulary -> count -> encode -> report

A stage that ended with the same fingerprint is not done again; a stage that was killed goes on with its unfinished
parts. The manifest is written last: it is the commit point.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

import apache_beam as beam

from pipeline.acceptance import PrepareError, check_mixture, check_quarantine
from pipeline.addition import (
    Addition,
    forget_plan,
    joins_others,
    kept_vocabulary,
    present_parts,
    read_addition,
    store_plan,
    unread_files,
)
from pipeline.boilerplate import BoilerplateRun
from pipeline.commit import commit, make_manifest, write_cost
from pipeline.config import PipelineConfig
from pipeline.counting import CountRun
from pipeline.dedup.protect import write_passages
from pipeline.dedup.protect_passages import protected_files, with_files
from pipeline.earlier import described, read_earlier
from pipeline.encoding import EncodeRun, plan
from pipeline.io import filesystem
from pipeline.io.inputs import InputError, list_inputs, outside
from pipeline.jobs import SubmittedError
from pipeline.progress import StageProgress
from pipeline.remote_report import write_report_of
from pipeline.runner import Execution, run_job
from pipeline.settle_duplicates import Deduplication
from pipeline.settle_vocabulary import VocabularyRun
from pipeline.stages import boilerplate, clean, count, deduplicate, encode, substrings, vocabulary
from pipeline.stages.chain import Step, build_chain
from pipeline.stages.kept import kept_digests
from pipeline.stages.parts import PartRecord, Task, collect_parts, digest_of, finished_part, write_tasks
from pipeline.stages.tally import AuditTally
from pipeline.text.rules import check_rules_config
from pipeline.words.given import given_vocabulary
from pipeline.workers.pool import local_workers
from pipeline.workspace import OutputError, StageResult, Workspace
from schemas.manifest import FileEntry, Manifest

Build = Callable[[beam.Pipeline, str], object]
"""(pipeline, path of the task file) -> builds the graph."""


@dataclass(frozen=True)
class Request:
    """One call of `prepare`."""

    inputs: tuple[str, ...]
    output: str
    config: PipelineConfig = field(default_factory=PipelineConfig)
    vocabulary: str | None = None
    """A SentencePiece model or a tokenizer.json to use in place of a learnt one."""
    execution: Execution = field(default_factory=Execution)
    protect: tuple[str, ...] = ()
    """Evaluation sets (files, directories, ...) whose text may not be trained on."""
    strict: bool = False
    """Fail where the vocabulary is not as wanted, in place of saying so. Never changes the output."""
    against: tuple[str, ...] = ()
    """Finished outputs, DIR or NAME=DIR: their kept documents count as already kept."""
    add: bool = False
    """Add the inputs to what the output holds, in place of making it from them."""


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
        self.addition = read_addition(self.output) if request.add else None
        self.present = present_parts(self.output, self.addition) if self.addition is not None else []
        several = self.addition is not None and joins_others(request.inputs, [record for _, record in self.present])
        excluded = self.config.input.exclude
        # An earlier output below an INPUT is no input.
        self.files = [
            file
            for file in outside(list_inputs(request.inputs, self.config.input.formats, several), self.output)
            if not any(fnmatchcase(file.relative, pattern) for pattern in excluded)
        ]
        self.earlier = read_earlier(request.against, self.output, self.config.deduplicate)
        if self.addition is not None and self.addition.against != (self.earlier.digests or []):
            raise OutputError(
                f"--add: {self.output} was prepared against {[name for name, _ in self.addition.against]}, now it is "
                f"{[run.name for run in self.earlier.runs]}; give the same outputs, unchanged, to --against"
            )
        if not self.files:
            raise InputError(f"every input file lies in --output or matches one of input.exclude = {list(excluded)}")
        self.input_bytes = sum(max(file.size, 0) for file in self.files)
        self.protected = protected_files(request.protect, self.config.input)
        self.config = with_files(self.config, self.protected)

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
            with self.progress.stage(name, in_bytes=name == clean.STAGE) as cost:
                done = work()
            timing = {
                "seconds": round(cost.seconds, 3),
                "peak_mb": round(cost.peak_mb, 1),
                "units": parts,
                **done.timing,
            }
            done = StageResult(fingerprint, done.files, done.facts, timing)
            self.space.finish(name, done)
            self.progress.ended(name, cost, self.input_bytes)
        else:
            self.progress.ended(name, None)
        self.results[name] = done
        return done

    # ---- the stages

    def planned_units(self) -> list[Task]:
        """The parts of `clean`: with --add those that are there, and then those of new files. Writes nothing."""
        if self.addition is None:
            return clean.plan_units(self.files, self.config)
        files = unread_files(self.files, [record for _, record in self.present])
        first = [task for task, _ in self.present]
        return first + (clean.plan_units(files, self.config, len(first)) if files else [])

    def _units(self) -> list[Task]:
        tasks = self.planned_units()
        if self.addition is None:
            forget_plan(self.output)
            return tasks
        store_plan(self.output, self.addition)
        present, new = len(self.present), tasks[len(self.present) :]
        files = len({relative for task in new for _, relative, *_ in task.spec["files"]})
        self.progress.say(
            f"adding {files:,} files to {present:,} parts"
            + ("; the vocabulary stays, shards and notes are written anew" if new else "")
        )
        return tasks

    def clean(self) -> list[PartRecord]:
        tasks = self._units()
        resumed = sum(finished_part(self.output, clean.STAGE, task) is not None for task in tasks)

        def work() -> StageResult:
            facts: dict[str, Any] = {}
            if self.protected:
                facts["protected"] = write_passages(self.output, self.protected, self.config)
            made = self._job(clean.STAGE, tasks, lambda p, path: clean.build(p, self.output, path, self.config))
            facts["records"] = sum(r.facts["records"] for r in made)
            return StageResult("", facts=facts, timing={"resumed_units": resumed})

        # The stage's fingerprint names what was read, which only finished parts know; their own keys decide the work.
        planned = digest_of([task.key for task in tasks])
        if resumed < len(tasks):
            self.space.reopen(clean.STAGE)
        told = self._stage(clean.STAGE, planned, len(tasks), work).facts.get("protected")
        if told:
            self.progress.say(
                f"protected: {told['passages']:,} texts of {told['items']:,} items; "
                f"{told['short_items']:,} items are too short to protect"
            )
        records = collect_parts(self.output, clean.STAGE, tasks)
        self.fingerprints[clean.STAGE] = clean.fingerprint_of(self.config, records)
        tally = AuditTally.total(record.facts for record in records)
        check_quarantine(self.config, tally)
        check_mixture(self.config, tally.source_counts())
        return records

    def boilerplate(self, cleaned: list[PartRecord]) -> None:
        fingerprint = self.chain(boilerplate.STAGE, boilerplate.VERSION, clean.STAGE)
        work = BoilerplateRun(self.output, self.config, cleaned, fingerprint, self.request.execution)
        facts = self._stage(boilerplate.STAGE, fingerprint, len(cleaned), work).facts
        if facts["distinct_lines"]:
            self.progress.say(
                f"{boilerplate.STAGE}: {facts['distinct_lines']:,} lines cut from {facts['documents']:,} documents, "
                f"{facts['characters']:,} characters; {facts['emptied']:,} documents left empty"
            )

    def _steps(self, name: str, steps: list[Step]) -> dict[str, list[PartRecord]]:
        """Runs steps one after another in one job and returns the parts of each."""
        missing = sum(finished_part(self.output, step.name, task) is None for step in steps for task in step.tasks)
        if missing:
            self.space.withdraw_manifest()
            made = [(step.name, write_tasks(self.output, step.name, step.tasks), step.make) for step in steps]
            run_job(name, lambda p: build_chain(p, self.output, made), self.request.execution, missing)
        return {step.name: collect_parts(self.output, step.name, step.tasks) for step in steps}

    def deduplicate(self, cleaned: list[PartRecord]) -> None:
        parts = len(cleaned)
        fingerprint = self.chain(deduplicate.STAGE, deduplicate.VERSION, boilerplate.STAGE)
        documents = {record.index: record.facts["documents"] for record in cleaned}
        all_documents = documents | self.earlier.documents
        if self.earlier.runs:
            self.progress.say(f"{deduplicate.STAGE}: against {described(self.earlier.runs)}")

        def work() -> StageResult:
            self.earlier.place(self.output, fingerprint, self._steps)
            stage = Deduplication(self.output, self.config.deduplicate, all_documents, fingerprint, self._steps)
            drops, facts = stage.decide()
            decisions = stage.write_decisions(drops)
            if self.config.substrings.min_words:
                steps = substrings.steps_of(self.output, self.config, documents, fingerprint)
                facts |= substrings.facts_of(self._steps(substrings.STAGE, steps))
            tasks = []
            for record in cleaned:
                spec = {"path": f"audit/audit-{record.index:05d}-of-{parts:05d}.arrow"}
                key = digest_of(fingerprint, "audit", spec)
                tasks.append(Task(record.index, spec, key, record.facts["documents"]))
            audits = self._job(
                f"{deduplicate.STAGE}/audit", tasks, lambda p, path: deduplicate.build_audit(p, self.output, path)
            )
            tally = AuditTally.total(record.facts for record in audits).facts()
            return StageResult("", _files(audits), {**tally, "duplicates": facts, "decisions": decisions})

        result = self._stage(deduplicate.STAGE, fingerprint, parts, work)
        found = result.facts["duplicates"]
        if found.get("overfull"):
            self.progress.say(
                f"{deduplicate.STAGE}: {found['overfull']:,} buckets over deduplicate.bucket_cap, the largest "
                f"{found['largest']:,}; {found['further_pairs']:,} more pairs compared in {found['rounds']} rounds, "
                f"{found['unexamined']:,} left unexamined"
            )
        if self.config.substrings.min_words:
            self.progress.say(
                f"{substrings.STAGE}: {found['substring_characters']:,} characters cut from "
                f"{found['substring_documents']:,} documents; {found['substring_overfull']:,} fingerprints in more "
                f"than deduplicate.bucket_cap places"
            )
        counts = AuditTally.total([result.facts]).counts()
        if not counts.kept:
            worst = sorted(result.facts["rules"].items(), key=lambda item: -item[1])[:3]
            named = ", ".join(f"{rule} ({number:,})" for rule, number in worst)
            raise PrepareError(
                f"no document was kept of {counts.input:,} records; what decided: {named or 'nothing came in'}"
            )

    def vocabulary(self, cleaned: list[PartRecord]) -> str:
        fingerprint = self.chain(vocabulary.STAGE, vocabulary.VERSION, deduplicate.STAGE)
        if self.addition is not None:
            return self._present_vocabulary(self.addition, len(cleaned))
        work = VocabularyRun(
            self.output,
            self.config.vocabulary,
            self.request.vocabulary,
            {record.index: record.facts["text_bytes"] for record in cleaned},
            fingerprint,
            self.request.execution,
            self._job,
        )
        note = self._stage(vocabulary.STAGE, fingerprint, len(cleaned), work).facts["note"]
        if note and self.request.strict:
            raise PrepareError(f"{note}; --strict was given")
        if note:
            self.progress.say(f"vocabulary: {note}")
        return self.space.path(vocabulary.MODEL)

    def _present_vocabulary(self, addition: Addition, parts: int) -> str:
        """Another vocabulary would make all token ids others: the one that is there stays."""
        found = kept_vocabulary(self.space, addition, parts)
        fingerprint = found.fingerprint
        if parts > addition.parts:
            fingerprint = digest_of(self.fingerprints[vocabulary.STAGE], [entry.sha256 for entry in found.files])
        self.fingerprints[vocabulary.STAGE] = fingerprint
        self._stage(vocabulary.STAGE, fingerprint, 0, lambda: found)
        if found.facts.get("learnt_from"):
            self.progress.say(f"vocabulary: stays as it is, {found.facts['learnt_from']}")
        return self.space.path(vocabulary.MODEL)

    def count(self, cleaned: list[PartRecord], model: str) -> None:
        fingerprint = self.chain(count.STAGE, count.VERSION, vocabulary.STAGE)
        kept = kept_digests(self.output, cleaned, self.results[deduplicate.STAGE].facts["decisions"])
        work = CountRun(self.output, self.config, cleaned, fingerprint, self.request.execution, model, kept)
        least = self._stage(count.STAGE, fingerprint, len(cleaned), work).facts["least"]["words"]
        if least > 1:
            self.progress.say(
                f"{count.STAGE}: more than words.max_distinct = {self.config.words.max_distinct:,} distinct words; "
                f"those of less than {least:,} occurrences are not listed"
            )

    def encode(self, model: str) -> None:
        fingerprint = self.chain(encode.STAGE, encode.VERSION, count.STAGE)
        counted, size = self.results[count.STAGE].facts, self.results[vocabulary.STAGE].facts["size"]
        shards = plan(self.config, counted["batches"], fingerprint)
        execution = self.request.execution
        work = EncodeRun(self.output, self.config, shards, fingerprint, execution, model, size, counted["words"])
        self._stage(encode.STAGE, fingerprint, len(shards.tasks), work)

    def chain(self, stage: str, stage_version: int, before: str) -> str:
        """The stage's fingerprint: its version, its part of the config, and the stage before it."""
        sections: dict[str, Any] = {
            boilerplate.STAGE: {"boilerplate": True},
            deduplicate.STAGE: {"deduplicate": True, "substrings": True, "input": {"priority": True}},
            vocabulary.STAGE: {"vocabulary": True},
            count.STAGE: {
                "shards": {"valid_share": True, "test_share": True},
                "words": {"max_distinct": True, "ngrams": True, "ngram_min_count": True},
                "mixture": True,
            },
            encode.STAGE: {"words": True, "shards": True},
        }
        config = self.config.model_dump(mode="json", include=sections[stage])
        given: Any = None
        if stage == vocabulary.STAGE:
            given = self.given_digest()
        elif stage == deduplicate.STAGE:
            given = self.earlier.digests
        self.fingerprints[stage] = digest_of(stage, stage_version, config, given, self.fingerprints[before])
        return self.fingerprints[stage]

    def given_digest(self) -> str | None:
        if self.request.vocabulary is None and self.addition is not None:
            return self.addition.given
        return filesystem.digest(self.request.vocabulary) if self.request.vocabulary else None


def _files(records: list[PartRecord]) -> tuple[FileEntry, ...]:
    return tuple(entry for record in records for entry in record.files)


def prepare(request: Request, progress: StageProgress | None = None) -> Manifest:
    """Runs what is unfinished of all stages and returns the manifest.

    Raises InputError, OutputError, ProtectError, RuleError or VocabularyError for what the user gave, PrepareError or
    JobError for what went wrong on the way; after either, the same call goes on from the finished parts.
    """
    with local_workers():
        return _prepare(request, progress)


def _prepare(request: Request, progress: StageProgress | None) -> Manifest:
    check_rules_config(request.config.rules)
    run = Preparation(request, progress or StageProgress(quiet=True))
    if request.execution.note:
        run.progress.say(request.execution.note)
    if request.vocabulary is not None and filesystem.is_local(request.vocabulary):
        given_vocabulary(request.vocabulary)
    run.space.claim(run.config, run.given_digest())
    cleaned = run.clean()
    if request.execution.submit:
        raise SubmittedError("nothing to submit: every part of clean is there; without --submit the command goes on")
    run.boilerplate(cleaned)
    run.deduplicate(cleaned)
    model = run.vocabulary(cleaned)
    run.count(cleaned, model)
    run.encode(model)
    manifest = make_manifest(run.config, run.results, run.fingerprints, run.earlier.runs)
    commit(run.space, manifest)
    write_cost(run.space, request.execution, run.results, run.input_bytes)
    with run.progress.stage("report"):
        write_report_of(run.output, manifest)
    return manifest
