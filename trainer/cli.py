"""The command line: siliang-trainer train | fill | evaluate. Exit codes: 0 done, 1 failed, 2 bad usage."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from trainer.model.presets import PRESETS

app = typer.Typer(
    help="Trains encoders on the shards that siliang-pipeline prepares.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Run = Annotated[Path, typer.Argument(metavar="RUN", help="Directory of a training run.", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@contextmanager
def _errors() -> Iterator[None]:
    """Errors meant for the user become lines on stderr and an exit code; others are bugs and keep their traceback."""
    # Imported here so that --help does not wait for torch.
    from schemas.manifest import ManifestError
    from trainer.checkpoint import CheckpointError
    from trainer.config import ConfigError
    from trainer.data.shards import CorpusError
    from trainer.fill import FillError
    from trainer.loop import DivergedError
    from trainer.precision import DeviceError
    from trainer.run import RunError, RunInUseError
    from trainer.tokenizer import TokenizerError

    try:
        yield
    except (ConfigError, RunInUseError, FillError, DeviceError) as error:
        _fail(error, 2)
    except (ManifestError, CorpusError, CheckpointError, DivergedError, RunError, TokenizerError, OSError) as error:
        _fail(error, 1)


def _fail(error: Exception, code: int) -> None:
    for line in str(error).splitlines():
        typer.echo(f"error: {line}", err=True)
    raise typer.Exit(code) from None


def _print_numbers(rows: list[tuple[str, str]]) -> None:
    table = Table(show_header=False, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*row)
    Console(soft_wrap=True, highlight=False).print(table)


@app.command()
def train(
    shards: Annotated[
        Path, typer.Argument(metavar="SHARDS", help="Output of siliang-pipeline prepare.", show_default=False)
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="RUN", help="Where the run goes.", show_default=False)
    ],
    config: Annotated[
        Path | None, typer.Option(metavar="FILE.toml", help="Settings; see RUN/config.toml for all.")
    ] = None,
    preset: Annotated[str | None, typer.Option(help=f"Model and settings by size: {', '.join(PRESETS)}.")] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="One setting, such as optimizer.learning_rate=3e-4; repeatable."
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the newest checkpoint in RUN, if any.")] = False,
) -> None:
    """Train a masked language model.

    SIGTERM or Ctrl-C finishes the step, saves, and exits 0; --resume goes on from there.

    A run by steps is reproducible bit for bit on one machine; one by seconds (schedule.by=seconds) is not.
    """
    with _errors():
        from trainer.train import train as run_training

        outcome = run_training(shards, output, config, preset, overrides or (), resume)
    result = outcome.result
    if result is None:
        return
    _print_numbers(
        [
            ("held-out loss", f"{result['held_out_loss_start']:.4f} -> {result['held_out_loss_end']:.4f} nats"),
            ("unigram entropy", f"{result['unigram_entropy']:.4f} nats"),
            ("steps", f"{result['steps']:,} in {result['seconds']:,.1f} s, {result['tokens']:,} tokens"),
            ("speed", f"{result['tokens_per_second']:,.0f} tokens/s, MFU {result['mfu']:.1%} in {result['precision']}"),
            ("model", str(output)),
        ]
    )


@app.command()
def fill(
    run: Run,
    text: Annotated[str, typer.Argument(metavar='"TEXT WITH [MASK]"', help="Text to complete.", show_default=False)],
    top: Annotated[int, typer.Option(min=1, max=1000, help="Pieces shown for each [MASK].")] = 5,
    as_json: AsJson = False,
) -> None:
    """Print the likeliest pieces for each [MASK] of a text."""
    with _errors():
        from trainer.fill import fill as fill_masks

        gaps = fill_masks(run, text, top)
    if as_json:
        masks = [[asdict(candidate) for candidate in candidates] for candidates in gaps]
        typer.echo(json.dumps({"text": text, "masks": masks}, ensure_ascii=False))
        return
    for number, candidates in enumerate(gaps, 1):
        typer.echo(f"[MASK] {number}")
        for candidate in candidates:
            typer.echo(f"  {candidate.probability:6.1%}  {candidate.piece}")


@app.command()
def evaluate(
    run: Run,
    shards: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Other shards than those of the run, of the same vocabulary.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Print the held-out masked-LM loss beside the unigram entropy of the held-out text."""
    with _errors():
        from trainer.evaluate.held_out import evaluate_run

        found: dict[str, Any] = asdict(evaluate_run(run, shards))
    if as_json:
        typer.echo(json.dumps(found))
        return
    _print_numbers(
        [
            ("held-out loss", f"{found['held_out_loss']:.4f} nats"),
            ("unigram entropy", f"{found['unigram_entropy']:.4f} nats"),
            ("unigram cross-entropy", f"{found['unigram_cross_entropy']:.4f} nats"),
            ("targets", f"{found['targets']:,} in {found['rows']:,} rows"),
        ]
    )


def main() -> None:
    """Entry point of `siliang-trainer`."""
    app(prog_name="siliang-trainer")
