"""The two outputs as they lie there, and what their manifests alone tell."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.compare.model import RuleRow, Setting, SourceRow
from schemas.manifest import Counts, FileEntry, Manifest, file_digest, read_manifest

SPLITS = ("train", "valid", "test")


class CompareError(ValueError):
    """These two cannot be compared; the message says why and what to do."""


@dataclass(frozen=True)
class Output:
    """A finished output with an audit."""

    path: Path
    manifest: Manifest
    digest: str
    audit: tuple[FileEntry, ...]

    def tokens(self) -> dict[str, int]:
        return {split: sum(entry.tokens for entry in self.manifest.under(split)) for split in SPLITS}


def open_output(path: Path) -> Output:
    """Raises ManifestError where it is none or of a newer format, CompareError where it has no audit."""
    manifest = read_manifest(path)
    audit = tuple(manifest.under("audit"))
    gone = [entry.path for entry in audit if not (path / entry.path).is_file()]
    if not audit or gone:
        what = f"{gone[0]} is gone" if gone else "its manifest lists no audit file"
        raise CompareError(f"{path}: {what}; what moved cannot be told without audit/: run prepare again")
    return Output(path, manifest, file_digest(path / "manifest.json"), audit)


def open_pair(first: Path, second: Path) -> tuple[Output, Output]:
    """Raises ManifestError, CompareError."""
    outputs = open_output(first), open_output(second)
    if first.resolve() == second.resolve():
        raise CompareError(f"{first} and {second} are the same directory; name the outputs of two runs")
    return outputs


def differing(first: Mapping[str, Any], second: Mapping[str, Any]) -> tuple[Setting, ...]:
    """Keys, dotted, whose values differ."""
    one, two = _flat(first), _flat(second)
    keys = sorted(one.keys() | two.keys())
    return tuple(Setting(key, one.get(key), two.get(key)) for key in keys if one.get(key) != two.get(key))


def _flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in table.items():
        name = f"{prefix}{key}"
        found |= _flat(value, f"{name}.") if isinstance(value, Mapping) else {name: value}
    return found


def _counts(counts: Counts | None) -> dict[str, int] | None:
    return None if counts is None else counts.model_dump()


def source_rows(first: Manifest, second: Manifest) -> tuple[SourceRow, ...]:
    names = sorted(first.sources.keys() | second.sources.keys())
    return tuple(SourceRow(name, _counts(first.sources.get(name)), _counts(second.sources.get(name))) for name in names)


def rule_rows(first: Manifest, second: Manifest) -> tuple[RuleRow, ...]:
    """Those with the greatest difference first; rules that decided nowhere are left out."""
    rows = [
        RuleRow(name, first.rules.get(name), second.rules.get(name))
        for name in first.rules.keys() | second.rules.keys()
        if first.rules.get(name) or second.rules.get(name)
    ]
    return tuple(sorted(rows, key=lambda row: (-abs((row.second or 0) - (row.first or 0)), row.name)))
