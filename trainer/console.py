"""What the commands share: errors as lines and exit codes, numbers as a table."""

from collections.abc import Iterator
from contextlib import contextmanager

import typer
from rich.console import Console
from rich.table import Table


@contextmanager
def errors() -> Iterator[None]:
    """Errors meant for the user become lines on stderr and an exit code; others are bugs and keep their traceback."""
    # Imported here so that --help does not wait for torch.
    from schemas.manifest import ManifestError
    from trainer.checkpoint import CheckpointError
    from trainer.config import ConfigError
    from trainer.data.shards import CorpusError
    from trainer.evaluate.minimal_pairs import PairsError
    from trainer.evaluate.plot import PlotError
    from trainer.evaluate.rare_words import RareWordsError
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
    except (ConfigError, RunInUseError, FillError, DeviceError, PlotError) as error:
        _fail(error, 2)
    except (PairsError, RareWordsError, TableError, LabelError, FinetuneError, DistillingError) as error:
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
