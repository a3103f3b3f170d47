"""`siliang-trainer fill`."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trainer.console import errors

if TYPE_CHECKING:
    from trainer.fill import Gaps

InputFormat = Annotated[
    str | None, typer.Option("--format", help="tsv, csv or jsonl, where the file's name does not tell.")
]


def fill(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Directory of a training run.", show_default=False)],
    text: Annotated[
        str | None, typer.Argument(metavar='"TEXT WITH [MASK]"', help="Text to complete.", show_default=False)
    ] = None,
    file: Annotated[
        str | None, typer.Option("--file", metavar="FILE|-", help="Texts, one a line; with --text a table.")
    ] = None,
    column: Annotated[
        str | None, typer.Option("--text", metavar="COL", help="Column of the text in a TSV, CSV or JSON lines.")
    ] = None,
    input_format: InputFormat = None,
    top: Annotated[int, typer.Option(min=1, max=1000, help="Pieces shown for each [MASK].")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, an object a text.")] = False,
) -> None:
    """Print the likeliest pieces for each [MASK] of a text, or of every text of a file."""
    with errors():
        from trainer.config import ConfigError
        from trainer.fill import Filler
        from trainer.finetune.table import Columns, Row
        from trainer.text_input import check_input, read_input

        if (text is None) == (file is None):
            raise ConfigError("give a text or --file, one of them")
        columns = None if column is None else Columns(column)
        check_input(columns, input_format)
        if file is None and columns is not None:
            raise ConfigError("--text COL belongs to --file")
        rows = read_input(file, columns, input_format) if file is not None else iter([Row("", text or "")])
        for row, gaps in Filler(run, top).fill(rows):
            if as_json:
                masks = [[asdict(candidate) for candidate in candidates] for candidates in gaps]
                typer.echo(json.dumps({"text": row.text, "masks": masks}, ensure_ascii=False))
            else:
                _print(gaps, None if file is None else str(row.text))


def _print(gaps: "Gaps", text: str | None) -> None:
    if text is not None:
        typer.echo(text)
    for number, candidates in enumerate(gaps, 1):
        typer.echo(f"[MASK] {number}")
        for candidate in candidates:
            typer.echo(f"  {candidate.probability:6.1%}  {candidate.piece}")
