"""The output directory while it is being made: whose it is, which stages are finished, what is left to remove."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from pipeline.config import PipelineConfig
from pipeline.io import filesystem
from schemas.manifest import FileEntry

PRODUCTS = ("vocabulary", "frequency", "notes", "train", "valid", "test", "audit")
"""Directories of the finished corpus."""


class OutputError(ValueError):
    """The output directory cannot be used as it is; the message says why and what to do."""


@dataclass(frozen=True)
class StageResult:
    """What a finished stage left (its `done.json`)."""

    fingerprint: str
    files: tuple[FileEntry, ...] = ()
    """Files of the finished corpus, not those below stages/."""
    facts: dict[str, Any] = field(default_factory=dict)
    timing: dict[str, Any] = field(default_factory=dict)
    """Seconds, peak memory and the like; never in the manifest."""


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            out |= _flat(value, f"{prefix}{key}.")
        else:
            out[prefix + key] = value
    return out


class Workspace:
    """One output directory."""

    def __init__(self, output: str) -> None:
        self.output = output

    def path(self, *parts: str) -> str:
        return filesystem.join(self.output, *parts)

    def _owner(self, config: PipelineConfig, vocabulary_digest: str | None) -> dict[str, Any]:
        owner = config.model_dump(mode="json")
        owner["input"].pop("max_quarantined")  # decides whether a run fails, not what it writes
        owner["vocabulary"]["given"] = vocabulary_digest
        return owner

    @property
    def _marker(self) -> str:
        return self.path("stages", "config.json")

    def check(self, config: PipelineConfig, vocabulary_digest: str | None) -> bool:
        """Whether the directory is this config's own already. Raises OutputError where it is another's."""
        if filesystem.exists(self._marker):
            mine = _flat(self._owner(config, vocabulary_digest))
            theirs = _flat(orjson.loads(filesystem.read_bytes(self._marker)))
            for key in sorted(mine.keys() | theirs.keys()):
                if mine.get(key) != theirs.get(key):
                    raise OutputError(
                        f"{self.output} was made with {key} = {theirs.get(key)!r}, now it is {mine.get(key)!r}; "
                        "choose another --output, or delete this one"
                    )
            return True
        # `stages` alone is what a run leaves that was killed at its very beginning.
        if set(filesystem.entries(self.output)) - {"stages"}:
            raise OutputError(f"{self.output} holds files that are not this program's; choose another --output")
        return False

    def claim(self, config: PipelineConfig, vocabulary_digest: str | None) -> None:
        """Makes the directory this config's own. Raises OutputError where it is another's."""
        if not self.check(config, vocabulary_digest):
            owner = self._owner(config, vocabulary_digest)
            filesystem.write_atomic(
                self._marker, orjson.dumps(owner, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS)
            )

    def finished(self, stage: str, fingerprint: str) -> StageResult | None:
        """The stage's result if it ended with this fingerprint and its files still have their sizes."""
        marker = self.path("stages", stage, "done.json")
        if not filesystem.exists(marker):
            return None
        raw = orjson.loads(filesystem.read_bytes(marker))
        files = tuple(FileEntry(**entry) for entry in raw["files"])
        if raw["fingerprint"] != fingerprint:
            return None
        if any(filesystem.size(self.path(entry.path)) != entry.bytes for entry in files):
            return None
        return StageResult(fingerprint, files, raw["facts"], raw["timing"])

    def finish(self, stage: str, result: StageResult) -> None:
        """Written after everything the stage writes."""
        raw = {
            "fingerprint": result.fingerprint,
            "files": [entry.model_dump() for entry in result.files],
            "facts": result.facts,
            "timing": result.timing,
        }
        filesystem.write_atomic(self.path("stages", stage, "done.json"), orjson.dumps(raw, option=orjson.OPT_INDENT_2))

    def reopen(self, stage: str) -> None:
        """Forgets that the stage was finished; its parts stay."""
        filesystem.remove(self.path("stages", stage, "done.json"))

    def clear(self, *parts: str) -> None:
        """Removes the files of a directory below the output."""
        for name in filesystem.listing(self.path(*parts)):
            filesystem.remove(self.path(*parts, name))

    def withdraw_manifest(self) -> None:
        """From here on the directory is unfinished, until the manifest is written again."""
        filesystem.remove(self.path("manifest.json"))

    def prune(self, files: tuple[FileEntry, ...]) -> None:
        """Removes product files that are not listed (an earlier, larger run's) and what killed writers left."""
        filesystem.sweep_temporaries(self.path("stages"))
        listed = {entry.path for entry in files}
        for directory in PRODUCTS:
            for name in filesystem.listing(self.path(directory)):
                if f"{directory}/{name}" not in listed:
                    filesystem.remove(self.path(directory, name))
