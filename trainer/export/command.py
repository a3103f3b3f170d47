"""`siliang-trainer export`."""

from pathlib import Path
from typing import Annotated

import typer

from trainer.console import errors

Model = Annotated[
    Path,
    typer.Argument(metavar="RUN|CLASSIFIER", help="What train or finetune wrote.", show_default=False),
]
Output = Annotated[
    Path, typer.Option("--output", "-o", metavar="DIR", help="A new or empty directory.", show_default=False)
]
DropNotes = Annotated[
    bool, typer.Option("--drop-notes", help="Leave a run's notes of rare words behind; without, they are an error.")
]


def export(
    path: Model,
    output: Output,
    form: Annotated[
        str,
        typer.Option("--format", help="huggingface, bert (no custom code; absolute positions and Post-LN) or onnx."),
    ] = "huggingface",
    drop_notes: DropNotes = False,
) -> None:
    """Write a model for other programs: transformers, or ONNX Runtime. README.md in it says how to load it."""
    with errors():
        from trainer.export.exporting import export as run_export

        source = run_export(path, form, output, drop_notes)
    if source.notes_dropped:
        typer.echo(f"the notes of {source.notes_dropped:,} rare words were left behind", err=True)
    typer.echo(str(output))
