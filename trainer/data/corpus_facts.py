"""What a run keeps of its corpus, for those who ask later what the model has read."""

from pathlib import Path
from typing import Any

from schemas.manifest import file_digest, read_manifest


def corpus_facts(shards: Path) -> dict[str, Any]:
    """Digests of manifest and report (None: no report beside it), counts of records, tokens, records kept by source.

    Raises ManifestError.
    """
    manifest = read_manifest(shards)
    report = shards / "report" / "report.json"
    return {
        "manifest": file_digest(shards / "manifest.json"),
        "report": file_digest(report) if report.is_file() else None,
        "records": manifest.counts.model_dump(),
        "tokens": manifest.tokens,
        "sources": {name: counts.kept for name, counts in manifest.sources.items()},
    }
