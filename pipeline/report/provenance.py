"""Where a corpus comes from: versions, digests, fingerprints, config."""

import hashlib
from itertools import groupby

from pipeline.report.examples import NAME_LIMIT
from pipeline.report.model import Directory, Earlier, Provenance
from pipeline.report.visible import cut
from schemas.manifest import FileEntry, Manifest


def provenance(manifest: Manifest) -> Provenance:
    return Provenance(
        schema_=manifest.schema_,
        corpus_digest=hashlib.sha256(manifest.to_bytes()).hexdigest(),
        files=len(manifest.files),
        bytes=sum(entry.bytes for entry in manifest.files),
        directories=tuple(
            _directory(name, list(entries))
            for name, entries in groupby(manifest.files, lambda entry: entry.path.partition("/")[0])
        ),
        against=tuple(
            Earlier(name=cut(run.name, NAME_LIMIT), kept=run.kept, manifest=run.manifest)
            for run in manifest.against[:NAME_LIMIT]
        ),
        versions=manifest.versions,
        fingerprints=manifest.fingerprints,
        config=manifest.config,
    )


def _directory(name: str, entries: list[FileEntry]) -> Directory:
    lines = "".join(f"{entry.sha256}  {entry.path}\n" for entry in entries)
    return Directory(
        name=name,
        files=len(entries),
        rows=sum(entry.rows for entry in entries),
        tokens=sum(entry.tokens for entry in entries),
        bytes=sum(entry.bytes for entry in entries),
        sha256=hashlib.sha256(lines.encode()).hexdigest(),
    )
