"""`siliang-trainer compress teach`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from trainer.console import ProgressMode, ProgressSeconds, errors, print_numbers


def teach(
    teacher: Annotated[Path, typer.Argument(metavar="RUN", help="Directory of a trained run.", show_default=False)],
    shards: Annotated[
        list[str], typer.Argument(metavar="SHARDS...", help="As the student will be trained on.", show_default=False)
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Where it goes; new or empty.", show_default=False)
    ],
    config: Annotated[Path | None, typer.Option(metavar="FILE.toml", help="The student's settings.")] = None,
    preset: Annotated[str | None, typer.Option(help="The student's, as of `train`.")] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="One of the student's settings; repeatable.")
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Steps of the student's run; all unless told.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    progress: ProgressMode = "auto",
    progress_seconds: ProgressSeconds = 10.0,
) -> None:
    """Store a teacher's likeliest pieces for the rows and masks of a student's run (distillation.logits reads them).

    Named settings must be those of the student: its rows and masks follow from them.
    """
    with errors():
        from trainer.config import build_config
        from trainer.distillation.teach import teach as store
        from trainer.progress import ProgressLine

        settings = build_config(config, preset, overrides or ())
        line = ProgressLine(progress_seconds, quiet=as_json and progress == "auto", mode=progress)
        found = store(teacher, shards, output, settings, line, steps)
    if as_json:
        typer.echo(json.dumps(found))
        return
    print_numbers(
        [
            ("rows", f"{found['rows']:,}, {found['positions']:,} predicted positions"),
            ("kept of each", f"{found['top_k']} pieces at temperature {found['temperature']:g}"),
            ("size", f"{found['bytes'] / 1e6:,.1f} MB"),
            ("stored", str(output)),
        ]
    )
