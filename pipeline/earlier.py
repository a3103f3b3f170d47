"""`prepare --against`: finished outputs whose kept documents count as already kept.

manifest, done.json of its stages, sidecars of its parts --> which files stand for its documents, with their digests
"""

import hashlib
import os
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from pydantic import ValidationError

from pipeline.config import DeduplicateConfig
from pipeline.io import filesystem
from pipeline.settle_duplicates import RunSteps
from pipeline.stages import boilerplate, clean, deduplicate, substrings
from pipeline.stages.chain import Step
from pipeline.stages.documents import CUTTING, EARLIER, FIRST_EARLIER
from pipeline.stages.earlier import KIND, check_earlier
from pipeline.stages.parts import PartRecord, Task, digest_of, sidecar_path
from pipeline.workspace import OutputError
from schemas.manifest import EarlierRun, Manifest, ManifestError, parse_manifest

_NAMED = re.compile(r"([^/\\:=]+)=(.+)", re.DOTALL)


class EarlierError(OutputError):
    """A directory given to --against cannot be used; the message names it, or its file, and what to do."""


@dataclass(frozen=True)
class EarlierPart:
    """One part of an earlier run, with the files that deduplication may read."""

    run: EarlierRun
    directory: str
    number: int
    documents: int
    """Rows of its documents file, dropped ones too."""
    files: tuple[tuple[str, int, str], ...]
    """(path below the directory, bytes, sha256)."""


@dataclass(frozen=True)
class Earlier:
    """All earlier runs of one call, sorted by name."""

    runs: tuple[EarlierRun, ...] = ()
    parts: tuple[EarlierPart, ...] = ()

    @property
    def digests(self) -> list[list[str]] | None:
        """What a fingerprint needs to know; None where there are no earlier runs."""
        return [[run.name, run.manifest] for run in self.runs] or None

    @property
    def documents(self) -> dict[int, int]:
        """Part number -> rows, as `pipeline.stages.documents` counts the parts of earlier runs."""
        return {FIRST_EARLIER + place: part.documents for place, part in enumerate(self.parts)}

    def place(self, output: str, fingerprint: str, run: RunSteps) -> None:
        """Tells the stages where the parts lie, after their files are checked by digest. Raises EarlierError."""
        if not self.parts:
            filesystem.remove(filesystem.join(output, EARLIER))
            return
        rows = [[part.directory, part.number, part.run.name] for part in self.parts]
        filesystem.write_atomic(filesystem.join(output, EARLIER), orjson.dumps(rows))
        name = f"{deduplicate.STAGE}/{KIND}"
        tasks = []
        for place, part in enumerate(self.parts):
            spec = {"directory": part.directory, "files": [list(file) for file in part.files]}
            key = digest_of(fingerprint, KIND, spec)
            tasks.append(Task(FIRST_EARLIER + place, spec, key, sum(size for _, size, _ in part.files)))
        made = run(name, [Step(name, tuple(tasks), check_earlier)])[name]
        unsound = [record for record in made if record.facts["problem"]]
        for record in unsound:  # else the check would count as done
            filesystem.remove(sidecar_path(output, name, record.index))
        if unsound:
            raise EarlierError(f"--against: {unsound[0].facts['problem']}; prepare that output again")


def read_earlier(arguments: Iterable[str], output: str, config: DeduplicateConfig) -> Earlier:
    """The runs in the directories DIR or NAME=DIR, in whatever order they are given. Raises EarlierError."""
    found: dict[str, tuple[str, str]] = {}
    for argument in arguments:
        name, directory = _parsed(argument)
        if _real(directory) == _real(output):
            raise EarlierError(f"--against {argument}: that is --output itself; new files are added to it by --add")
        if name in found:
            raise EarlierError(
                f"two outputs given to --against are called '{name}': {found[name][0]} and {argument}; "
                "write NAME=DIR for one of them"
            )
        found[name] = argument, directory
    runs, parts = [], []
    for name, (argument, directory) in sorted(found.items()):
        manifest, digest = _manifest(argument, directory)
        _check_parameters(argument, manifest, config)
        run = EarlierRun(name=name, manifest=digest, kept=manifest.counts.kept)
        runs.append(run)
        parts += _parts(argument, directory, run, manifest)
    return Earlier(tuple(runs), tuple(parts))


def _parsed(argument: str) -> tuple[str, str]:
    named = _NAMED.fullmatch(argument)
    if named and not filesystem.exists(argument):
        name, path = named[1], named[2]
    else:
        name, path = "", argument
    path = path.rstrip("/") or path
    if not filesystem.is_url(path):
        path = os.path.abspath(os.path.expanduser(path))
    return name or path.rpartition("/")[2], path


