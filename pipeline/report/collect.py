"""From a prepared directory to the report's data: manifest, audit, frequency, notes, vocabulary, run.json."""

import hashlib
from pathlib import Path

from pydantic import ValidationError

from pipeline.config import PipelineConfig
from pipeline.report import alarms, frequency, vocabulary
from pipeline.report.audit import tables
from pipeline.report.boilerplate import boilerplate, characters_cut
from pipeline.report.model import Alarm, Performance, Provenance, Report, Rule
from pipeline.report.rules import RuleCounts
from pipeline.report.scan import Scan
from schemas.manifest import Manifest, ManifestError, read_manifest

RUN = "report/run.json"
"""Written by the driver: workers, runner, stages, python, cpu; every field may be missing."""


def collect(directory: str | Path) -> Report:
    """Reads a finished directory; the memory it takes does not grow with the corpus.

    Raises ManifestError where the directory is unfinished or of another version, SchemaError for a damaged file.
    """
    root = Path(directory)
    manifest = read_manifest(root)
    config = _config(manifest, root)
    audit = manifest.under("audit")
    scan = Scan()
    for table in tables(root, audit):
        scan.add(table)
    counts = scan.counts()
    sources = scan.source_summaries(characters_cut(root))
    rules = _rules(scan, manifest)
    duplicates = scan.duplicates.summary(root, audit, config.deduplicate, counts.input)
    chars_kept = sum(source.chars_kept for source in sources)
    tokens = frequency.tokens(root, manifest, chars_kept)
    cut, much_cut = boilerplate(root, sources)
    performance, unreadable = _performance(root)
    return Report(
        alarms=(
            *alarms.contradictions(counts, manifest.counts),
            *alarms.quarantine(counts, config.input.max_quarantined),
            *alarms.validation(tokens, config.shards.valid_share),
            *alarms.removals(sources),
            *alarms.losses(sources),
            *much_cut,
            *alarms.groups(duplicates),
            *alarms.unexamined(duplicates),
            *alarms.vocabulary(tokens),
            *alarms.silent_rules(rules),
            *unreadable,
        ),
        counts=counts,
        chars_in=sum(source.chars_in for source in sources),
        chars_kept=chars_kept,
        sources=sources,
        rules=rules,
        quarantine=scan.quarantine(),
        duplicates=duplicates,
        boilerplate=cut,
        languages=scan.language_summaries(),
        lengths=scan.lengths(),
        repairs=scan.repair_counts(),
        tokens=tokens,
        words=frequency.words(root, manifest),
        rare=frequency.rare(root, manifest),
        vocabulary=vocabulary.reported(root, manifest),
        performance=performance,
        provenance=Provenance(
            schema_=manifest.schema_,
            corpus_digest=hashlib.sha256(manifest.to_bytes()).hexdigest(),
            files=len(manifest.files),
            bytes=sum(entry.bytes for entry in manifest.files),
            versions=manifest.versions,
            fingerprints=manifest.fingerprints,
            config=manifest.config,
        ),
    )


def _config(manifest: Manifest, root: Path) -> PipelineConfig:
    try:
        return PipelineConfig.model_validate(manifest.config)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(("config", *map(str, first["loc"])))
        raise ManifestError(f"{root / 'manifest.json'}: field '{where}': {first['msg']}") from error


def _rules(scan: Scan, manifest: Manifest) -> tuple[Rule, ...]:
    """Those that decided most first, then by name. The manifest also names the rules that could have decided."""
    summaries = []
    for name in scan.rules.rules.keys() | scan.filtered.keys():
        decided = scan.filtered[name]
        seen = scan.rules.rules.get(name, RuleCounts())
        summaries.append(seen.summary(name, decided, decided > 0 or name in manifest.rules))
    return tuple(sorted(summaries, key=lambda rule: (-rule.decided, rule.name)))


def _performance(root: Path) -> tuple[Performance | None, list[Alarm]]:
    """run.json describes the run, not the corpus: a damaged one costs the section, never the report."""
    path = root / RUN
    if not path.exists():
        return None, []
    try:
        return Performance.model_validate_json(path.read_bytes()), []
    except (OSError, ValidationError) as error:
        detail = f"{RUN}: {str(error).splitlines()[0]}"
        return None, [Alarm(level="note", title="The run's measurements cannot be read", detail=detail)]
