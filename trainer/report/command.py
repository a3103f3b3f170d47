"""`siliang-trainer report`."""

from pathlib import Path
from typing import Annotated

import typer

from trainer.console import errors


def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Runs, finished or not.", show_default=False)],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="The page; else report.html in the first RUN.")
    ] = None,
) -> None:
    """Write one page of runs: losses, speed, parts of the task, growth, filled gaps, side by side."""
    with errors():
        from trainer.report.page import write_page
        from trainer.run import RunError, write_atomic

        target = output or runs[0] / "report.html"
        if not target.parent.is_dir():
            raise RunError(f"{target.parent}: no such directory")
        write_atomic(target, write_page(runs))
    typer.echo(str(target))
