"""`siliang-trainer compress trim`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from trainer.console import errors, print_numbers


def trim(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A classifier or a run.", show_default=False)],
    text: Annotated[
        list[Path],
        typer.Option(
            "--text",
            metavar="FILE|SHARDS",
            help="What it has to go on reading: texts, one a line or in tables, or shards; repeatable.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Where it goes; new or empty.", show_default=False)
    ],
    column: Annotated[
        list[str] | None, typer.Option("--column", metavar="COL", help="Column of tables; a second one for pairs.")
    ] = None,
    least: Annotated[int, typer.Option(metavar="N", min=1, help="Occurrences of a piece that stays.")] = 1,
    drop_notes: Annotated[
        bool, typer.Option("--drop-notes", help="Of a run: without its notes of rare words.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Take away the pieces of the vocabulary that texts do not use, and their rows of the embeddings.

    On text that is made of the other pieces nothing changes, neither its pieces nor one bit of the encoder's states.
    """
    with errors():
        from trainer.config import ConfigError
        from trainer.finetune.table import Columns
        from trainer.light.trimming.trimming import Sources, trim_model

        names = column or []
        if len(names) > 2:
            raise ConfigError("--column: one of texts, or two of pairs")
        columns = Columns(names[0], names[1] if len(names) > 1 else None) if names else None
        sources = Sources(text, columns, least)
        result = trim_model(model, output, sources, drop_notes, lambda told: typer.echo(told, err=True))
    if as_json:
        typer.echo(json.dumps(result))
        return
    pieces = result["pieces"]
    print_numbers(
        [
            ("pieces", f"{pieces['before']:,} -> {pieces['after']:,}"),
            ("parameters", f"{result['parameters']:,}"),
            ("size", f"{result['bytes'] / 1e6:.2f} MB"),
            ("model", str(output)),
        ]
    )
