"""`prepare --dry-run`: what would be read, what is there already, and what the rest will cost. Writes nothing.

Seconds are rates measured before (REFERENCE) times how much slower this machine is with a text that is the same
everywhere; for `clean`, whose pace hangs on the kind of input most, a little of the input itself is cleaned.
"""

import os
import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import psutil

from pipeline.calibration import measured_clean_mb_s, rate_of_input
from pipeline.io import filesystem
from pipeline.io.inputs import InputFile
from pipeline.jobs import LOCAL
from pipeline.progress import StageProgress
from pipeline.run import Preparation, Request
from pipeline.stages import boilerplate, clean, count, deduplicate, encode, vocabulary
from pipeline.stages.parts import PartRecord, finished_part
from pipeline.text.rules import check_rules_config
from pipeline.words.given import given_vocabulary

STAGES = (clean.STAGE, boilerplate.STAGE, deduplicate.STAGE, vocabulary.STAGE, count.STAGE, encode.STAGE, "report")

REFERENCE = {
    boilerplate.STAGE: 23.0,
    deduplicate.STAGE: 17.7,
    count.STAGE: 20.7,
    encode.STAGE: 15.4,
}
"""MB of text per second and worker: 1,057 MB in 23.0, 29.9, 25.5 and 34.3 s by two workers (benchmarks/RESULTS.md)."""
REFERENCE_VOCABULARY = 2.4
"""Seconds per MB of the sample: 27.8 s for 10 MiB, less the reading."""
REFERENCE_CLEAN = 38.0
"""MB per second of CPU that `clean_batch` makes of the fixed text on the machine of the rates above."""
START_SECONDS = {clean.STAGE: 4.0, vocabulary.STAGE: 2.0, "report": 4.0}
"""Imports and kernels, SentencePiece's start, charts; other stages: JOB_SECONDS for their jobs' graphs."""
JOB_SECONDS = 1.0
DISK_PER_TEXT = {
    clean.STAGE: 0.38,
    boilerplate.STAGE: 0.06,
    deduplicate.STAGE: 0.15,
    vocabulary.STAGE: 0.18,
    count.STAGE: 0.45,
    encode.STAGE: 1.1,
}
"""Bytes left on the disk for each byte of text, below stages/ and as products: of 5 MB of English books, 2026-11-27."""
MEMORY_MB = (800, 500, 750)
"""Peak of one process that does all; of a driver with workers; of each of these (RESULTS.md: 786 MB; two: 1,994)."""
DROPPED_PER_TEXT = 33 * 0.2 / 2000
"""Bytes in the driver for each byte of text: 33 for a dropped document (scaling.md), taken as one in five of 2 kB."""
EXPANSION = {".gz": 3.0, ".zst": 3.2, ".bz2": 3.8, ".xz": 4.0, ".lzma": 4.0, ".zip": 3.0, ".tgz": 3.0, ".parquet": 2.0}
"""Bytes of text for each stored byte, assumed."""


@dataclass(frozen=True)
class StageForecast:
    name: str
    state: str
    seconds: float | None
    """None where it cannot be told."""
    disk_bytes: int


@dataclass(frozen=True)
class Forecast:
    files: int
    bytes: int
    kinds: list[tuple[str, int, int]]
    """(suffix, files, bytes), the largest first."""
    text_bytes: int
    """After decompression, estimated."""
    clean_mb_s: float
    """MB of text, as it comes in, per second and worker on this machine, measured on a little of the input."""
    slowness: float
    """Seconds of CPU here for one on the machine of REFERENCE."""
    stages: list[StageForecast]
    workers: int
    local: bool
    memory_mb: float
    notes: list[str]

    @property
    def seconds(self) -> float | None:
        known = [stage.seconds for stage in self.stages if stage.seconds is not None]
        return sum(known) if len(known) == len(self.stages) else None

    @property
    def disk_bytes(self) -> int:
        return sum(stage.disk_bytes for stage in self.stages)


