"""From a prepared directory to the report's data: manifest, audit, frequency, notes, shards, vocabulary, run.json."""

from collections.abc import Iterable
from pathlib import Path

from pydantic import ValidationError

from pipeline.config import PipelineConfig
from pipeline.report import alarms, frequency, source_alarms, vocabulary
from pipeline.report.boilerplate import boilerplate, characters_cut
from pipeline.report.duplicates import Key
from pipeline.report.examples import Shelf
from pipeline.report.model import Alarm, Duplicates, Performance, Report
from pipeline.report.provenance import provenance
from pipeline.report.scan import Scan, scan
from pipeline.report.splits import splits
from pipeline.report.summaries import languages, quarantine, rules, scripts, shown_rules, sources
from pipeline.text.privacy import RULE as PRIVACY
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
    found = scan(root, manifest, config)
    counts = found.counts()
    shown = shown_rules(found, manifest)
    quarantined = [near for best in found.quarantined.values() for near in best.values()]
    scored = [one.near for rule in shown for one in rule.examples]
    chosen = [*scored, *quarantined, *found.duplicates.chosen(), *found.repairs.chosen()]
    shelf = Shelf(root, manifest.under("audit"), chosen)
    by_source = sources(found, characters_cut(root))
    duplicates = _duplicates(found, root, manifest, config, shelf)
    chars_kept = sum(source.chars_kept for source in by_source)
    tokens = frequency.tokens(root, manifest, chars_kept)
    told = rules(shown, shelf)
    held_out = splits(root, manifest)
    cut = boilerplate(root)
    spoken = languages(found)
    performance, unreadable = _performance(root)
    return Report(
        alarms=alarms.sorted_by_level(
            [
                *alarms.contradictions(counts, manifest.counts),
                *alarms.leaks(held_out),
                *alarms.quarantine(counts, config.input.max_quarantined),
                *alarms.validation(tokens, config.shards.valid_share),
                *source_alarms.removals(by_source),
                *source_alarms.losses(by_source),
                *alarms.languages(spoken, config.language.keep),
                *source_alarms.boilerplate(by_source),
                *alarms.groups(duplicates),
                *alarms.unexamined(duplicates),
                *alarms.vocabulary(tokens),
                *alarms.silent_rules(told),
                *unreadable,
            ]
        ),
        counts=counts,
        chars_in=sum(source.chars_in for source in by_source),
        chars_kept=chars_kept,
        sources=by_source,
        rules=told,
        quarantine=quarantine(found, shelf),
        duplicates=duplicates,
        languages=spoken,
        scripts=scripts(found),
        lengths=found.lengths.summary(),
        privacy=found.repairs.privacy(shelf, sum(n for (_, rule), n in found.filtered.items() if rule == PRIVACY)),
        repairs=found.repairs.repairs(shelf),
        boilerplate=cut,
        tokens=tokens,
        vocabulary=vocabulary.reported(root, manifest),
        words=frequency.words(root, manifest),
        rare=frequency.rare(root, manifest),
        splits=held_out,
        performance=performance,
        provenance=provenance(manifest),
    )


def _config(manifest: Manifest, root: Path) -> PipelineConfig:
    try:
        return PipelineConfig.model_validate(manifest.config)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(("config", *map(str, first["loc"])))
        raise ManifestError(f"{root / 'manifest.json'}: field '{where}': {first['msg']}") from error


def _duplicates(found: Scan, root: Path, manifest: Manifest, config: PipelineConfig, shelf: Shelf) -> Duplicates:
    def texts(directory: Path, keys: Iterable[Key]) -> dict[Key, str]:
        if not (directory / "stages").is_dir():
            return {}
        from pipeline.inspect.texts import texts_of  # imports Beam, which a report of a finished corpus can do without

        return texts_of(directory, keys)

    return found.duplicates.summary(
        root, manifest.under("audit"), config.deduplicate, found.counts().input, shelf, texts
    )


def _performance(root: Path) -> tuple[Performance | None, list[Alarm]]:
    """run.json describes the run, not the corpus: a damaged one costs the section, never the report."""
    path = root / RUN
    if not path.exists():
        return None, []
    try:
        return Performance.model_validate_json(path.read_bytes()), []
    except (OSError, ValidationError) as error:
        detail = f"{RUN}: {str(error).splitlines()[0]}"
        return None, [
            Alarm(
                kind="unreadable_run",
                level="note",
                title="The run's measurements cannot be read",
                detail=detail,
                remedy="Nothing depends on them; the next `siliang-pipeline prepare` writes them anew.",
                section="performance",
            )
        ]
