"""`siliang-trainer finetune`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from trainer.console import ProgressMode, ProgressSeconds, errors, print_numbers, stopped

Text = Annotated[str, typer.Option("--text", metavar="COL", help="Column of the text: a name, or a number from 1.")]
TextB = Annotated[str | None, typer.Option("--text-b", metavar="COL", help="Column of a second text: pairs.")]


def finetune(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Directory of a training run.", show_default=False)],
    train: Annotated[Path, typer.Option(metavar="FILE", help="TSV, CSV or JSON lines.", show_default=False)],
    valid: Annotated[Path, typer.Option(metavar="FILE", help="What rate and epoch are chosen by.", show_default=False)],
    text: Text,
    label: Annotated[str, typer.Option(metavar="COL", help="Column of the label.", show_default=False)],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Where the classifier goes.", show_default=False)
    ],
    text_b: TextB = None,
    test: Annotated[Path | None, typer.Option(metavar="FILE", help="Scored once, at the end.")] = None,
    teacher: Annotated[
        Path | None, typer.Option(metavar="CLASSIFIER", help="A classifier of the task; its answers are learnt too.")
    ] = None,
    unlabelled: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="More texts for --teacher: a table, or one a line; repeatable."),
    ] = None,
    kind: Annotated[str | None, typer.Option(help="classification (default), regression or tokens.")] = None,
    metric: Annotated[str | None, typer.Option(help="What decides: accuracy, f1, matthews, pearson, spearman.")] = None,
    config: Annotated[Path | None, typer.Option(metavar="FILE.toml", help="Settings; see docs/finetune.md.")] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="One setting, such as epochs=5; repeatable.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with what --output holds.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    progress: ProgressMode = "auto",
    progress_seconds: ProgressSeconds = 10.0,
) -> None:
    """Train a classifier on a run's encoder: rates are tried, the best one goes on with several seeds.

    SIGTERM or Ctrl-C ends it at once (exit 0 or 130); --resume goes on from the last finished epoch.
    """
    kept = f"{output} keeps what was finished"
    with errors(kept, "--resume"):
        from trainer.finetune.data import Files
        from trainer.finetune.finetuning import finetune as run_finetuning
        from trainer.finetune.settings import build_settings
        from trainer.finetune.table import Columns
        from trainer.loop import StopRequest
        from trainer.progress import ProgressLine

        chosen = {key: value for key, value in (("kind", kind), ("metric", metric)) if value is not None}
        settings = build_settings(config, overrides or (), chosen)
        files = Files(train, valid, Columns(text, text_b, label), test, unlabelled or ())
        line = ProgressLine(progress_seconds, quiet=as_json and progress == "auto", mode=progress)
        stop = StopRequest()
        result = run_finetuning(run, files, output, settings, line, resume, stop, teacher)
    if result is None and stop.interrupted:
        stopped(kept, "--resume")
    if result is None:
        return
    if as_json:
        typer.echo(json.dumps(result))
        return
    rows = [("learning rate", f"{result['learning_rate']:g}")]
    for name in ("valid", "test"):
        for measured, found in result.get(name, {}).items():
            spread = f"median {found['median']:.4f} ({found['least']:.4f} to {found['greatest']:.4f})"
            rows.append((f"{name} {measured}", f"{spread} of {len(found['values'])}"))
    rows.append(("classifier", str(output)))
    print_numbers(rows)
