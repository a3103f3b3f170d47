"""The command line: siliang-trainer train | fill | evaluate | finetune | compress |
predict | embed | export | quantise | card | report | doctor | info | plan | bench | sweep.

Exit codes: 0 done, 1 failed, 2 bad usage, 130 stopped by Ctrl-C.
"""

import json
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from trainer.commands import add_commands
from trainer.console import ProgressMode, ProgressSeconds, errors, print_numbers, stopped
from trainer.doctor.command import doctor
from trainer.embed_command import embed
from trainer.evaluate.command import evaluate
from trainer.export.command import card, export, quantise
from trainer.fill_command import fill
from trainer.finetune.command import finetune
from trainer.light.commands import compress
from trainer.model.presets import PRESETS
from trainer.predict_command import predict
from trainer.report.command import report
from trainer.schema_command import schema

app = typer.Typer(
    help="Trains encoders on the shards that siliang-pipeline prepares.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"siliang {version('siliang')}")
        raise typer.Exit


@app.callback()
def _main(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")
    ] = False,
) -> None:
    pass


@app.command()
def train(
    shards: Annotated[
        # Not a Path, which would make gs:/ of gs://.
        list[str],
        typer.Argument(
            metavar="SHARDS...",
            help="Outputs of siliang-pipeline prepare: directories or gs://, s3://, https://. Several are mixed; the "
            "first one's vocabulary and held-out rows are the run's.",
            show_default=False,
        ),
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
    grow_from: Annotated[
        Path | None,
        typer.Option(metavar="RUN", help="A shallower run whose weights this one grows from; sets growth.base."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the newest checkpoint in RUN, if any.")] = False,
    progress: ProgressMode = "auto",
    progress_seconds: ProgressSeconds = 10.0,
) -> None:
    """Train a masked language model.

    SIGTERM or Ctrl-C finishes the step and saves (exit 0 or 130); --resume goes on from there.

    A run by steps is reproducible bit for bit on one machine; one by seconds (schedule.by=seconds) is not.
    """
    with errors(f"{output} keeps its last checkpoint", "--resume"):
        from trainer.loop import StopRequest
        from trainer.progress import ProgressLine
        from trainer.train import train as run_training

        settings = list(overrides or ())
        if grow_from is not None:
            settings.append(f"growth.base={json.dumps(str(grow_from))}")
        stop, line = StopRequest(), ProgressLine(progress_seconds, mode=progress)
        outcome = run_training(shards, output, config, preset, settings, resume, line, stop)
    result = outcome.result
    if result is None and stop.interrupted:
        stopped(f"{output} keeps the checkpoint of step {outcome.step:,}", "--resume")
    if result is None:
        return
    print_numbers(
        [
            ("held-out loss", f"{result['held_out_loss_start']:.4f} -> {result['held_out_loss_end']:.4f} nats"),
            ("unigram entropy", f"{result['unigram_entropy']:.4f} nats"),
            ("steps", f"{result['steps']:,} in {result['seconds']:,.1f} s, {result['tokens']:,} tokens"),
            ("speed", f"{result['tokens_per_second']:,.0f} tokens/s, MFU {result['mfu']:.1%} in {result['precision']}"),
            ("model", str(output)),
        ]
    )


app.command()(fill)
app.command()(embed)
app.command()(evaluate)
app.command()(finetune)
app.command()(predict)
app.command()(export)
app.command()(quantise)
app.command()(card)
app.add_typer(compress, name="compress")
app.command()(report)
app.command()(doctor)
app.command()(schema)
add_commands(app)


def main() -> None:
    """Entry point of `siliang-trainer`."""
    app(prog_name="siliang-trainer")
