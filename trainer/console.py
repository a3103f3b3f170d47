"""What the commands share: errors as lines and exit codes, numbers as a table."""

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.table import Table

INTERRUPTED = 130
"""Exit code after Ctrl-C: 128 and the number of SIGINT."""


def _mode(value: str) -> str:
    from trainer.progress import MODES

    if value not in MODES:
        raise typer.BadParameter(f"'{value}' is none of {', '.join(MODES)}")
    return value


ProgressMode = Annotated[
    str,
    typer.Option(
        "--progress",
        callback=_mode,
        help="How to show the work on stderr: auto (a bar on a terminal, else plain), plain (a line per interval), "
        "json (an object per interval), none.",
    ),
]
ProgressSeconds = Annotated[
    float, typer.Option("--progress-seconds", min=0.1, help="The interval of plain and json progress.")
]


def stopped(kept: str, resume: str | None = None) -> NoReturn:
    """Ends the command after Ctrl-C: says what is kept and, unless `resume` is None, the command that goes on: this one
    and the flag `resume`, if it is not there yet."""
    typer.echo(f"stopped; {kept}", err=True)
    if resume is not None:
        arguments = sys.argv[1:] + [flag for flag in resume.split() if flag not in sys.argv]
        typer.echo(f"go on with:\n  siliang-trainer {shlex.join(arguments)}", err=True)
    raise typer.Exit(INTERRUPTED)


@contextmanager
def errors(kept: str = "nothing was written", resume: str | None = None) -> Iterator[None]:
    """Errors meant for the user become lines on stderr and an exit code; others are bugs and keep their traceback.

    kept, resume: what `stopped` tells after Ctrl-C.
    """
    # Imported here so that --help does not wait for torch.
    from schemas.manifest import ManifestError
    from trainer.checkpoint import CheckpointError
    from trainer.config import ConfigError
    from trainer.data.shards import CorpusError
    from trainer.evaluate.minimal_pairs import PairsError
    from trainer.evaluate.plot import PlotError
    from trainer.evaluate.rare_words import RareWordsError
    from trainer.export.card import CardError
    from trainer.export.source import ExportError
    from trainer.fill import FillError
    from trainer.finetune.labels import LabelError
    from trainer.finetune.search import FinetuneError
    from trainer.finetune.table import TableError
    from trainer.guard import DivergedError
    from trainer.light.early_exit.distilling import DistillingError
    from trainer.precision import DeviceError
    from trainer.run import RunError, RunInUseError
    from trainer.tokenizer import TokenizerError

    try:
        yield
    except KeyboardInterrupt:
        stopped(kept, resume)
    except (ConfigError, RunInUseError, FillError, DeviceError, PlotError) as error:
        _fail(error, 2)
    except (
        CardError,
        ExportError,
        PairsError,
        RareWordsError,
        TableError,
        LabelError,
        FinetuneError,
        DistillingError,
    ) as error:
        _fail(error, 1)
    except (ManifestError, CorpusError, CheckpointError, DivergedError, RunError, TokenizerError, OSError) as error:
        _fail(error, 1)


def _fail(error: Exception, code: int) -> None:
    for line in str(error).splitlines():
        typer.echo(f"error: {line}", err=True)
    raise typer.Exit(code) from None


def print_numbers(rows: list[tuple[str, str]]) -> None:
    table = Table(show_header=False, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*row)
    Console(soft_wrap=True, highlight=False).print(table)