def forecast(request: Request) -> Forecast:
    """Raises what `prepare` would raise for the same request before it reads a record."""
    check_rules_config(request.config.rules)
    if request.vocabulary is not None and filesystem.is_local(request.vocabulary):
        given_vocabulary(request.vocabulary)
    run = Preparation(request, StageProgress(quiet=True))
    owned = run.space.check(run.config, run.given_digest())
    tasks = run.planned_units()
    found = [finished_part(run.output, clean.STAGE, task) for task in tasks]
    done = sum(record is not None for record in found)
    states = {clean.STAGE: f"{done:,} of {len(tasks):,} parts are there" if done else f"{len(tasks):,} parts to make"}
    states |= dict.fromkeys(STAGES[1:], "to do")
    finished: set[str] = set()
    if owned and run.addition is None and done == len(tasks):
        finished = _finished(run, [record for record in found if record is not None])
        states |= dict.fromkeys(finished, "finished before")
    execution = request.execution
    local = execution.runner == LOCAL
    workers = max(1, min(execution.workers, os.cpu_count() or 1))
    slowness = REFERENCE_CLEAN / measured_clean_mb_s()
    rate = rate_of_input(run.files, run.config) or REFERENCE_CLEAN / slowness
    whole = sum(file.size * EXPANSION.get(_suffix(file), 1.0) for file in run.files if file.size > 0)
    weight = sum(task.weight for task in tasks)
    left = sum(task.weight for task, record in zip(tasks, found, strict=True) if record is None) / max(weight, 1)
    sample = min(whole, run.config.vocabulary.sample_bytes) / 1e6
    seconds = {clean.STAGE: START_SECONDS[clean.STAGE] + left * whole / 1e6 / rate / workers}
    for name, pace in REFERENCE.items():
        seconds[name] = JOB_SECONDS + slowness * whole / 1e6 / pace / workers
    learnt = request.vocabulary is None
    seconds[vocabulary.STAGE] = START_SECONDS[vocabulary.STAGE] + (REFERENCE_VOCABULARY * sample * slowness) * learnt
    seconds["report"] = START_SECONDS["report"]
    stages = []
    for name in STAGES:
        over = name in finished
        share = left if name == clean.STAGE else float(not over)
        took = 0.0 if over else seconds[name] if local else None
        stages.append(StageForecast(name, states[name], took, int(DISK_PER_TEXT.get(name, 0.0) * whole * share)))
    alone, driver, each = MEMORY_MB
    memory = (alone if workers == 1 else driver + workers * each) + whole * DROPPED_PER_TEXT / 1e6
    kinds: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    for file in run.files:
        kinds[_suffix(file)] += 1
        sizes[_suffix(file)] += max(file.size, 0)
    return Forecast(
        files=len(run.files),
        bytes=run.input_bytes,
        kinds=[(name, kinds[name], size) for name, size in sorted(sizes.items(), key=lambda item: (-item[1], item[0]))],
        text_bytes=int(whole),
        clean_mb_s=rate,
        slowness=slowness,
        stages=stages,
        workers=workers,
        local=local,
        memory_mb=memory,
        notes=_notes(run, sum(stage.disk_bytes for stage in stages), memory, local),
    )


def _finished(run: Preparation, records: list[PartRecord]) -> set[str]:
    """Stages that ended with the fingerprints that this run would give them."""
    run.fingerprints[clean.STAGE] = clean.fingerprint_of(run.config, records)
    found = {clean.STAGE}
    before = clean.STAGE
    for module in (boilerplate, deduplicate, vocabulary, count, encode):
        fingerprint = run.chain(module.STAGE, module.VERSION, before)
        if run.space.finished(module.STAGE, fingerprint) is None:
            return found
        found.add(module.STAGE)
        before = module.STAGE
    return found


def _suffix(file: InputFile) -> str:
    return PurePosixPath(file.relative).suffix.lower() or "no suffix"


def _notes(run: Preparation, disk: int, memory: float, local: bool) -> list[str]:
    """What the user should know before the real run."""
    notes = []
    if problems := Counter(file.problem for file in run.files if file.problem):
        told = ", ".join(f"{count:,} {name}" for name, count in sorted(problems.items()))
        notes.append(f"files that will be quarantined: {told}")
    if compressed := sorted({_suffix(file) for file in run.files} & EXPANSION.keys()):
        told = ", ".join(f"{name} {EXPANSION[name]:g} times" for name in compressed)
        notes.append(f"assumed growth of compressed files: {told}")
    if filesystem.is_local(run.output):
        place = Path(run.output).absolute()
        while not place.exists():
            place = place.parent
        free = shutil.disk_usage(place).free
        if disk > free:
            notes.append(f"the disk of {place} has {free / 1e9:.1f} GB free: too little")
    if local and memory * 1e6 > (available := psutil.virtual_memory().available):
        notes.append(f"{available / 1e9:.1f} GB of memory are free: too little; fewer --workers need less")
    if run.addition is not None:
        notes.append("--add: vocabulary stays, duplicates are decided again, shards and notes are written anew")
    if not local:
        notes.append(f"time is told for local runs only, not for {run.request.execution.runner}")
    return notes
