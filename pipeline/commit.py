"""The end of `prepare`: what the stages left becomes a manifest, written last, and a note of what the run cost."""

import platform
import unicodedata
from collections.abc import Mapping, Sequence
from importlib.metadata import version

import orjson

from pipeline.acceptance import ConservationError
from pipeline.config import PipelineConfig
from pipeline.dedup import protect
from pipeline.io import filesystem
from pipeline.runner import Execution
from pipeline.stages import count, deduplicate, encode, vocabulary
from pipeline.stages.tally import AuditTally
from pipeline.text import privacy
from pipeline.text.language_rules import rules_for
from pipeline.text.rules import deciding
from pipeline.workspace import StageResult, Workspace
from schemas.manifest import EarlierRun, Manifest, MixturePart


def library_versions() -> dict[str, str]:
    """Versions of what decides bytes."""
    names = (
        "siliang",
        "chardet",
        "ftfy",
        "numpy",
        "phonenumberslite",
        "py3langid",
        "pyarrow",
        "resiliparse",
        "sentencepiece",
    )
    return {name: version(name) for name in names} | {"unicode": unicodedata.unidata_version}


def rules_in_force(config: PipelineConfig) -> list[str]:
    """Names of the rules that may drop a record."""
    names = [rule.name for rule in (*rules_for(config.language), *deciding(config.rules))]
    if config.privacy.kinds and config.privacy.max_per_document:
        names.append(privacy.RULE)
    if config.protect.files:
        names.append(protect.RULE)
    return names


def make_manifest(
    config: PipelineConfig,
    results: Mapping[str, StageResult],
    fingerprints: Mapping[str, str],
    against: Sequence[EarlierRun] = (),
) -> Manifest:
    """The manifest of the finished stages. Raises ConservationError."""
    tally = AuditTally.total([results[deduplicate.STAGE].facts])
    counts = tally.counts()
    read = results["clean"].facts["records"]
    if not counts.balanced() or counts.input != read:
        raise ConservationError(
            f"{read:,} records were read, the audit says {counts}; this is a fault of siliang, please report it"
        )
    files = sorted((entry for result in results.values() for entry in result.files), key=lambda entry: entry.path)
    return Manifest(
        config=config.model_dump(mode="json"),
        versions=library_versions(),
        fingerprints=dict(fingerprints),
        counts=counts,
        sources=tally.source_counts(),
        # Zeros too: a rule that decides and never fires is worth a look.
        rules=dict.fromkeys(rules_in_force(config), 0) | tally.rules,
        files=files,
        vocabulary_size=results[vocabulary.STAGE].facts["size"],
        tokens=sum(entry.tokens for entry in files if entry.path.startswith(("train/", "valid/", "test/"))),
        source_tokens=results[count.STAGE].facts["source_tokens"],
        mixture={
            source: MixturePart(weight=config.mixture[source], files=paths)
            for source, paths in results[encode.STAGE].facts["mixture"].items()
        },
        against=list(against),
        vocabulary_note=results[vocabulary.STAGE].facts.get("learnt_from", ""),
    )


def commit(space: Workspace, manifest: Manifest) -> None:
    """Removes what the manifest does not list, then writes it."""
    space.prune(tuple(manifest.files))
    filesystem.write_atomic(space.path("manifest.json"), manifest.to_bytes())


def write_cost(space: Workspace, execution: Execution, results: Mapping[str, StageResult], input_bytes: int) -> None:
    """report/run.json: the one place for times and machines."""
    stages = [{"name": name, "input_bytes": input_bytes, **result.timing} for name, result in results.items()]
    cost = {
        "workers": execution.workers,
        "runner": execution.runner,
        "python": platform.python_version(),
        "cpu": platform.processor() or platform.machine(),
        "stages": stages,
    }
    filesystem.write_atomic(space.path("report", "run.json"), orjson.dumps(cost, option=orjson.OPT_INDENT_2))
