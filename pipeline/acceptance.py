"""What must hold of the cleaned records before anything is made of them."""

from collections.abc import Mapping

from pipeline.config import ConfigError, PipelineConfig
from pipeline.stages.tally import AuditTally
from schemas.manifest import Counts


class PrepareError(RuntimeError):
    """`prepare` cannot go on; the message says why and what to do."""


class ConservationError(RuntimeError):
    """Records do not add up: nothing is committed."""


def check_quarantine(config: PipelineConfig, tally: AuditTally) -> None:
    """Raises PrepareError where more is quarantined than input.max_quarantined allows."""
    counts, allowed = tally.counts(), config.input.max_quarantined
    if counts.quarantined > allowed * counts.input:
        worst = sorted(tally.quarantined_files.items(), key=lambda item: (-item[1], item[0]))[:5]
        named = ", ".join(f"{name} ({number})" for name, number in worst)
        raise PrepareError(
            f"{counts.quarantined:,} of {counts.input:,} records are quarantined, more than "
            f"input.max_quarantined = {allowed:g} allows; worst files: {named}. "
            "Mend them, or raise the limit, and run again"
        )


def check_mixture(config: PipelineConfig, sources: Mapping[str, Counts]) -> None:
    """Raises ConfigError where a mixture does not name the sources that are there, all and no other."""
    there = [name for name, counts in sources.items() if counts.kept]
    missing = [name for name in there if name not in config.mixture]
    if config.mixture and (missing or set(config.mixture) - set(sources)):
        unknown = [name for name in config.mixture if name not in sources]
        raise ConfigError(
            f"mixture: {f'no source is called {unknown}; ' if unknown else ''}"
            f"{f'no weight is given to {missing}; ' if missing else ''}the sources are {list(sources)}"
        )
