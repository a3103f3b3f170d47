"""`siliang-trainer compress early-exit` and `siliang-trainer compress calibrate`."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from trainer.console import ProgressMode, ProgressSeconds, errors
from trainer.finetune.command import Text, TextB

if TYPE_CHECKING:
    from trainer.light.early_exit.calibration import Calibration, Point

Speed = Annotated[float | None, typer.Option(metavar="S", help="How unsure an answer may be, 0 (whole model) to 1.")]
Lose = Annotated[float | None, typer.Option(metavar="POINTS", help="The fastest speed that loses no more (held out).")]
Latency = Annotated[float | None, typer.Option(metavar="MS", help="The most careful speed that takes no longer.")]
Batch = Annotated[int, typer.Option(metavar="N", min=1, help="Texts in the batch that --latency is of.")]
Label = Annotated[
    str | None, typer.Option("--label", metavar="COL", help="Column of the label; without it agreement is scored.")
]
Config = Annotated[Path | None, typer.Option("--config", metavar="FILE.toml", help="Settings; see docs/light.md.")]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="One setting, such as epochs=5; repeatable.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def early_exit(
    classifier: Annotated[Path, typer.Argument(metavar="CLASSIFIER", help="What finetune wrote.", show_default=False)],
    valid: Annotated[Path, typer.Option(metavar="FILE", help="What speeds are calibrated by.", show_default=False)],
    text: Text,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Where it goes; new or empty.", show_default=False)
    ],
    train: Annotated[
        Path | None, typer.Option(metavar="FILE", help="TSV, CSV or JSON lines. Labels are not needed.")
    ] = None,
    unlabelled: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="More texts: a table, or one a line; repeatable.")
    ] = None,
    label: Label = None,
    text_b: TextB = None,
    test: Annotated[Path | None, typer.Option(metavar="FILE", help="Scored once, at the speed chosen.")] = None,
    speed: Speed = None,
    lose: Lose = None,
    latency: Latency = None,
    batch: Batch = 1,
    config: Config = None,
    overrides: Overrides = None,
    progress: ProgressMode = "auto",
    progress_seconds: ProgressSeconds = 10.0,
    as_json: AsJson = False,
) -> None:
    """Let a classifier answer easy texts early (FastBERT): a branch behind each layer learns what its own head says.

    The classifier's weights stay as they are, bit for bit. --speed, --lose or --latency set what `predict` does unless
    it is told otherwise; without them it is --lose 1.
    """
    with errors():
        from trainer.finetune.settings import build_section
        from trainer.finetune.table import Columns
        from trainer.light.early_exit.building import build_early_exit
        from trainer.light.early_exit.calibration import Point
        from trainer.light.early_exit.directory import load_early_exit
        from trainer.light.early_exit.texts import Texts
        from trainer.light.early_exit.wish import Wish
        from trainer.progress import ProgressLine
        from trainer.sections.early_exit import EarlyExitConfig

        settings = build_section(EarlyExitConfig, config, overrides or ())
        texts = Texts(Columns(text, text_b, label), valid, train, unlabelled or (), test)
        wish = Wish(speed, lose, latency, batch)
        line = ProgressLine(progress_seconds, quiet=as_json and progress == "auto", mode=progress)
        result = build_early_exit(classifier, texts, output, settings, wish, line)
        if result is None:
            return
        calibration = load_early_exit(output).exits.calibration
    if as_json:
        typer.echo(json.dumps(result))
        return
    tested = {name: Point.model_validate(point) for name, point in result.get("test", {}).items()}
    _print(calibration, result["speed"], tested)
    typer.echo(f"classifier: {output}")


def calibrate(
    classifier: Annotated[Path, typer.Argument(metavar="DIR", help="What early-exit wrote.", show_default=False)],
    valid: Annotated[Path, typer.Option(metavar="FILE", help="Held-out texts.", show_default=False)],
    text: Text,
    label: Label = None,
    text_b: TextB = None,
    speed: Speed = None,
    lose: Lose = None,
    latency: Latency = None,
    batch: Batch = 1,
    config: Config = None,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Measure an early-exit classifier's speeds anew, on other texts or on this machine; only model.json changes."""
    with errors():
        from trainer.finetune.settings import build_section
        from trainer.finetune.table import Columns
        from trainer.light.early_exit.building import recalibrate
        from trainer.light.early_exit.directory import load_early_exit
        from trainer.light.early_exit.texts import Texts
        from trainer.light.early_exit.wish import Wish
        from trainer.sections.early_exit import EarlyExitConfig

        settings = build_section(EarlyExitConfig, config, overrides or ())
        found = recalibrate(
            classifier, Texts(Columns(text, text_b, label), valid), settings, Wish(speed, lose, latency, batch)
        )
        chosen = load_early_exit(classifier).exits.speed
    if as_json:
        typer.echo(json.dumps({"speed": chosen, **found.model_dump(mode="json")}))
        return
    _print(found, chosen, {})


def _print(calibration: "Calibration", speed: float, tested: "Mapping[str, Point]") -> None:
    shown = sorted({point.speed for point in calibration.points if point.milliseconds} | {0.0, speed})
    sizes = sorted({size for point in calibration.points for size in point.milliseconds})
    table = Table(box=None, pad_edge=False)
    for name in ("speed", calibration.metric, "layers", "operations", *(f"ms, batch {size}" for size in sizes)):
        table.add_column(name, justify="right")

    def add(name: str, point: "Point") -> None:
        times = [f"{point.milliseconds[size]:.2f}" if size in point.milliseconds else "" for size in sizes]
        table.add_row(name, f"{point.score:.4f}", f"{point.layers:.2f}", f"{point.flops:.0%}", *times)

    for value in shown:
        add(f"{value:g}{' (chosen)' if value == speed else ''}", calibration.at(value))
    for name, point in tested.items():
        add(f"test, {name}", point)
    Console(soft_wrap=True, highlight=False).print(table)
    typer.echo(f"{calibration.examples:,} texts, {calibration.threads} threads, {calibration.machine}")
