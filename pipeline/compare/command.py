"""`siliang-pipeline compare`."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from pipeline.console import SECONDS, ProgressMode, ProgressSeconds, out, write_json
from pipeline.io.filesystem import write_atomic
from pipeline.progress import StageProgress


def compare(
    first: Annotated[Path, typer.Argument(metavar="DIR1", help="A prepared corpus.", show_default=False)],
    second: Annotated[Path, typer.Argument(metavar="DIR2", help="Another one.", show_default=False)],
    as_json: Annotated[
        bool | None, typer.Option("--json/--text", help="One JSON object, or tables; else tables on a terminal alone.")
    ] = None,
    html: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write a page.")] = None,
    examples: Annotated[int, typer.Option(min=0, max=20, help="Records shown of each kind of move.")] = 3,
    progress_mode: ProgressMode = "auto",
    progress_seconds: ProgressSeconds = SECONDS,
) -> None:
    """Two prepared corpora side by side: counts, rules, languages, lengths, and which records moved."""
    # DuckDB and jinja2 are not to slow the other commands down.
    from pipeline.compare.comparing import compare as run_compare
    from pipeline.compare.page import render_comparison
    from pipeline.compare.terminal import render

    if html is not None and not html.parent.is_dir():
        raise typer.BadParameter(f"{html.parent}: no such directory", param_hint="--html")
    with StageProgress(mode=progress_mode, seconds=progress_seconds).stage("compare"):
        found = run_compare(first, second, examples)
    if html is not None:
        write_atomic(str(html), render_comparison(found).encode())
        if as_json is None:
            out.print(str(html), soft_wrap=True)
            return
    if as_json if as_json is not None else not sys.stdout.isatty():
        write_json([asdict(found)])
    else:
        render(found, out)
