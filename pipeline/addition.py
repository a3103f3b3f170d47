"""`prepare --add`: new files for a finished output. Its parts stay as they are, the new files make parts after them.

manifest --> plan (stages/addition.json: how many parts are there) --> their sidecars --> what was read --> new files

The plan is written before the manifest is withdrawn, so that a killed addition goes on with the same parts.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import orjson

from pipeline.config import ConfigError, PipelineConfig, make_config
from pipeline.io import filesystem
from pipeline.io.inputs import InputError, InputFile, name_of
from pipeline.stages import clean, vocabulary
from pipeline.stages.parts import PartRecord, Task, finished_part, sidecar_path
from pipeline.workspace import OutputError, StageResult, Workspace
from schemas.manifest import Manifest, ManifestError, parse_manifest

PLAN = "stages/addition.json"
CONFIG = "stages/config.json"


@dataclass(frozen=True)
class Addition:
    """The output that files are added to."""

    parts: int
    """Parts of `clean` that are there."""
    config: dict[str, Any]
    given: str | None
    """sha256 of the vocabulary that was given to its run."""
    against: list[list[str]]
    """(name, sha256 of the manifest) of the earlier runs that it was prepared against."""


def read_addition(output: str) -> Addition:
    """Of a finished output, or of one with a killed addition. Raises OutputError for any other directory."""
    path = filesystem.join(output, "manifest.json")
    if filesystem.exists(path):
        try:
            manifest = parse_manifest(filesystem.read_bytes(path), path)
        except ManifestError as error:
            raise OutputError(f"--add: {error}") from error
        return _of_manifest(output, manifest)
    plan = filesystem.join(output, PLAN)
    if filesystem.exists(plan):
        return Addition(**orjson.loads(filesystem.read_bytes(plan)))
    raise OutputError(
        f"--add: {output} holds no finished output (no manifest.json); prepare it first, or finish it by the command "
        "that began it"
    )


def _of_manifest(output: str, manifest: Manifest) -> Addition:
    marker = filesystem.join(output, CONFIG)
    if not filesystem.exists(marker):
        raise OutputError(f"--add: {marker} is missing; the stages/ directory must stay as prepare left it")
    owner = orjson.loads(filesystem.read_bytes(marker))
    against = [[run.name, run.manifest] for run in manifest.against]
    return Addition(len(manifest.under("audit")), manifest.config, owner["vocabulary"]["given"], against)


def config_of(output: str) -> PipelineConfig:
    """The config that the output was prepared with. Raises OutputError."""
    try:
        return make_config(read_addition(output).config, f"{output}/manifest.json")
    except ConfigError as error:
        raise OutputError(f"--add: {error}") from error


def store_plan(output: str, addition: Addition) -> None:
    filesystem.write_atomic(filesystem.join(output, PLAN), orjson.dumps(asdict(addition)))


def forget_plan(output: str) -> None:
    """A run over everything makes all parts its own."""
    filesystem.remove(filesystem.join(output, PLAN))


def present_parts(output: str, addition: Addition) -> list[tuple[Task, PartRecord]]:
    """The parts that are there, trusted by their sidecars: the files they were read from may be gone.

    Raises OutputError where one is not whole.
    """
    found = []
    for number in range(addition.parts):
        path = sidecar_path(output, clean.STAGE, number)
        if not filesystem.exists(path):
            raise OutputError(f"--add: {path} is missing; the stages/ directory must stay as prepare left it")
        record = PartRecord.parse(filesystem.read_bytes(path))
        task = Task(number, {}, record.key, record.facts["text_bytes"])
        if finished_part(output, clean.STAGE, task) is None:
            unsound = next(e for e in record.files if filesystem.size(filesystem.join(output, e.path)) != e.bytes)
            raise OutputError(
                f"--add: {filesystem.join(output, unsound.path)} is missing or was changed; prepare everything again"
            )
        found.append((task, record))
    return found


def kept_vocabulary(space: Workspace, addition: Addition, parts: int) -> StageResult:
    """The result of the vocabulary stage as it was before files were added, so that there are `parts` parts now.

    Raises OutputError where its files are not whole.
    """
    marker = space.path("stages", vocabulary.STAGE, "done.json")
    raw = orjson.loads(filesystem.read_bytes(marker)) if filesystem.exists(marker) else None
    found = raw and space.finished(vocabulary.STAGE, raw["fingerprint"])
    if not found:
        raise OutputError(f"--add: {marker}, or a file that it lists, is missing; prepare everything again")
    if parts == addition.parts:
        return found
    facts = dict(found.facts)
    if facts["given"]:
        facts["learnt_from"] = ""
    else:
        first = facts.setdefault("learnt_from_parts", addition.parts)
        facts["learnt_from"] = f"learnt from the first {first:,} parts alone, before files were added by --add"
    return replace(found, facts=facts, timing={})


def joins_others(inputs: Sequence[str], records: Iterable[PartRecord]) -> bool:
    """Whether files get the names that they would have had beside other INPUTs: NAME/path.

    One INPUT without a NAME keeps its files' paths as they are; so does one that the output was made from alone.
    """
    name = name_of(inputs[0])
    if len(inputs) > 1 or name is None:
        return False
    facts = [record.facts for record in records]
    known = any(name in one["sources"] for one in facts)
    return not known or any(file.startswith(f"{name}/") for one in facts for file in one["input_digests"])


def unread_files(files: Sequence[InputFile], records: Iterable[PartRecord]) -> list[InputFile]:
    """The files that are in none of the parts. Raises InputError for one that changed since it was read."""
    read: dict[str, dict[str, str]] = {}
    quarantined: set[str] = set()
    for record in records:
        for name, digest in record.facts["input_digests"].items():
            # No file can be called like a span: names hold no "//".
            file, _, span = name.partition("//")
            read.setdefault(file, {})[span] = digest
        quarantined |= record.facts["quarantined_files"].keys()
    unread = []
    for file in files:
        spans = read.get(file.relative)
        if spans is None:
            # A file that could not be read left no digest, only its row.
            if not (file.problem and file.relative in quarantined):
                unread.append(file)
        elif not _same(file, spans):
            raise InputError(
                f"{file.path} is another file than the '{file.relative}' that the output was made from: --add cannot "
                "replace what was read. Give it another name by NAME=PATH, or prepare everything again"
            )
    return unread


def _same(file: InputFile, spans: dict[str, str]) -> bool:
    if file.problem:
        return False
    bounds = {span: [int(bound) for bound in span.split("-")] if span else [0, file.size] for span in spans}
    if max(end for _, end in bounds.values()) != file.size:
        return False
    if "" in spans:
        return filesystem.digest(file.path) == spans[""]
    return all(filesystem.digest(file.path, *bounds[span]) == digest for span, digest in spans.items())
