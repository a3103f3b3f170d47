"""`siliang-trainer embed`."""

from pathlib import Path
from typing import Annotated

import typer

from trainer.console import errors
from trainer.fill_command import InputFormat


def embed(
    path: Annotated[
        Path, typer.Argument(metavar="RUN|CLASSIFIER", help="What train or finetune wrote.", show_default=False)
    ],
    file: Annotated[
        str, typer.Argument(metavar="FILE|-", help="Texts, one a line; with --text a table.", show_default=False)
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE.arrow", help="A new Arrow stream.", show_default=False)
    ],
    text: Annotated[
        str | None, typer.Option("--text", metavar="COL", help="Column of the text in a TSV, CSV or JSON lines.")
    ] = None,
    key: Annotated[
        str | None, typer.Option("--id", metavar="COL", help="Column that goes along as `id`; needs --text.")
    ] = None,
    input_format: InputFormat = None,
    refuse_long: Annotated[
        bool, typer.Option("--refuse-long", help="A text longer than the model is an error, not cut.")
    ] = False,
) -> None:
    """Write a vector for each text: the mean of the encoder's states over its pieces."""
    with errors():
        from trainer.config import ConfigError
        from trainer.embedding import write_embeddings
        from trainer.finetune.table import Columns
        from trainer.text_input import check_input, read_input

        if key is not None and text is None:
            raise ConfigError("--id COL belongs to tables: add --text COL")
        columns = None if text is None else Columns(text, None, key)
        check_input(columns, input_format)
        texts, cut = write_embeddings(path, read_input(file, columns, input_format), output, refuse_long)
    if cut:
        typer.echo(f"{cut:,} texts were longer than the model and were cut", err=True)
    typer.echo(f"{texts:,} texts: {output}")
