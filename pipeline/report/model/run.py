"""How the run went, how the corpus was split, and where it comes from."""

from typing import Any, Literal

from pipeline.report.model.base import Facts, Frozen


class Check(Frozen):
    """A leak that was looked for."""

    name: str
    """Stable name: documents, notes, protected, earlier."""
    title: str
    looked_at: int | None
    """Documents, windows or records that were looked at; None where the check could not be made."""
    found: int
    """Leaks; anything above 0 is an alarm."""
    detail: str = ""


class Split(Frozen):
    """One split of the corpus."""

    name: Literal["train", "valid", "test"]
    documents: int
    tokens: int
    files: int


class Splits(Frozen):
    """How documents were held out, and whether any of them can be met in training."""

    splits: tuple[Split, ...] = ()
    checks: tuple[Check, ...] = ()


class Stage(Facts):
    """One stage as the driver measured it; a field it did not measure is None."""

    name: str
    seconds: float | None = None
    input_bytes: int | None = None
    units: int | None = None
    resumed_units: int | None = None
    peak_mb: float | None = None

    @property
    def mb_per_s(self) -> float | None:
        if not self.seconds or self.input_bytes is None:
            return None
        return self.input_bytes / 1e6 / self.seconds


class Performance(Facts):
    """`report/run.json`: how the last run went on the machine it ran on."""

    workers: int | None = None
    runner: str | None = None
    stages: tuple[Stage, ...] = ()
    python: str | None = None
    cpu: str | None = None


class Directory(Frozen):
    """The files of one directory of the corpus."""

    name: str
    files: int
    rows: int
    tokens: int
    bytes: int
    sha256: str
    """Of the sha256 and paths of its files, one line each, in path order."""


class Earlier(Frozen):
    """An earlier run whose kept documents counted as already kept."""

    name: str
    kept: int
    manifest: str
    """sha256 of its manifest.json."""


class Provenance(Frozen):
    """Where the corpus comes from."""

    schema_: str
    corpus_digest: str
    """sha256 of manifest.json, which holds the sha256 of every file of the corpus."""
    files: int
    bytes: int
    directories: tuple[Directory, ...] = ()
    against: tuple[Earlier, ...] = ()
    versions: dict[str, str]
    """Library -> version, of those that decide bytes."""
    fingerprints: dict[str, str]
    """Stage -> digest of its version, its config and its inputs."""
    config: dict[str, Any]
