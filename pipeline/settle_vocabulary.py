"""The vocabulary stage, step by step: the sample, then a learnt or a given model, then how well it fits."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apache_beam as beam
import orjson

from pipeline.config import VocabularyConfig
from pipeline.io import filesystem
from pipeline.runner import Execution, run_job
from pipeline.stages import vocabulary
from pipeline.stages.parts import PartRecord, Task, collect_parts, digest_of, write_tasks
from pipeline.stages.tables import read_partitions
from pipeline.words.given import given_vocabulary
from pipeline.words.model_file import reserved_pieces
from pipeline.words.quality import measure
from pipeline.words.sample import CANDIDATES, Group, limits, quotas, to_json
from pipeline.words.tokenizer import Tokenizer
from pipeline.words.vocabulary import train_vocabulary
from pipeline.workspace import StageResult
from schemas.manifest import FileEntry

RunJob = Callable[[str, list[Task], Callable[[beam.Pipeline, str], object]], list[PartRecord]]
"""(name, tasks, graph) -> the tasks' parts; no job where every part is there."""


@dataclass(frozen=True)
class VocabularyRun:
    """One run of the stage; `text_bytes` (part -> bytes of its clean text) bounds what was kept from above."""

    output: str
    config: VocabularyConfig
    given: str | None
    text_bytes: dict[int, int]
    fingerprint: str
    execution: Execution
    job: RunJob

    def __call__(self) -> StageResult:
        sample = self._sample()
        with tempfile.TemporaryDirectory() as directory:
            model = Path(directory) / "siliang.model"
            facts = self._given(model) if self.given is not None else self._learnt(model)
            measured = measure(Tokenizer(model), vocabulary.sample_batches(self.output, len(self.text_bytes)))
            data = model.read_bytes()
        told = {
            **facts,
            "model": self.config.model if self.given is None else None,
            # What pipeline.words.spans takes for words, by kind of script.
            "words": {"with spaces": "runs of pieces from one that begins with ▁", "without spaces": "pieces"},
            "sample": sample,
            "languages": measured.rows(),
            "total": measured.total().row(),
        }
        entries = (
            self._write(vocabulary.MODEL, data),
            self._write(vocabulary.FACTS, orjson.dumps(told, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS)),
        )
        return StageResult("", entries, {key: facts[key] for key in ("size", "given", "note")})

    def _write(self, path: str, data: bytes) -> FileEntry:
        target = filesystem.join(self.output, path)
        filesystem.write_atomic(target, data)
        return FileEntry(path=path, sha256=filesystem.digest(target), bytes=len(data))

    # ---- the sample

    def _sample(self) -> list[dict[str, Any]]:
        """Writes the sample; returns per (source, language) what was kept and what the sample holds of it."""
        parts, budget = sorted(self.text_bytes), self.config.sample_bytes
        kept: dict[Group, int] | None = None
        ends = None
        if sum(self.text_bytes.values()) > budget:
            kept = self._candidates(parts, budget)
            given = quotas(kept, budget, self.config.language_temperature, self.config.source_temperature)
            merged = read_partitions(self.output, vocabulary.CHOSEN, CANDIDATES)
            ends = to_json(limits(merged, given))
        filesystem.write_atomic(filesystem.join(self.output, vocabulary.LIMITS), orjson.dumps(ends))
        tasks = [Task(part, {}, digest_of(self.fingerprint, "sample", ends, part)) for part in parts]
        name = f"{vocabulary.STAGE}/sample"
        made = self.job(name, tasks, lambda p, path: vocabulary.build_sample(p, self.output, path))
        held = vocabulary.total_groups(made)
        whole = held if kept is None else kept
        return [
            {"source": source, "language": language, "bytes": size, "sampled": held.get((source, language), 0)}
            for (source, language), size in sorted(whole.items())
        ]

    def _candidates(self, parts: list[int], budget: int) -> dict[Group, int]:
        name = f"{vocabulary.STAGE}/candidates"
        tasks = [Task(part, {}, digest_of(self.fingerprint, "candidates", part)) for part in parts]
        for path in filesystem.listing(filesystem.join(self.output, vocabulary.CHOSEN)):
            filesystem.remove(filesystem.join(self.output, vocabulary.CHOSEN, path))
        # The combined tables are no part files: a killed combine starts again from the finished parts.
        stored = write_tasks(self.output, name, tasks)
        run_job(name, lambda p: vocabulary.build_candidates(p, self.output, stored, budget), self.execution, len(tasks))
        return vocabulary.total_groups(collect_parts(self.output, name, tasks))

    # ---- the model

    def _learnt(self, model: Path) -> dict[str, Any]:
        texts = vocabulary.sample_texts(self.output, len(self.text_bytes))
        trained = train_vocabulary(texts, model, self.config)
        return {
            "size": trained.size,
            "wanted": trained.wanted,
            "given": False,
            "note": trained.note,
            "reserved": reserved_pieces(self.config.reserved),
        }

    def _given(self, model: Path) -> dict[str, Any]:
        assert self.given is not None
        with tempfile.TemporaryDirectory() as directory:
            given = given_vocabulary(filesystem.local_copy(self.given, Path(directory)))
        model.write_bytes(given.model)
        return {"size": given.size, "given": True, "note": given.note, **given.facts}