def _real(path: str) -> str:
    return path.rstrip("/") if filesystem.is_url(path) else os.path.realpath(os.path.expanduser(path))


def _manifest(argument: str, directory: str) -> tuple[Manifest, str]:
    path = filesystem.join(directory, "manifest.json")
    if not filesystem.exists(path):
        raise EarlierError(f"--against {argument}: no manifest.json there; it must be the output of a finished run")
    data = filesystem.read_bytes(path)
    try:
        return parse_manifest(data, path), hashlib.sha256(data).hexdigest()
    except ManifestError as error:
        raise EarlierError(f"--against {argument}: {error}") from error


def _check_parameters(argument: str, manifest: Manifest, config: DeduplicateConfig) -> None:
    """Digests and signatures can be compared where they were made alike."""
    try:
        theirs = DeduplicateConfig.model_validate(manifest.config.get("deduplicate", {}))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(["deduplicate", *map(str, first["loc"])])
        raise EarlierError(f"--against {argument}: its config has {key}: {first['msg']}") from error
    keys: list[str] = []
    if config.near or config.containment:
        keys += ["shingle_words", "shingle_characters"]
    if config.near:
        keys += ["near"]
        if config.signature_width != theirs.signature_width:
            keys += ["permutations", "bands", "rows"]
    differing = [
        f"deduplicate.{key} = {getattr(theirs, key)!r} there and {getattr(config, key)!r} here"
        for key in keys
        if getattr(theirs, key) != getattr(config, key)
    ]
    unicode = manifest.versions.get("unicode")
    if unicode != unicodedata.unidata_version:
        differing.append(f"versions.unicode = {unicode!r} there and {unicodedata.unidata_version!r} here")
    if differing:
        raise EarlierError(
            f"--against {argument}: texts were compared in another way there: {'; '.join(differing)}. "
            "Use the same values, or prepare that output again"
        )


def _parts(argument: str, directory: str, run: EarlierRun, manifest: Manifest) -> list[EarlierPart]:
    again = "its stages/ directory must stay as prepare left it; prepare that output again"

    def read(path: str) -> Any:
        whole = filesystem.join(directory, path)
        if not filesystem.exists(whole):
            raise EarlierError(f"--against {argument}: {whole} is missing; {again}")
        try:
            return orjson.loads(filesystem.read_bytes(whole))
        except orjson.JSONDecodeError as error:
            raise EarlierError(f"--against {argument}: {whole} is no JSON ({error}); {again}") from error

    done = read(f"stages/{deduplicate.STAGE}/done.json")
    cut = read(f"stages/{boilerplate.STAGE}/done.json")
    if done.get("fingerprint") != manifest.fingerprints.get(deduplicate.STAGE) or "decisions" not in done["facts"]:
        raise EarlierError(f"--against {argument}: its stages/ are of another run than its manifest; {again}")
    # Of these stages every part has its sidecar; boilerplate has none where it found nothing to do.
    told = [substrings.STAGE] if manifest.config.get(substrings.STAGE, {}).get("min_words") else []
    parts, cut_documents = [], 0
    for number, (size, sha256, _) in enumerate(done["facts"]["decisions"]):
        cleaned = _record(read(sidecar_path("", clean.STAGE, number)))
        files = [(deduplicate.decisions_path(number), size, sha256)]
        files += [
            (entry.path, entry.bytes, entry.sha256)
            for entry in cleaned.files
            if entry.path in (clean.documents_path(number), clean.signatures_path(number))
        ]
        for stage in CUTTING:
            overlay = sidecar_path("", f"{stage}/cut", number)
            if stage in told or filesystem.exists(filesystem.join(directory, overlay)):
                record = _record(read(overlay))
                cut_documents += record.facts["documents"] if stage == boilerplate.STAGE else 0
                files += [(entry.path, entry.bytes, entry.sha256) for entry in record.files]
        for path, wanted, _ in files:
            found = filesystem.size(filesystem.join(directory, path))
            if found != wanted:
                state = "is missing" if found < 0 else f"has {found:,} bytes, that run wrote {wanted:,}"
                raise EarlierError(f"--against {argument}: {filesystem.join(directory, path)} {state}; {again}")
        parts.append(EarlierPart(run, directory, number, cleaned.facts["documents"], tuple(files)))
    if cut_documents != cut["facts"]["documents"]:
        where = filesystem.join(directory, f"stages/{boilerplate.STAGE}/cut/parts")
        raise EarlierError(f"--against {argument}: files in {where} are missing; {again}")
    return parts


def _record(raw: dict[str, Any]) -> PartRecord:
    return PartRecord.parse(orjson.dumps(raw))


def described(runs: Sequence[EarlierRun]) -> str:
    """For the progress lines."""
    return ", ".join(f"{run.name} ({run.kept:,} documents)" for run in runs)
