"""A model as a directory that other programs read."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from trainer.config import ConfigError
from trainer.export.bert import check_plain, write_bert
from trainer.export.huggingface import write_huggingface
from trainer.export.source import Source, open_source
from trainer.export.staging import check_empty, staged


@dataclass(frozen=True)
class Format:
    write: Callable[[Source, Path], None]
    check: Callable[[Source], None] = lambda source: None
    """Raises ExportError before anything is written."""


FORMATS = {
    "huggingface": Format(write_huggingface),
    "bert": Format(write_bert, check_plain),
}


def export(path: str | Path, form: str, output: str | Path, drop_notes: bool = False) -> Source:
    """Writes OUTPUT whole or not at all.

    Raises ConfigError for an unknown format, RunInUseError where OUTPUT holds something, ExportError where the model
    has no such form, RunError or CheckpointError where it cannot be read, OSError.
    """
    if form not in FORMATS:
        raise ConfigError(f"--format {form}: allowed: {', '.join(FORMATS)}")
    check_empty(output)
    source = open_source(path, drop_notes)
    FORMATS[form].check(source)
    with staged(output) as directory:
        FORMATS[form].write(source, directory)
    return source
