"""A model as a directory that other programs read."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from trainer.config import ConfigError
from trainer.export.bert import check_plain, write_bert
from trainer.export.card import model_card
from trainer.export.huggingface import write_huggingface
from trainer.export.onnx_file import check_onnx, write_onnx
from trainer.export.source import Source, open_source
from trainer.export.staging import check_empty, staged
from trainer.export.usage import usage


@dataclass(frozen=True)
class Format:
    write: Callable[[Source, Path], None]
    check: Callable[[Source], None] = lambda source: None
    """Raises ExportError before anything is written."""


FORMATS = {
    "huggingface": Format(write_huggingface),
    "bert": Format(write_bert, check_plain),
    "onnx": Format(write_onnx, check_onnx),
}


def export(
    path: str | Path, form: str, output: str | Path, drop_notes: bool = False, evaluations: Sequence[Path] = ()
) -> Source:
    """Writes OUTPUT whole or not at all. `evaluations`: JSON of `evaluate`, for the model card.

    Raises ConfigError for an unknown format, RunInUseError where OUTPUT holds something, ExportError where the model
    has no such form, RunError, CheckpointError or TokenizerError where it cannot be read, CardError, OSError.
    """
    if form not in FORMATS:
        raise ConfigError(f"--format {form}: allowed: {', '.join(FORMATS)}")
    check_empty(output)
    source = open_source(path, drop_notes)
    FORMATS[form].check(source)
    with staged(output) as directory:
        FORMATS[form].write(source, directory)
        write_card(source, form, directory, evaluations)
    return source


def write_card(source: Source, form: str, directory: Path, evaluations: Sequence[Path] = ()) -> None:
    """README.md of a directory that holds everything else. Raises CardError, OSError."""
    library = "transformers" if form in ("huggingface", "bert") else "onnx"
    card = model_card(source, usage(source, form, directory), evaluations, library)
    (directory / "README.md").write_text(card, encoding="utf-8")
